import threading

import pytest
from django.db import connection

from annotation import staging
from annotation.importing import import_records
from annotation.writes import write_transaction
from tests import factories


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_for_a_large_import_writes_before_sqlite_files_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("nobody waits on PostgreSQL")
    project, plain, seen = factories.project(), staging._set, []
    records = [{"id": f"q{n}", "prompt": f"Question {n}?", "responses": ["yes", "no"]} for n in range(3)]

    def written() -> None:
        with write_transaction():
            seen.append(project.tasks.count())
        connection.close()

    def setting(*pragmas: str) -> None:
        if "wal_checkpoint(PASSIVE)" in pragmas:
            other = threading.Thread(target=written)
            other.start()
            other.join(timeout=10)  # is over at once, unless the import still holds the line
            assert seen == [3]
        plain(*pragmas)

    monkeypatch.setattr(staging, "MANY", 3)
    monkeypatch.setattr(staging, "_set", setting)
    assert import_records(project, records).applied
    with connection.cursor() as cursor:
        left = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("wal_autocheckpoint", "cache_size")]
    assert (left, seen) == ([1000, -2000], [3])
