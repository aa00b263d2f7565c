"""What every test stands on: a data folder of its own, chosen before the settings are read."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HONE_DATA"] = tempfile.mkdtemp(prefix="hone-tests-")
os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright keeps a loop in the thread that also uses the ORM

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(autouse=True)
def plain_static_files(settings: object) -> None:
    """No manifest of hashed names while testing: nothing has been collected."""
    settings.STORAGES = {  # type: ignore[attr-defined]
        **settings.STORAGES,  # type: ignore[attr-defined]
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(autouse=True)
def cheap_passwords(settings: object) -> None:
    """A real password hash takes half a second on purpose; no test is about that."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]


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
