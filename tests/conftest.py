"""What every test may stand on: fresh folders, and the real data beside the checkout."""

import fcntl
import gc
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from django.contrib.contenttypes.management import create_contenttypes
from django.core.cache import cache
from django.db import connection
from django.db.models.signals import post_migrate
from hypothesis import HealthCheck, settings

from tests import database

# How long an example takes says how busy the machine is, and nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported here lives until the end: nobody looks for garbage in it, neither now nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def migrated(request: pytest.FixtureRequest) -> Path:
    """An SQLite database, migrated and with nothing in it, to be copied: made once, whoever of several processes is
    first; a change of migrations makes another.
    """
    made = request.config.cache.mkdir("database") / f"{database.version()}.sqlite3"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            database.migrate(made)
    return made


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """SQLite's file is taken as it lies there: it begins as a copy of the migrated one, in a folder for one run."""
    return django_db_keepdb or connection.vendor == "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, request: pytest.FixtureRequest
) -> None:
    if connection.vendor == "sqlite":
        database.copy(request.getfixturevalue("migrated"), Path(connection.settings_dict["TEST"]["NAME"]))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    # Each emptying of the database would make anew what nothing of ours asks for: nine tenths of what it costs.
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    """A test's projects and people have the ids of those before it, of whom the cache may hold something."""
    cache.clear()


@pytest.fixture
def data_folder(settings: object, tmp_path: Path) -> Iterator[Path]:
    """A fresh HONE_DATA for tests that look at its files."""
    for part in ("runs", "models", "snapshots", "uploads", "cache"):
        (tmp_path / part).mkdir()
    settings.HONE_DATA = tmp_path  # type: ignore[attr-defined]
    yield tmp_path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models beside the checkout."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no ../shared beside this checkout")
    return SHARED
