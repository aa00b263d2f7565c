"""Reviewers: what they find, decide, send back and take back, and what counts afterwards."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotation import desk, disputes, exporting, freezing, gold, judging, projects, queue, reviewing, rulings
from annotation.models import Adjudication, Annotation, Assignment, Dispute, Pool, Project, Role, Task, User
from tests import factories

pytestmark = pytest.mark.django_db
A, B = {"choice": "a", "strength": 3}, {"choice": "b", "strength": 2}


@pytest.fixture
def project() -> Project:
    return factories.project(overlap=3)


@pytest.fixture
def reviewer(project) -> User:
    return factories.member(project, Role.REVIEWER)


def judged(project: Project, *sides: int, task: Task | None = None, strength: int = 2) -> Task:
    """A task on which one person each chose the response at that place in a reviewer's order."""
    task = task or factories.task(project, need=len(sides))
    order = reviewing.order_of(task)
    for side in sides:
        person = factories.member(project)
        shown = queue.lease_next(project, person).shown
        judging.submit(task, person, {"choice": "ab"[shown.index(order[side])], "strength": strength})
    return task


def votes(task: Task) -> list[Annotation]:
    return reviewing.votes_on(task)


def test_tasks_whose_verdicts_differ_are_listed_worst_first(project):
    mild = judged(project, 0, 1, strength=1)
    agreed = judged(project, 0, 0)
    disputes.refresh(project)
    assert not Dispute.objects.filter(task=agreed).exists()
    worst = judged(project, 0, 1, strength=3)
    disputes.refresh(project)
    found = Dispute.objects.filter(project=project).open().worst_first()
    assert [(one.task_id, one.spread, one.votes) for one in found] == [(worst.pk, 6, 2), (mild.pk, 2, 2)]


def test_the_list_is_read_in_parts_and_nothing_is_missed(project):
    tasks = [judged(project, 0, 1) for _ in range(3)]
    Project.objects.filter(pk=project.pk).update(disputes_upto=votes(tasks[0])[0].pk)
    while disputes.refresh(project, most=1):
        pass
    assert Dispute.objects.filter(project=project).count() == 3
    with_nothing_new = Project.objects.get(pk=project.pk).disputes_upto
    assert disputes.refresh(project) is False
    assert Project.objects.get(pk=project.pk).disputes_upto == with_nothing_new


def test_a_page_reads_few_of_many_new_judgements_and_leaves_the_rest_to_the_worker(project, reviewer):
    for _ in range(disputes.FEW // 2 + 3):
        judged(project, 0, 1)
    client = Client()
    client.force_login(reviewer)
    with CaptureQueriesContext(connection) as asked:
        assert "Still reading the latest" in client.get(f"/projects/{project.slug}/review/").content.decode()
    assert Dispute.objects.count() == disputes.FEW // 2 and len(asked) < 40
    disputes.refresh_all()
    assert Dispute.objects.count() == disputes.FEW // 2 + 3


def test_a_judgement_that_was_committed_late_is_read_once_more(project):
    task = judged(project, 0, 1)
    Project.objects.update(disputes_upto=votes(task)[-1].pk)  # a later id was read, while this one was not there yet
    disputes._read_again()
    assert Dispute.objects.get().task_id == task.pk


def test_an_imported_disagreement_is_found_though_its_ids_are_older(project):
    Project.objects.filter(pk=project.pk).update(disputes_upto=10**9)
    task = judged(project, 0, 1)
    disputes.start_again(project)
    disputes.refresh_all()
    assert Dispute.objects.get().task_id == task.pk


def test_the_list_is_narrowed(project):
    task = judged(project, 0, 1)
    task.responses.filter(position=0).update(source="big")
    task.responses.filter(position=1).update(source="small")
    other = judged(project, 0, 1, strength=1)
    flagged = votes(other)[0]
    flagged.body["flags"] = ["unsafe"]
    flagged.save(update_fields=["body"])
    disputes.recount(project, [task.pk, other.pk])

    def found(**filters: object) -> list[int]:
        rows = disputes.narrowed(Dispute.objects.filter(project=project), filters)
        return [one.task_id for one in rows.worst_first()]

    assert found() == [task.pk, other.pk]
    assert found(sources="big · small") == [task.pk]
    assert found(annotator=votes(other)[0].annotator) == [other.pk]
    assert found(flag="unsafe") == found(flag="any") == [other.pk]
    assert found(flag="unclear") == []
    assert found(least=3) == [task.pk]
    assert found(until=votes(task)[0].created_at) == []
    assert disputes.sources_of(project) == ["big · small"]


def test_accepting_settles_the_median(project, reviewer):
    task = judged(project, 0, 0, 1)
    ruling = reviewing.accept(task, reviewer, comment=" Fine. ")
    assert (ruling.body["choice"], ruling.comment) == (reviewing.order_of(task)[0], "Fine.")
    assert Dispute.objects.get(task=task).state == "settled"
    assert len(votes(task)) == 3


def test_overruling_takes_the_reviewers_own_verdict(project, reviewer):
    task = judged(project, 0, 0, 1)
    ruling = reviewing.overrule(task, reviewer, B | {"strength": 3}, comment="B keeps the orders.")
    assert ruling.body["choice"] == reviewing.order_of(task)[1]
    assert ruling.body["rationale"] == "B keeps the orders."
    with pytest.raises(judging.BodyError) as error:
        reviewing.overrule(task, reviewer, {"choice": "c"})
    assert "choice" in error.value.errors


def test_nobody_decides_on_what_they_judged_themselves_unless_the_project_allows_it(project):
    task = judged(project, 0, 1)
    own = votes(task)[0].annotator
    with pytest.raises(reviewing.CannotDecide, match="four-eyes"):
        reviewing.accept(task, own)
    disputes.refresh(project)
    listed = Dispute.objects.filter(project=project)
    assert not listed.decidable_by(own, project).exists()
    project.four_eyes = False
    project.save(update_fields=["four_eyes"])
    assert listed.decidable_by(own, project).exists()
    task.project.refresh_from_db()
    assert reviewing.accept(task, own).decision == "accept"


def test_the_second_of_two_reviewers_is_told(project, reviewer):
    task = judged(project, 0, 1)
    looked_at = reviewing.seen(task)
    reviewing.accept(task, factories.member(project, Role.REVIEWER), looked_at=looked_at)
    with pytest.raises(reviewing.Overtaken):
        reviewing.overrule(task, reviewer, A, looked_at=looked_at)
    assert Adjudication.objects.count() == 1


def test_a_returned_judgement_comes_first_with_the_comment_and_the_earlier_answer(project, reviewer):
    task = judged(project, 0)
    vote, person = votes(task)[0], votes(task)[0].annotator
    factories.task(project)
    held = queue.lease_next(project, person)
    assert held.task_id != task.pk
    reviewing.send_back(vote, reviewer, comment="Read B again.")
    task.refresh_from_db()
    assert (task.done, task.open_slots) == (0, 0)  # nobody else is handed this place
    assert not votes(task)
    back = queue.lease_next(project, person)
    assert (back.task_id, back.returned) == (task.pk, "Read B again.")
    assert back.draft["strength"] == 2 and back.draft["choice"] in "ab"
    again = judging.submit(task, person, back.draft | {"strength": 1})
    assert (again.revision, again.status) == (2, "submitted")
    task.refresh_from_db()
    assert (task.done, Assignment.objects.get(task=task).returned) == (1, "")
    assert list(task.annotations.order_by("revision").values_list("status", flat=True)) == ["returned", "submitted"]


def test_looking_at_a_returned_item_does_not_shorten_its_lease(project, reviewer):
    task = judged(project, 0)
    reviewing.send_back(votes(task)[0], reviewer, comment="Again, please.")
    before = Assignment.objects.get(task=task).lease_until
    queue.lease_next(project, Assignment.objects.get(task=task).annotator)
    assert Assignment.objects.get(task=task).lease_until == before


def test_a_disagreement_waits_while_one_of_its_judgements_is_back_with_the_annotator(project, reviewer):
    task = judged(project, 0, 1)
    vote = votes(task)[1]
    reviewing.send_back(vote, reviewer, comment="Again, please.")
    assert Dispute.objects.get(task=task).state == "waiting"
    shown = Assignment.objects.get(task=task, annotator=vote.annotator).shown
    side = "ab"[shown.index(reviewing.order_of(task)[0])]
    judging.submit(task, vote.annotator, {"choice": side, "strength": 2})
    disputes.refresh(project)
    assert not Dispute.objects.filter(task=task).exists()


def test_a_return_says_why_and_goes_only_to_people_who_still_judge(project, reviewer):
    task = judged(project, 0)
    vote = votes(task)[0]
    with pytest.raises(judging.BodyError, match="look at again"):
        reviewing.send_back(vote, reviewer, comment="  ")
    vote.annotator.memberships.all().delete()
    with pytest.raises(reviewing.CannotDecide, match="does not judge here any more"):
        reviewing.send_back(vote, reviewer, comment="Again, please.")


def test_a_decision_is_taken_back_by_a_row_of_its_own(project, reviewer):
    task = judged(project, 0, 1)
    first = reviewing.accept(task, reviewer)
    with pytest.raises(reviewing.CannotDecide):
        reviewing.withdraw(first, factories.member(project, Role.REVIEWER))
    reviewing.withdraw(first, reviewer)
    assert rulings.standing([task.pk]) == {} and Dispute.objects.get(task=task).state == "open"
    assert Adjudication.objects.count() == 2
    with pytest.raises(reviewing.CannotDecide):
        reviewing.withdraw(first, reviewer)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_what_is_settled_can_become_a_gold_item_and_plain_work_again(project, reviewer, share):
    projects.change(project, by=reviewer, gold_share=share)
    task = judged(project, 0, 1)
    factories.task(project)
    made = reviewing.overrule(task, reviewer, A, comment="Only A is right.", gold=True)
    task.refresh_from_db()
    assert task.is_gold and made.makes_gold and (task.pool == Pool.GOLD) == (share > 0)
    assert task.expected == {"choice": reviewing.order_of(task)[0], "strength": 3, "rationale": "Only A is right."}
    assert gold.correct(task, votes(task)[0].body) and not gold.correct(task, votes(task)[1].body)
    assert "made it a gold item" in desk.of(task, reviewer).trail[0].words
    with pytest.raises(reviewing.CannotDecide, match="gold item already"):
        reviewing.accept(task, reviewer, gold=True)
    reviewing.withdraw(made, reviewer)
    task.refresh_from_db()
    assert (task.is_gold, task.gold, task.expected, task.pool) == (False, None, None, Pool.QUEUE)
    assert (task.need, task.open_slots) == (3, 1) if share else (2, 0)


def test_an_order_and_ratings_become_known_answers_and_a_written_answer_does_not(reviewer):
    for kind, body in (("ranking", {"ranking": [[7], [3, 5]]}), ("rating", {"ratings": {"clear": 4}, "flags": ["x"]})):
        told = gold.answer_of(kind, body, [3, 5, 7])
        assert gold.expected_of(told, [3, 5, 7]) == {name: value for name, value in body.items() if name != "flags"}
    written = factories.task(factories.project("demonstration"))
    with pytest.raises(reviewing.CannotDecide, match="never right or wrong"):
        reviewing.overrule(written, reviewer, {"text": "Yes."}, gold=True)


def test_a_return_is_taken_back_until_it_is_answered(project, reviewer):
    task = judged(project, 0, 1)
    back = reviewing.send_back(votes(task)[0], reviewer, comment="Again, please.")
    reviewing.withdraw(back, reviewer)
    task.refresh_from_db()
    assert (task.done, len(votes(task))) == (2, 2)
    again = reviewing.send_back(votes(task)[0], reviewer, comment="Again, please.")
    judging.submit(task, again.annotation.annotator, A)
    with pytest.raises(reviewing.CannotDecide, match="answered already"):
        reviewing.withdraw(again, reviewer)


def test_exports_prefer_a_ruling_over_the_votes(project, reviewer):
    task = judged(project, 0, 0, 1)
    texts = dict(task.responses.values_list("pk", "text"))
    first, second = reviewing.order_of(task)
    (row,) = exporting.rows(project, "preference")
    assert row["chosen"][0]["content"] == texts[first] and row["agreement"] < 1
    reviewing.overrule(task, reviewer, B)
    (row,) = exporting.rows(project, "preference")
    assert row["chosen"][0]["content"] == texts[second]
    assert (row["agreement"], row["margin"]) == (1.0, 2.0)
    (row,) = exporting.rows(project, "preference", rulings="ignore")
    assert row["chosen"][0]["content"] == texts[first]
    (outcome,) = exporting.outcomes(project, "preference")
    assert outcome.used == [(vote.pk, 1) for vote in votes(task)]
    assert outcome.rulings == [Adjudication.objects.get().pk]


def test_a_raw_export_keeps_every_vote_and_adds_the_ruling(project, reviewer):
    judged(project, 0, 1)
    reviewing.overrule(Task.objects.get(), reviewer, A)
    rows = list(exporting.rows(project, "raw", names=True))
    assert [row["status"] for row in rows] == ["submitted", "submitted", "overrule"]
    assert rows[-1]["annotation_id"] is None and rows[-1]["annotator"] == reviewer.username


def test_an_accepted_answer_is_the_only_demonstration(reviewer):
    project = factories.project(kind="demonstration", overlap=2)
    reader = factories.member(project, Role.REVIEWER)
    task = factories.task(project)
    for text in ("Short.", "Long and good."):
        person = factories.member(project)
        queue.lease_next(project, person)
        judging.submit(task, person, {"text": text})
    disputes.refresh(project)
    assert Dispute.objects.get().spread == 1
    with pytest.raises(reviewing.CannotDecide, match="which of the answers"):
        reviewing.accept(task, reader)
    reviewing.accept(task, reader, annotation=votes(task)[1])
    assert [row["completion"][0]["content"] for row in exporting.rows(project, "sft")] == ["Long and good."]


def test_what_a_dataset_holds_neither_changes_nor_is_taken_back(project, monkeypatch):
    task = judged(project, 0)
    vote = votes(task)[0]
    monkeypatch.setattr(freezing, "_lookups", [])
    freezing.register(lambda asked: {one.pk: "prefs v1" for one in asked})
    with pytest.raises(freezing.Frozen, match="part of prefs v1"):
        judging.submit(task, vote.annotator, B)
    with pytest.raises(freezing.Frozen):
        judging.undo(vote, vote.annotator)
    assert votes(task) == [vote]


def test_a_frozen_judgement_that_a_reviewer_sent_back_may_change(project, reviewer, monkeypatch):
    task = judged(project, 0)
    vote = votes(task)[0]
    monkeypatch.setattr(freezing, "_lookups", [lambda asked: {one.pk: "prefs v1" for one in asked}])
    reviewing.send_back(vote, reviewer, comment="A fact is wrong.")
    assert judging.submit(task, vote.annotator, B).revision == 2
