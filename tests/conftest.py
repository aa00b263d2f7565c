"""What every test may stand on: fresh folders, and the real data beside the checkout."""

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


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
