"""What every test may stand on: fresh folders, and the real data beside the checkout."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from tests import database

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def template(request: pytest.FixtureRequest) -> Path:
    """Where the migrated database lies once it was made; a change of migrations makes another."""
    return request.config.cache.mkdir("database") / f"{database.version()}.sqlite3"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, template: Path) -> Iterator[None]:
    """The tests' own database begins as a copy of the migrated one, where it is SQLite's in memory."""
    if connection.vendor != "sqlite" or not template.exists():
        yield
        return
    address = connection.creation._get_test_db_name()
    with closing(sqlite3.connect(address, uri=True)):  # as long as this is open, the memory is kept
        database.copy(template, address)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, template: Path) -> None:
    if connection.vendor == "sqlite" and not template.exists():
        database.copy(connection.creation._get_test_db_name(), template)


@pytest.fixture(scope="session")
def migrated(template: Path) -> Path:
    """An SQLite database, migrated and with nothing in it, to be copied by tests that start processes."""
    if not template.exists():
        database.migrate(template)
    return template


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
