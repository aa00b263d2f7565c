"""One's own work: what a person sees of themselves and of the others, keeps and changes."""

import re
from datetime import date
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotation import alikeness, freezing, judging, own_work, queue, reviewing
from annotation.models import Annotation, GoldResult, Membership, Project, QualityReport, Role, Task, User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forget() -> None:
    """One's own agreement is remembered for some minutes, by the id of an account, which tests use again."""
    cache.clear()


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def give(task: Task, person: User, side: int, strength: int = 2) -> Annotation:
    """A judgement for the response at that place of a reviewer's order."""
    shown = queue.lease_next(task.project, person).shown
    letter = "ab"[shown.index(reviewing.order_of(task)[side])]
    return judging.submit(task, person, {"choice": letter, "strength": strength}, seconds=40)


@pytest.fixture
def project() -> Project:
    return factories.project(overlap=3)


@pytest.fixture
def person(project: Project) -> User:
    return factories.member(project, username="ada")


@pytest.mark.parametrize("show", ["", "open", "gold"])
def test_what_the_page_asks_does_not_grow_with_ones_judgements(project: Project, person: User, show: str) -> None:
    client, asked = signed_in(person), []
    for _ in range(2):
        for _ in range(6):
            give(factories.task(project), person, 0)
        cache.clear()
        with CaptureQueriesContext(connection) as seen:
            assert client.get("/my-work/", {"show": show}).status_code == 200
        asked.append(len(seen))
    assert asked[0] == asked[1] <= 40


@pytest.mark.skipif(connection.vendor != "sqlite", reason="plans are told in SQLite's words")
def test_ones_own_judgements_are_found_in_their_order_and_never_sorted(person: User) -> None:
    own = own_work.standing(person)
    history = own_work.history(person, "")
    assert not isinstance(history, list)
    for rows in (history[:50], own.order_by("-created_at").values("seconds")[: own_work.LOOKED_AT]):
        plan = rows.explain()
        assert "annotation_history" in plan and "TEMP B-TREE" not in plan


def test_times_and_agreement_are_those_of_the_latest_judgements(
    project: Project, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_work, "LOOKED_AT", 2)
    tasks = [factories.task(project) for _ in range(3)]
    for seconds, task in zip((500.0, 40.0, None), tasks, strict=True):
        given = give(task, person, 0)
        Annotation.objects.filter(pk=given.pk).update(seconds=seconds)
        give(task, factories.member(project), 0), give(task, factories.member(project), 0)
    assert own_work.pace(person)["times"]["middle"] == 40.0
    found = own_work.agreement(person)
    assert found and found["of"] == 2 and own_work._paces(person) == {project.pk: 40.0}
    assert own_work.pace(person)["today"] == 3


def test_the_others_are_shown_only_when_the_item_is_finished(project: Project, person: User) -> None:
    task = factories.task(project)
    give(task, person, 0)
    give(task, factories.member(project, username="secret-name"), 1)
    client = signed_in(person)
    html = client.get("/my-work/").content.decode()
    assert "Not yet, 2 of 3" in html and own_work.agreement(person) is None
    give(task, factories.member(project), 0, strength=3)
    html = client.get("/my-work/").content.decode()
    assert "Not yet" not in html and "secret-name" not in html
    (answer,) = own_work.answers([Annotation.objects.get(annotator=person)], person)  # needs its project's role
    assert sorted(words[0] for words in answer.others) == ["A", "B"]


def test_agreement_is_with_the_median_of_two_others(project: Project, person: User) -> None:
    for side in (0, 1):
        task = factories.task(project)
        give(task, person, 0)
        for _ in range(2):
            give(task, factories.member(project), side)
    found = own_work.agreement(person)
    assert found is not None and (found["value"], found["of"]) == (0.5, 2)
    assert found["low"] < 0.5 < found["high"]


def test_pace_counts_days_and_active_time(project: Project, person: User) -> None:
    give(factories.task(project), person, 0)
    pace = own_work.pace(person)
    assert (pace["today"], pace["week"], pace["week_seconds"]) == (1, 1, 40)
    assert len(pace["per_day"]) == 28 and pace["per_day"][-1]["count"] == 1
    assert pace["times"]["middle"] == 40


def test_an_answer_is_changed_on_the_judging_page_until_it_is_frozen(
    project: Project, person: User, monkeypatch: Any
) -> None:
    task = factories.task(project)
    mine = give(task, person, 0)
    client = signed_in(person)
    html = client.get(f"/annotations/{mine.pk}/change/").content.decode()
    assert "data-renew" not in html and "Skip <kbd>" not in html
    side = "ab"[mine.shown.index(mine.body["choice"])]
    assert f'value="{2 if side == "a" else 6}" data-key="{2 if side == "a" else 6}"' in html
    client.post(f"/tasks/{task.pk}/judge/", {"verdict": "4", "key": "again"})
    assert Annotation.objects.standing().get(annotator=person).body["choice"] == "tie"
    assert "None of your answers" not in client.get("/my-work/?show=open").content.decode()
    monkeypatch.setattr(freezing, "_lookups", [lambda asked: {one.pk: "prefs v1" for one in asked}])
    assert "None of your answers" in client.get("/my-work/?show=open").content.decode()
    latest = Annotation.objects.standing().get(annotator=person)
    assert "In prefs v1" in client.get("/my-work/").content.decode()
    assert client.get(f"/annotations/{latest.pk}/change/").url == "/my-work/"
    script = {"X-Requested-With": "fetch"}
    refused = client.post(f"/tasks/{task.pk}/judge/", {"verdict": "1", "key": "third"}, headers=script)
    assert refused.status_code == 409 and "part of prefs v1" in refused.json()["title"]
    assert client.post(f"/annotations/{latest.pk}/undo/", headers=script).status_code == 409


def test_nobody_changes_the_answer_of_somebody_else(project: Project, person: User) -> None:
    mine = give(factories.task(project), person, 0)
    other = signed_in(factories.member(project))
    assert other.get(f"/annotations/{mine.pk}/change/").status_code == 404
    assert other.post(f"/annotations/{mine.pk}/keep/").status_code == 404


def test_a_returned_answer_is_listed_with_the_comment_and_can_be_kept(project: Project, person: User) -> None:
    task = factories.task(project)
    mine = give(task, person, 0)
    reviewing.send_back(mine, factories.member(project, Role.REVIEWER, "judith"), comment="Count again.")
    client = signed_in(person)
    html = client.get("/my-work/").content.decode()
    assert "1 item came back to you" in html and "Count again." in html and "judith" not in html
    for _ in range(2):
        client.post(f"/annotations/{mine.pk}/keep/")
    again = Annotation.objects.standing().get(annotator=person)
    assert (again.revision, again.body) == (2, mine.body)
    assert "came back" not in client.get("/my-work/").content.decode()


def test_a_hidden_check_looks_like_any_other_item(project: Project, person: User) -> None:
    plain, hidden = factories.task(project), factories.task(project)
    for task in (plain, hidden):
        give(task, person, 0)
    Task.objects.filter(pk=hidden.pk).update(need=0, open_slots=0, is_gold=True)
    html = signed_in(person).get("/my-work/").content.decode()
    assert html.count("Not yet, 1 of 3") == 2
    Project.objects.filter(pk=project.pk).update(overlap=1)  # where nobody is told what others said
    Task.objects.filter(pk=plain.pk).update(need=1, open_slots=0)
    for _ in range(2):
        other = Annotation(project=project, task=hidden, annotator=factories.member(project), kind=project.kind)
        other.body, other.shown = {"choice": "tie", "strength": 0}, []
        other.save()
    Task.objects.filter(pk=hidden.pk).update(done=3)
    rows = own_work.answers(own_work.rows(own_work.history(person, "")), person)
    assert {(tuple(row.others), row.judged_by, row.wanted) for row in rows} == {((), 1, 1)}


def test_agreement_is_told_week_by_week(project: Project, person: User) -> None:
    for week, side in (("02", 0), ("09", 1)):
        task = factories.task(project)
        give(task, person, 0)
        for _ in range(2):
            give(task, factories.member(project), side)
        Annotation.objects.filter(task=task).update(created_at=f"2026-11-{week}T12:00Z")
    everybody = alikeness.of_everybody(project, date(2026, 11, 20))
    assert everybody == {"2026-11-02": [3, 3], "2026-11-09": [0, 3]}  # one and one have a tie between them
    QualityReport.objects.create(project=project, data={"alike": everybody})
    html = signed_in(person).get("/my-work/").content.decode()
    found = own_work.agreement(person)
    assert found is not None
    weeks = [(one["from"], one["measures"]["alike"]["value"]) for one in found["weeks"]]
    assert weeks == [("2026-11-02", 1.0), ("2026-11-09", 0.0)]
    assert "Agreement, week by week: from 1.00 to 0.00" in html
    assert found["beside"] == {"2026-11-02": 1.0, "2026-11-09": 0.0}
    assert "Everybody in your projects 50%" in html and "ln dash" in html
    assert "Nothing left" in html and "2 done" in html
    factories.task(project)
    assert "1 left" in signed_in(person).get("/my-work/").content.decode()


def test_missed_gold_items_are_told_a_day_later_where_the_project_says_so(person: User, project: Project) -> None:
    for number in range(3):
        task = factories.task(project, gold={"choice": "a", "rationale": f"Reason {number}."})
        shown = queue.lease_next(project, person).shown
        right = number == 0
        letter = "ab"[shown.index(task.expected["choice"]) ^ (not right)]
        judging.submit(task, person, {"choice": letter, "strength": 2})
    client = signed_in(person)

    def told() -> str:
        page = client.get("/my-work/").content.decode()
        assert ("Gold" in page) == ("Gold feedback" in page)
        return page.partition("Gold feedback")[2]

    Project.objects.filter(pk=project.pk).update(gold_feedback=True)
    assert not told()  # not so soon
    GoldResult.objects.update(created_at="2026-11-01T00:00Z")
    page = told()
    assert "1 of 2 missed" in page and "Reason 1." in page and "I disagree" in page
    assert "Reason 2." not in page  # the last answer may still be taken back
    only = client.get("/my-work/?show=gold").content.decode()
    assert (only.count("Gold, as expected"), only.count("Gold, not as expected")) == (1, 1)
    assert only.count("Ask a reviewer") == 2  # of three answers
    Project.objects.filter(pk=project.pk).update(gold_feedback=False)
    assert not told()


def test_the_qualification_is_told_afterwards(project: Project, person: User) -> None:
    Project.objects.filter(pk=project.pk).update(qualification_size=5, qualification_bar=0.7)
    assert "Qualification" not in signed_in(person).get("/my-work/").content.decode()
    passed = {"qualification_done": 5, "qualification_right": 4, "qualified_at": timezone.now()}
    Membership.objects.filter(user=person).update(**passed)
    html = signed_in(person).get("/my-work/").content.decode()
    assert "4 of 5 right, 4 needed" in html and "Passed" in html


def test_only_projects_with_work_left_are_counted_as_waiting(project: Project, person: User) -> None:
    Membership.objects.create(user=person, project=factories.project(), role=Role.ANNOTATOR)
    factories.task(project)
    html = signed_in(person).get("/my-work/").content.decode()
    assert "Nothing left" in html and ">1 project<" in html


def test_work_goes_on_where_something_is_left_not_where_one_is_paused(project: Project, person: User) -> None:
    factories.task(project)
    paused = factories.project(name="A first one")
    task = factories.task(paused)
    Membership.objects.create(user=person, project=paused, role=Role.ANNOTATOR)
    judging.submit(queue.lease_next(paused, person).task, person, {"choice": "a", "strength": 1})
    assert task.annotations.exists()
    Membership.objects.filter(user=person, project=paused).update(state=Membership.State.PAUSED)
    html = signed_in(person).get("/my-work/").content.decode()
    (main,) = re.findall(r'class="btn main" href="([^"]+)"', html)
    assert main == f"/projects/{project.slug}/work/" and html.index(project.name) < html.index("Not now")
    Membership.objects.filter(user=person, project=project).update(state=Membership.State.PAUSED)
    assert 'class="btn main"' not in signed_in(person).get("/my-work/").content.decode()
