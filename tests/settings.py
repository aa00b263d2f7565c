"""Hone's settings for tests: each process that runs tests has a data folder of its own, and nothing is slow."""

import atexit
import os
import shutil
import tempfile

_process = os.environ.get("PYTEST_XDIST_WORKER", "main")
# Processes that a test starts stay in its folder.
if os.environ.get("HONE_TESTED_BY") != _process:
    os.environ["HONE_TESTED_BY"] = _process
    os.environ["HONE_DATA"] = tempfile.mkdtemp(prefix="hone-tests-")
    # Forked processes have other numbers, and leave it to this one.
    atexit.register(lambda pid: os.getpid() == pid and shutil.rmtree(os.environ["HONE_DATA"], True), os.getpid())
os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright keeps a loop in the thread that also uses the ORM
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES, HONE_DATA, STORAGES  # noqa: E402

# No manifest of hashed names: nothing has been collected.
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
# A real password hash takes half a second on purpose; no test is about that.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A file, as SQLite is used in earnest: tables in memory that threads share refuse whoever would have to wait.
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": str(HONE_DATA / "tests.sqlite3")}
