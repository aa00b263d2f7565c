import pytest


@pytest.fixture
def fewer_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval of twenty replicates has the same path through the code as one of a thousand."""
    monkeypatch.setattr("annotation.quality.bootstrap.REPLICATES", 40)
    monkeypatch.setattr("annotation.quality.bootstrap.FEWER", 20)
    monkeypatch.setattr("annotation.quality.reliabilities.REPLICATES", 10)
