"""What manage.py does before a command begins."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings


def test_a_command_runs_with_the_garbage_collector_that_its_start_does_without(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "manage.py",
        "shell",
        "-v",
        "0",
        "-c",
        "import gc; print(gc.isenabled(), gc.get_freeze_count() > 0)",
    ]
    done = subprocess.run(
        words,
        cwd=settings.BASE_DIR,
        env={**os.environ, "HONE_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "True"]
