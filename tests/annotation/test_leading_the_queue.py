"""What a lead does with the queue: gives items to people, sets work aside, settles skips, lets people go on."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from annotation import assigning, draws, gold, judging, progress, queue, requeueing, sealing
from annotation.assigning import AssignError
from annotation.draws import Turn
from annotation.models import Annotation, Assignment, Membership, Pool, Project, Role, Task, User
from tests import factories

pytestmark = pytest.mark.django_db
A = {"choice": "a", "strength": 2}
SCRIPT = {"X-Requested-With": "fetch"}


def judge(project: Project, person: User, number: int = 1) -> list[Annotation]:
    leases = []
    for _ in range(number):
        lease = queue.lease_next(project, person)
        leases.append(judging.submit(lease.task, person, A))
    return leases


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def api(person: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(person)
    return client


def slots(project: Project) -> list[tuple[int, int, int]]:
    return list(project.tasks.order_by("pk").values_list("need", "open_slots", "done"))


# ---- giving items to people ----
def test_items_are_dealt_out_or_given_to_everybody_named() -> None:
    project = factories.project()
    people = [factories.member(project) for _ in range(2)]
    for topic in ("law", "law", "art", "law"):
        factories.task(project, metadata={"topic": topic})
    report = assigning.assign(project, assigning.chosen(project, metadata={"topic": "law"}), people)
    assert (report.assigned, report.full) == (3, 0)
    assert [count for _, count in assigning.waiting(project)] == [2, 1]
    assert slots(project) == [(1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 0, 0)]
    each = assigning.assign(project, assigning.chosen(project), people, each=True)
    assert each.assigned == 2 and slots(project)[2] == (2, 0, 0)
    assert queue.lease_next(project, factories.member(project)) is None


def test_a_filter_on_metadata_finds_numbers_and_truth_values_as_it_finds_text() -> None:
    project = factories.project()
    for value in ("3", 3, 2.5, True, False, "3 and more"):
        factories.task(project, metadata={"level": value})

    def found(value: Any) -> list[Any]:
        return [one.metadata["level"] for one in assigning.chosen(project, metadata={"level": value}).order_by("pk")]

    assert [found("3"), found(3), found(2.5)] == [["3"], [3], [2.5]] and found(True) == [True]  # as a program says it
    assert [found(assigning.as_typed(text)) for text in ("3", "2.5", "true", "3 and more", "[3]", "")] == [
        ["3", 3], [2.5], [True], ["3 and more"], [], [],
    ]  # fmt: skip


def test_what_somebody_had_before_is_not_given_to_them_again() -> None:
    project = factories.project(overlap=2)
    person = factories.member(project)
    factories.task(project), factories.task(project)
    judge(project, person)
    report = assigning.assign(project, assigning.chosen(project), [person])
    assert (report.assigned, report.had_before) == (1, 1)


def test_a_stranger_cannot_be_given_anything() -> None:
    with pytest.raises(AssignError, match="nobody does not judge"):
        assigning.people_named(factories.project(), ["nobody"])


def test_what_waits_for_somebody_is_opened_again_when_they_leave() -> None:
    project = factories.project()
    person, lead = factories.member(project), factories.member(project, Role.MANAGER)
    factories.task(project, assigned_to=[person.pk])
    member = Membership.objects.get(user=person)
    assert signed_in(lead).post(f"/projects/{project.slug}/people/{member.pk}/remove/").status_code == 302
    assert slots(project) == [(1, 1, 0)]
    assert queue.lease_next(project, lead) is not None


# ---- setting work aside ----
def test_work_set_aside_is_judged_by_others_and_stays_as_history() -> None:
    project = factories.project()
    person, other = factories.member(project), factories.member(project)
    for _ in range(3):
        factories.task(project)
    first, second, _ = judge(project, person, 3)
    judge_none = queue.lease_next(project, other)
    assert judge_none is None
    assert requeueing.set_aside(project, person, since=second.created_at) == 2
    assert slots(project) == [(1, 0, 1), (1, 1, 0), (1, 1, 0)]
    assert list(Annotation.objects.standing()) == [first]
    assert Annotation.objects.filter(status="set_aside").count() == 2
    assert queue.lease_next(project, person) is None
    assert {annotation.task_id for annotation in judge(project, other, 2)} >= {second.task_id}
    with pytest.raises(queue.LeaseLost):
        judging.submit(second.task, person, A)
    assert requeueing.set_aside(project, person, since=second.created_at) == 0


def test_a_task_judged_more_often_than_it_needs_wants_nobody_else() -> None:
    project = factories.project(overlap=2)
    people = [factories.member(project) for _ in range(2)]
    task = factories.task(project)
    for person in people:
        judge(project, person)
    project.tasks.filter(pk=task.pk).update(need=1)
    requeueing.set_aside(project, people[0])
    assert slots(project) == [(1, 0, 1)]


def test_what_a_paused_person_did_since_is_told_by_their_gold_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    project = factories.project(gold_share=0.2, gold_bar=1.0, gold_window=1)
    person, lead = factories.member(project, username="hasty"), factories.member(project, Role.MANAGER)
    for _ in range(3):
        factories.task(project)
    factories.task(project, gold={"choice": "a"})
    turns = [Turn.WORK, Turn.GOLD]
    monkeypatch.setattr(draws, "turn_of", lambda *args, **shares: turns.pop(0) if turns else Turn.WORK)
    judge(project, person)
    ahead = queue.lease_next(project, person)
    held = queue.prefetch_next(project, person, besides=ahead)
    wrong = next(side for side, pk in zip("ab", ahead.shown, strict=True) if pk != ahead.task.expected["choice"])
    client = signed_in(person)
    item = sealing.seal(sealing.Of.TASK, ahead.task_id)
    told = client.post(f"/tasks/{item}/judge/", {"verdict": "1" if wrong == "a" else "7"}, headers=SCRIPT)
    assert "paused" in told.json()["item"]  # told at once
    judging.submit(held.task, person, A)  # what was held may still be sent
    assert "paused" in client.get(f"/projects/{project.slug}/work/").content.decode()
    refused = api(person).post(f"/api/v1/projects/{project.slug}/next/")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:hone:problem:paused")
    page = signed_in(lead).get(f"/projects/{project.slug}/").content.decode()
    assert "Paused: hasty" in page
    address = f"/api/v1/projects/{project.slug}/members/hasty/state/"
    assert api(person).post(address, {"action": "resume"}).status_code == 403
    done = api(lead).post(address, {"action": "requeue"}).json()["done"]
    assert done.startswith("1 judgments")  # the one before the wrong answer stands
    assert api(lead).post(address, {"action": "resume"}).json()["member"]["state"] == "active"
    assert queue.lease_next(project, person) is not None


# ---- skipped items ----
def test_skipped_items_wait_for_a_reviewer_who_puts_them_back_or_drops_them() -> None:
    project = factories.project(skip_to="review", skip_limit=1)
    task = factories.task(project)
    person, reviewer = factories.member(project), factories.member(project, Role.REVIEWER)
    queue.skip(queue.lease_next(project, person).task, person, "Cannot judge code")
    client, address = signed_in(reviewer), f"/projects/{project.slug}/queue/"
    assert "Cannot judge code" in client.get(address).content.decode()
    assert signed_in(person).get(address).status_code == 403
    assert client.post(address, {"to": person.username}).status_code == 403
    client.post(f"{address}skipped/", {"task": task.pk, "action": "drop"})
    task.refresh_from_db()
    assert task.pool == Pool.DROPPED
    client.post(f"{address}skipped/", {"task": task.pk, "action": "back"})
    task.refresh_from_db()
    assert (task.pool, task.skips) == (Pool.QUEUE, 0)
    assert queue.lease_next(project, reviewer).task_id == task.pk


def test_a_reviewer_judges_a_skipped_item_and_it_is_finished_with_that() -> None:
    project = factories.project(skip_to="review", skip_limit=1, overlap=3)
    skipped, other = factories.task(project), factories.task(project)
    person, reviewer = factories.member(project), factories.member(project, Role.REVIEWER)
    queue.skip(queue.lease_next(project, person).task, person, "Cannot judge code")
    queue.lease_next(project, reviewer)  # something else, which waits till then
    client, address = signed_in(reviewer), f"/projects/{project.slug}/queue/"
    assert signed_in(person).post(f"{address}skipped/", {"judge": skipped.pk}).status_code == 403
    assert f'name="judge" value="{skipped.pk}"' in client.get(address).content.decode()
    assert client.post(f"{address}skipped/", {"judge": skipped.pk}).url == f"/projects/{project.slug}/work/"
    held = queue.lease_next(project, reviewer)
    assert held.task_id == skipped.pk
    client.post(f"{address}skipped/", {"judge": skipped.pk})  # twice changes nothing
    judging.submit(held.task, reviewer, A)
    skipped.refresh_from_db()
    assert (skipped.pool, skipped.need, skipped.done, skipped.open_slots) == (Pool.QUEUE, 1, 1, 0)
    assert queue.lease_next(project, reviewer).task_id == other.pk
    assert "Nothing here" in client.get(address).content.decode()


# ---- pages and API ----
def test_the_queue_page_gives_items_to_people_and_opens_them_again() -> None:
    project = factories.project()
    lead, person = factories.member(project, Role.MANAGER), factories.member(project)
    factories.task(project, id="one"), factories.task(project, id="two")
    client, address = signed_in(lead), f"/projects/{project.slug}/queue/"
    assert client.post(address, {"to": "nobody"}).status_code == 422
    told = client.post(address, {"to": person.username, "ids": "two\nnowhere\n"}, follow=True).content.decode()
    assert "1 item assigned, 1 id is no open item here: nowhere." in told
    assert Assignment.objects.get().task.external_id == "two"
    assert person.username in client.get(address).content.decode()
    client.post(f"{address}release/{person.pk}/")
    assert Assignment.objects.get().state == "expired"
    assert Task.objects.get(external_id="two").open_slots == 1


def test_the_api_assigns_by_filter_and_refuses_what_it_does_not_know() -> None:
    project = factories.project()
    lead, person = factories.member(project, Role.MANAGER), factories.member(project)
    factories.task(project, metadata={"topic": "law"}), factories.task(project)
    address = f"/api/v1/projects/{project.slug}/assign/"
    sent: dict[str, Any] = {"to": [person.username], "tasks": {"metadata": {"topic": "law"}}}
    assert api(lead).post(address, sent, format="json").json() == {
        "assigned": 1,
        "full": 0,
        "had_before": 0,
        "not_open": [],
    }
    for wrong in ({"to": []}, {"to": ["nobody"]}, sent | {"tasks": {"topic": "law"}}):
        assert api(lead).post(address, wrong, format="json").status_code == 400, wrong
    odd = {"to": [person.username], "tasks": {"metadata": {"a__in": "x", "'\"": 1}}}
    assert api(lead).post(address, odd, format="json").json()["assigned"] == 0
    named = {"to": [person.username], "tasks": {"ids": ["nowhere", "nowhere", "gone"]}}
    assert api(lead).post(address, named, format="json").json()["not_open"] == ["nowhere", "gone"]
    assert api(person).post(address, sent, format="json").status_code == 403
    assert api(factories.user()).post(address, sent, format="json").status_code == 404


def test_every_rule_is_set_by_page_and_by_api() -> None:
    project = factories.project()
    lead = factories.member(project, Role.MANAGER)
    rules: dict[str, Any] = {
        "agreement_share": 0.1, "agreement_overlap": 5, "skip_to": "drop", "skip_limit": 2, "repeat_share": 0.04,
        "repeat_after": 30, "gold_share": 0.05, "gold_bar": 0.7, "gold_window": 15, "qualification_bar": 0.9,
        "gold_feedback": True, "agreement_bar": 0.45,
    }  # fmt: skip
    answer = api(lead).patch(f"/api/v1/projects/{project.slug}/", rules, format="json")
    assert {name: answer.json()[name] for name in rules} == rules
    for wrong in ({"gold_share": 0.6}, {"skip_to": "moon"}, {"qualification_size": 3}, {"agreement_overlap": 11}):
        assert api(lead).patch(f"/api/v1/projects/{project.slug}/", wrong, format="json").status_code == 400, wrong
    client, address = signed_in(lead), f"/projects/{project.slug}/settings/"
    page = client.get(address).content.decode()
    assert 'name="gold_share" value="5"' in page
    base = {"name": "P", "overlap": 2, "lease_minutes": 30, "order": "random", "daily_goal": 9, "rationale": "optional"}
    base |= {"tie": "on", "both_bad": "on", "skip_reasons": "Other reason"}
    sent = base | {
        "gold_share": "10",
        "gold_bar": "50",
        "agreement_bar": "0.5",
        "repeat_share": "2.5",
        "agreement_share": "20",
        "skip_limit": 4,
    }
    assert client.post(address, sent).status_code == 302
    project.refresh_from_db()
    assert (project.gold_share, project.gold_bar, project.repeat_share) == (0.1, 0.5, 0.025)
    assert project.agreement_bar == 0.5 and 'name="agreement_bar" value="0.45"' in page
    assert (project.agreement_share, project.skip_limit, project.overlap, project.order) == (0.2, 4, 2, "random")
    assert (project.gold_window, project.daily_goal, project.lease_minutes) == (15, 9, 30)
    assert project.gold_feedback and 'value="1" selected' in page
    client.post(address, sent | {"gold_feedback": "0"})
    project.refresh_from_db()
    assert not project.gold_feedback
    refused = client.post(address, base | {"qualification_size": 2})
    assert refused.status_code == 422 and "There are only 0" in refused.content.decode()


def test_the_qualification_by_page_tells_what_was_expected_item_by_item() -> None:
    project = factories.project(qualification_size=2, qualification_bar=1.0)
    for _ in range(2):
        factories.task(project, gold={"choice": "a", "rationale": "Oil floats."}, qualification=True)
    factories.task(project)
    person, lead = factories.member(project), factories.member(project, Role.MANAGER)
    client, address = signed_in(person), f"/projects/{project.slug}/work/"
    before = client.get(address).content.decode()
    assert "Before you start: 2 items whose answers are known" in before
    assert "Oil floats." not in before and "/skip/" not in before
    lease = queue.lease_next(project, person)
    right = "1" if lease.shown[0] == lease.task.expected["choice"] else "7"
    told = client.post(f"/tasks/{lease.task_id}/judge/", {"verdict": right}, headers=SCRIPT).json()
    assert "Your last answer was as expected." in told["item"] and "1 of 1 right so far. Oil floats.<" in told["item"]
    assert (told["done"], told["total"]) == (1, 2) and "undo" not in told and "Before you start" not in told["item"]
    lease = queue.lease_next(project, person)
    skipped = client.post(f"/tasks/{lease.task_id}/skip/", {"reason": "Other reason"}, headers=SCRIPT)
    assert skipped.status_code == 409 and skipped.json()["title"] == "Items of the qualification cannot be skipped."
    wrong = "7" if lease.shown[0] == lease.task.expected["choice"] else "1"
    client.post(f"/tasks/{lease.task_id}/judge/", {"verdict": wrong})
    page = client.get(address).content.decode()
    assert "was not as expected" in page and "did not pass" in page
    member = Membership.objects.get(user=person)
    assert "Did not qualify: 1 of 2" in signed_in(lead).get(f"/projects/{project.slug}/people/").content.decode()
    signed_in(lead).post(f"/projects/{project.slug}/people/{member.pk}/state/", {"action": "admit"})
    assert queue.lease_next(project, person).task.pool == Pool.QUEUE


# ---- what is left for one person ----
def test_progress_tells_what_is_left_for_this_person() -> None:
    project = factories.project(overlap=2)
    person = factories.member(project)
    for priority in (0, 0, 3):
        factories.task(project, priority=priority)
    factories.task(project, assigned_to=[person.pk])
    factories.task(project, assigned_to=[factories.member(project).pk])
    judge(project, person)
    queue.lease_next(project, person)
    now = progress.of(project, person)
    assert (now.done, now.total, now.more) == (1, 4, False)


def test_progress_counts_no_further_than_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOST", 3)
    project = factories.project()
    for _ in range(8):
        factories.task(project)
    person = factories.member(project)
    with CaptureQueriesContext(connection) as asked:
        now = progress.of(project, person)
    assert (now.total, now.more) == (3, True)
    counting = [query["sql"] for query in asked if "annotation_task" in query["sql"] and "COUNT" in query["sql"]]
    assert len(counting) == 1 and counting[0].count("LIMIT 3") >= 5
    assert gold.falls_short(project, "0") is False
