import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotation import queue
from annotation.importing import ImportInterrupted, ImportReport, import_records
from annotation.models import Annotation, Assignment, ImportJob, Project, Task, User
from annotation.reading import UnreadableFile
from tests import factories

pytestmark = pytest.mark.django_db

PAIR = {"id": "q1", "prompt": "Which is heavier?", "responses": ["Water.", "Oil."]}


def pairs(number: int) -> Iterator[dict[str, Any]]:
    for index in range(number):
        yield {"id": f"q{index}", "prompt": f"Question {index}?", "responses": [f"yes {index}", f"no {index}"]}


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.read, report.created, report.updated, report.unchanged, report.bad_count


def written(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_records_become_tasks_with_their_responses_in_the_order_given() -> None:
    project = factories.project()
    record = PAIR | {
        "responses": [{"text": "Water.", "source": "m1", "params": {"t": 1}, "score": 0.5}, "Oil."],
        "metadata": {"topic": "physics"},
        "priority": 3,
    }
    report = import_records(project, [record])
    assert counts(report) == (1, 1, 0, 0, 0)
    assert report.applied
    task = project.tasks.get()
    assert task.external_id == "q1"
    assert task.prompt == [{"role": "user", "content": "Which is heavier?"}]
    assert (task.metadata, task.priority, task.open_slots, task.need) == ({"topic": "physics"}, 3, 1, 1)
    first, second = task.responses.order_by("position")
    assert (first.text, first.source, first.params, first.score) == ("Water.", "m1", {"t": 1}, 0.5)
    assert (second.text, second.source) == ("Oil.", "")


def test_importing_the_same_again_changes_nothing() -> None:
    project = factories.project()
    anonymous = {"prompt": "No id?", "responses": ["a", "b"]}
    records = [*pairs(3), anonymous, anonymous]
    assert counts(import_records(project, records)) == (5, 4, 0, 0, 0)
    before = list(Task.objects.order_by("pk").values())
    report = import_records(project, records)
    assert counts(report) == (5, 0, 0, 4, 0)
    assert report.repeated == 1
    assert list(Task.objects.order_by("pk").values()) == before


def test_one_bad_record_stops_everything_and_each_is_named() -> None:
    project = factories.project()
    records = [*pairs(2), {"id": "x"}, {"id": "q0", "prompt": "again", "responses": ["a", "b"]}, "text"]
    report = import_records(project, records)
    assert [str(problem) for problem in report.bad] == [
        "line 3: prompt: Is missing.",
        "line 4: id: q0 is the id of an earlier record in this import.",
        'line 5: Must be an object such as {"prompt": "…"}, not text.',
    ]
    assert not report.applied
    assert not Task.objects.exists()
    assert not Project.objects.filter(is_staging=True).exists()
    assert ImportJob.objects.get().state == "failed"


def test_the_good_ones_come_in_when_the_bad_are_to_be_skipped() -> None:
    project = factories.project()
    report = import_records(project, [*pairs(2), {"id": "x"}], skip_bad=True)
    assert counts(report) == (3, 2, 0, 0, 1)
    assert report.applied
    assert project.tasks.count() == 2


def test_a_dry_run_tells_everything_and_writes_nothing() -> None:
    project = factories.project()
    import_records(project, pairs(1))
    report = import_records(project, [*pairs(3), {"id": "x"}], dry_run=True)
    assert counts(report) == (4, 2, 0, 1, 1)
    assert not report.applied
    assert (Task.objects.count(), ImportJob.objects.count(), Project.objects.count()) == (1, 1, 1)


def test_nothing_is_seen_before_the_end_and_everything_after_it() -> None:
    project = factories.project()
    factories.task(project, id="old")
    person = factories.member(project)
    seen: list[tuple[int, int]] = []

    def look(report: ImportReport) -> None:
        seen.append((report.read, project.tasks.count()))

    assert queue.lease_next(project, person).task.external_id == "old"
    import_records(project, pairs(2500), progress=look)
    assert seen == [(2000, 1), (2500, 1)]
    assert project.tasks.count() == 2501
    queue.skip(project.tasks.get(external_id="old"), person, "Other reason")
    assert queue.lease_next(project, person).task.external_id == "q0"


def test_an_import_that_dies_leaves_nothing_to_be_seen_and_can_be_run_again() -> None:
    project = factories.project()

    def killed(report: ImportReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_records(project, pairs(10), progress=killed)
    assert not Task.objects.exists()
    assert import_records(project, pairs(10)).created == 10


def test_an_import_that_was_taken_for_dead_publishes_nothing() -> None:
    project = factories.project()

    def given_up(report: ImportReport) -> None:
        ImportJob.objects.update(state=ImportJob.State.FAILED)

    with pytest.raises(ImportInterrupted):
        import_records(project, pairs(10), progress=given_up)
    assert not Task.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_ids_from_two_imports_at_once_come_in_once() -> None:
    project = factories.project()

    def meanwhile(report: ImportReport) -> None:
        factories.task(project, id="q1")

    with pytest.raises(ImportInterrupted, match="same ids"):
        import_records(project, pairs(3), progress=meanwhile)
    assert [task.external_id for task in Task.objects.all()] == ["q1"]


def test_judgements_come_in_with_their_raters_times_and_revisions() -> None:
    project = factories.project(overlap=2)
    record = PAIR | {
        "annotations": [
            {"annotator": "Ada", "choice": "a", "strength": 1, "created_at": "2026-01-02T03:04:05Z", "seconds": 12},
            {"annotator": "Ben", "body": {"choice": "tie"}},
            {"annotator": "Ada", "choice": "b", "strength": 3, "created_at": "2026-01-03T03:04:05Z"},
        ]
    }
    report = import_records(project, [record])
    assert report.annotations == 3
    task = project.tasks.get()
    water, oil = task.responses.order_by("position")
    rows = Annotation.objects.order_by("annotator__username", "revision")
    assert [(row.annotator.username, row.revision, row.status, row.body["choice"]) for row in rows] == [
        ("Ada", 1, "replaced", water.pk),
        ("Ada", 2, "submitted", oil.pk),
        ("Ben", 1, "submitted", "tie"),
    ]
    assert rows[0].created_at.isoformat() == "2026-01-02T03:04:05+00:00"
    assert rows[0].seconds == 12
    assert {row.project for row in rows} == {project}
    assert (task.done, task.open_slots, Assignment.objects.filter(project=project).count()) == (2, 0, 2)
    ada = User.objects.get(username="Ada")
    assert not ada.is_active
    assert not ada.has_usable_password()
    assert not ada.memberships.exists()


def test_a_stranger_s_name_cannot_be_taken_by_a_manager() -> None:
    project = factories.project()
    manager = factories.member(project, "manager")
    factories.user("boss")
    record = PAIR | {"annotations": [{"annotator": "boss", "choice": "a"}]}
    report = import_records(project, [record], by=manager)
    assert "boss has an account here but is no member" in str(report.bad[0])
    assert import_records(project, [record]).annotations == 1


def test_accounts_made_by_an_import_that_failed_are_gone() -> None:
    project = factories.project()
    record = PAIR | {"annotations": [{"annotator": "Ada", "choice": "a"}]}
    import_records(project, [*[record], *({"id": str(number)} for number in range(1100))])
    import_records(project, [record, {"id": "bad"}])
    assert not User.objects.exists()


def test_update_changes_what_differs_and_only_that() -> None:
    project = factories.project()
    import_records(project, pairs(3))
    changed = [
        {"id": "q0", "prompt": "Question 0?", "responses": ["yes 0", "no 0"], "priority": 5, "metadata": {"a": 1}},
        {"id": "q1", "prompt": "Another?", "responses": ["yes", "no"]},
        {"id": "q2", "prompt": "Question 2?", "responses": ["yes 2", "no 2"]},
    ]
    assert counts(import_records(project, changed)) == (3, 0, 0, 3, 0)
    assert counts(import_records(project, changed, update=True)) == (3, 0, 2, 1, 0)
    first, second = project.tasks.order_by("external_id")[:2]
    assert (first.priority, first.metadata) == (5, {"a": 1})
    assert second.last_message == "Another?"
    assert [row.text for row in second.responses.order_by("position")] == ["yes", "no"]
    assert counts(import_records(project, changed, update=True)) == (3, 0, 0, 3, 0)


def test_update_never_changes_a_text_that_somebody_judged() -> None:
    project = factories.project()
    judged = PAIR | {"annotations": [{"annotator": "Ada", "choice": "a"}]}
    import_records(project, [judged])
    report = import_records(project, [PAIR | {"prompt": "Other?"}], update=True)
    assert report.bad[0].field == "prompt"
    assert project.tasks.get().last_message == "Which is heavier?"


def test_update_adds_new_judgements_as_new_revisions() -> None:
    project = factories.project()
    import_records(project, [PAIR | {"annotations": [{"annotator": "Ada", "choice": "a"}]}])
    more = PAIR | {"annotations": [{"annotator": "Ada", "choice": "b"}, {"annotator": "Ben", "choice": "b"}]}
    assert import_records(project, [more]).annotations == 0
    report = import_records(project, [more], update=True)
    assert (report.updated, report.annotations) == (1, 2)
    rows = Annotation.objects.order_by("annotator__username", "revision")
    assert [(row.revision, row.status) for row in rows] == [(1, "replaced"), (2, "submitted"), (1, "submitted")]
    assert project.tasks.get().done == 2
    assert import_records(project, [more], update=True).updated == 0


def test_a_chosen_answer_is_a_judgement() -> None:
    project = factories.project()
    plain = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    messages = {
        "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "What"}],
    }
    transcript = {"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hi\n\nAssistant: Bye"}
    report = import_records(project, [plain, messages, transcript], metadata={"split": "test"})
    assert counts(report) == (3, 3, 0, 0, 0)
    for task, text in zip(project.tasks.order_by("pk"), ["Because.", "Hello", "Ho"], strict=True):
        annotation = task.annotations.get()
        assert annotation.annotator.username == "imported"
        assert task.responses.get(pk=annotation.body["choice"]).text == text
        assert [row.source for row in task.responses.order_by("position")] == ["chosen", "rejected"]
        assert task.metadata == {"split": "test"}
        assert len(task.prompt) == 1
        assert task.open_slots == 0


def test_a_chosen_answer_can_be_judged_anew() -> None:
    project = factories.project()
    import_records(project, [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}], annotator="")
    assert not Annotation.objects.exists()
    assert project.tasks.get().open_slots == 1


def test_a_completion_is_a_demonstration_or_the_response_to_be_rated() -> None:
    record = {"prompt": "Why?", "completion": [{"role": "assistant", "content": "Because."}]}
    project = factories.project("demonstration")
    import_records(project, [record])
    assert Annotation.objects.get().body["text"] == "Because."
    rated = factories.project("rating")
    ratings = {"helpful": 5, "correct": 4}
    import_records(rated, [record | {"annotations": [{"annotator": "Ada", "ratings": ratings}]}])
    assert rated.tasks.get().responses.get().text == "Because."
    assert rated.annotations.get().body["ratings"] == ratings


def test_a_ranking_names_responses_by_letter_or_place() -> None:
    project = factories.project("ranking")
    record = {"id": "r", "prompt": "Order?", "responses": ["x", "y", "z"]}
    ranked = record | {"annotations": [{"annotator": "Ada", "ranking": [["c"], ["a", "b"]]}]}
    import_records(project, [ranked])
    x, y, z = project.tasks.get().responses.order_by("position")
    assert Annotation.objects.get().body["ranking"] == [[z.pk], sorted([x.pk, y.pk])]


def test_unknown_fields_are_kept_as_metadata_and_told() -> None:
    project = factories.project()
    report = import_records(project, [PAIR | {"lang": "en"}])
    assert report.kept_as_metadata == ["lang"]
    assert project.tasks.get().metadata == {"lang": "en"}


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": 7}, "prompt", "not a number"),
        ({"prompt": []}, "prompt", "not 0"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "prompt[0].role", "system, user, assistant"),
        ({"prompt": [{"role": "user", "content": "x", "name": "n"}]}, "prompt[0]", "nothing more"),
        ({"prompt": "a\x00b"}, "prompt", "NUL"),
        ({"responses": ["one"]}, "responses", "takes 2"),
        ({"responses": ["same", "same"]}, "responses", "same text"),
        ({"responses": ["a", {"text": "b", "score": float("nan")}]}, "responses[1].score", "finite"),
        ({"responses": ["a", {"txt": "b"}]}, "responses[1].txt", "not known"),
        ({"responses": "ab"}, "responses", "list"),
        ({"response_a": "a"}, "response_a", "beside responses"),
        ({"metadata": []}, "metadata", "object"),
        ({"metadata": {"x": 10**30}}, "metadata.x", "too large"),
        ({"priority": 1.5}, "priority", "whole number"),
        ({"priority": True}, "priority", "whole number"),
        ({"id": " x "}, "id", "printable"),
        ({"id": ["x"]}, "id", "text"),
        ({"gold": {"choice": "c"}}, "gold.choice", "a, b"),
        ({"annotations": [{"choice": "a"}]}, "annotations[0].annotator", "text"),
        ({"annotations": [{"annotator": "A", "choice": "c"}]}, "annotations[0].choice", "a, b"),
        (
            {"annotations": [{"annotator": "A", "choice": "a", "created_at": "soon"}]},
            "annotations[0].created_at",
            "time",
        ),
        ({"annotations": [{"annotator": "A", "choice": "a", "seconds": -1}]}, "annotations[0].seconds", "from 0 to"),
        ({"annotations": {"annotator": "A"}}, "annotations", "list"),
    ],
)
def test_a_bad_field_is_told_by_its_name(change: dict[str, Any], place: str, words: str) -> None:
    report = import_records(factories.project(), [PAIR | change])
    (problem,) = report.bad
    assert problem.field == place
    assert words in problem.reason


def test_pairs_with_two_prompts_are_reported_and_not_guessed() -> None:
    project = factories.project()
    row = {"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hey\n\nAssistant: Bye"}
    report = import_records(project, [row])
    assert "another prompt" in report.bad[0].reason


def test_gold_is_kept_as_it_came() -> None:
    project = factories.project()
    import_records(project, [PAIR | {"gold": {"choice": "b"}}])
    task = project.tasks.get()
    assert task.is_gold
    assert task.gold == {"choice": "b"}


def test_a_gzip_file_is_read_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    project = factories.project()
    data = b"".join(json.dumps(record).encode() + b"\n" for record in pairs(3000))
    whole = tmp_path / "pairs.jsonl.gz"
    whole.write_bytes(gzip.compress(data))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(data)[:-900])
    with pytest.raises(UnreadableFile, match="middle of its gzip"):
        import_records(project, cut, skip_bad=True)
    assert not Task.objects.exists()
    assert not Project.objects.filter(is_staging=True).exists()
    assert import_records(project, whole).created == 3000


def test_prompts_that_the_file_or_the_project_has_already_are_told() -> None:
    project = factories.project()
    asked = "How do I move my old number to another phone without losing any of my messages"
    texts = [f"{asked}?", f" {asked.upper()}", f"{asked} today?", "What is a fjord?"]
    rows = [{"id": str(n), "prompt": text, "responses": ["x", "y"]} for n, text in enumerate(texts)]
    same = import_records(project, rows[:3]).same_prompts
    assert (same["count"], same["in_project"], same["first"]) == (1, 0, [[2, 1]])
    assert same["near"] == {"count": 1, "in_project": 0, "first": [[3, 1]]}
    new = [rows[3], rows[1] | {"id": "new"}, rows[2] | {"id": "too", "prompt": f"{asked} now?"}]
    for dry_run in (True, False):
        same = import_records(project, new, dry_run=dry_run).same_prompts
        assert (same["count"], same["in_project"], same["first"]) == (1, 1, [[2, 0]])
        assert same["near"] == {"count": 1, "in_project": 1, "first": [[3, 0]]}
    again = import_records(project, rows[3:]).same_prompts
    assert again["count"] == again["near"]["count"] == 0  # the file brings the item itself
