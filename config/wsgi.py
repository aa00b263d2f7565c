"""The WSGI application that granian, or gunicorn, serves."""

import os
import sys

from django.core.wsgi import get_wsgi_application

# A thread lets go of the interpreter at every statement and, among busy ones, waits this long to have it back. With
# Python's 5 ms, whoever writes would keep all others out of the database for many times as long as the writing takes.
sys.setswitchinterval(float(os.environ.get("QSWITCH", 0.0005)))

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
