#!/usr/bin/env python
"""Django's entry point: every administrative command of Hone is a management command."""

import gc
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    gc.disable()  # till the applications are loaded: a seventh of the time until then, and nothing is to be found
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:  # a setting, most often: its sentence says which
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
