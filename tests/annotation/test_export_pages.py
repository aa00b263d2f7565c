"""Exports that go by pages of columns give the very bytes that go by rows, whatever the judgements are."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from annotation import exporting, judged, page_writing, pair_pages, raw_pages, writing
from annotation.importing import import_records
from annotation.models import Adjudication, Annotation, Project
from tests import factories

pytestmark = pytest.mark.django_db

TEXTS = ['quote " and \\ 50 %s', "two\nlines\t\x7f \u2028 🙂", "naïve \\u00e9"]
CHOICES = [
    [("a", 3)], [("b", 0)], [("tie", 0)], [("both_bad", 0)], [("a", 1), ("b", 3)], [("a", 2), ("a", 0), ("b", 1)],
    [("b", 1), ("b", 2), ("tie", 0), ("a", 3)],
]  # fmt: skip


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Project:
    """Votes of every sort on prompts of every sort, more of them than a page, a batch and a group hold."""
    for module, name, size in [
        (judged, "FIRST_PAGE", 3), (judged, "PAGE", 7), (writing, "BATCH", 4), (page_writing, "BATCH", 4),
        (writing, "GROUP", 12),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, size)
    made = factories.project()
    records: list[dict[str, Any]] = []
    for number, (text, votes) in enumerate(product(TEXTS, CHOICES)):
        said = [
            {"annotator": name, "choice": side, "strength": strength, "rationale": text}
            | {"created_at": f"2026-01-{1 + number % 20:02}T10:00:00{'.5' if number % 2 else ''}Z"}
            for name, (side, strength) in zip(("ann", "ben", "cat", "dan"), votes, strict=False)
        ]
        if number % 6 == 0 and votes[0][0] in "ab":
            said[0]["improved"] = f"better {text}"
        if number % 8 == 0:
            said[0]["flags"] = ["unsafe"]
        prompt = [{"role": "system", "content": text or "."}, {"role": "user", "content": f"{number} {text}"}]
        record = {
            "id": f"{number} é🙂",
            "annotations": said,
            "responses": [text + "!", "no"],
        }
        records.append(record | {"prompt": prompt if number % 2 else f"{number} {text}"})
    records[5] |= {"gold": {"choice": "a"}}
    report = import_records(made, records)
    assert report.applied, report.bad
    assert import_records(made, [records[0] | {"id": "exam"}], purpose="evaluation").applied
    lead = factories.member(made, "manager", "lead")
    for row in made.annotations.order_by("pk")[8:30:9]:
        Adjudication.objects.create(
            project=made,
            task=row.task,
            reviewer=lead,
            decision=Adjudication.Decision.OVERRULE,
            body=row.body | {"strength": 2},
        )
    Annotation.objects.filter(pk=row.pk).update(guideline=made.write_guidelines("Judge well."), seconds=1.25)
    return made


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_pages_and_rows_give_the_same_bytes(project: Project, format: str) -> None:
    begin = datetime(2026, 1, 9, tzinfo=UTC)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("preference", {}),
        ("preference", {"aggregation": "each", "ties": "half", "flags": "keep", "gold": True, "purpose": None}),
        ("preference", {"aggregation": "strength", "min_agreement": 0.6, "improved": "drop", "since": begin}),
        ("preference", {"rulings": "ignore", "flags": "keep", "exclude_flags": ("unsafe",), "purpose": "evaluation"}),
        ("raw", {"exclude_annotators": ("ann",)}),
        ("raw", {"names": True, "history": True, "purpose": None, "until": begin}),
    ]
    for type, options in asked:
        selection = exporting.checked(project, type, options)
        assert pair_pages.suits(project, type, selection) or raw_pages.suits(type, selection)
        rows = exporting.rows(project, type, **options)
        wanted = b"".join(writing.WRITERS[format](rows, exporting.columns(project, type, **options)))
        assert b"".join(exporting.stream(project, type, format, **options)) == wanted, (type, options)


def test_what_needs_more_of_a_task_goes_by_rows(project: Project) -> None:
    for type, options in [("preference", {"extras": True}), ("raw", {"metadata": {"a": 1}}), ("binary", {})]:
        selection = exporting.checked(project, type, options)
        assert not pair_pages.suits(project, type, selection) and not raw_pages.suits(type, selection)
