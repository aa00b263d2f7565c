"""New rules of a large project reach its tasks in the background: some at a time, each change once, none half."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from annotation import judging, projects, queue, rule_changes, tasks
from annotation.models import ImportJob, Order, Pool, Project, Role, RuleChange, Task
from annotation.quality import reports
from annotation.raters import Raters
from annotation.records import Checker
from annotation.staging import Staging
from tests import factories
from tests.contract.program import Program

pytestmark = pytest.mark.django_db
BODY = {"choice": "a", "strength": 2}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Five tasks are few and three a batch, so that ten are many."""
    monkeypatch.setattr(rule_changes, "FEW", 5)
    monkeypatch.setattr(rule_changes, "BATCH", 3)


def grown(number: int = 10, **fields: object) -> Project:
    """A project whose tasks stand among those of another one."""
    project, other = factories.project(**fields), factories.project()
    for _ in range(number):
        factories.task(project), factories.task(other)
    return project


def change(project: Project, **rules: object) -> None:
    projects.change(project, by=factories.user(), **rules)


def needs(project: Project) -> list[int]:
    return list(project.tasks.order_by("pk").values_list("need", flat=True))


def enqueued() -> int:
    return DBTaskResult.objects.filter(task_path="annotation.rule_changes.run").count()


def test_few_tasks_have_the_new_rules_when_the_answer_comes():
    project = grown(5)
    change(project, overlap=3, order=Order.RANDOM)
    assert needs(project) == [3] * 5 and len(set(project.tasks.values_list("rank", flat=True))) > 1
    assert rule_changes.progress(project) is None and not RuleChange.objects.exists()


def test_what_a_request_asks_does_not_grow_with_the_tasks(django_capture_on_commit_callbacks):
    project, asked = grown(6), []
    for _ in range(2):
        with CaptureQueriesContext(connection) as seen, django_capture_on_commit_callbacks(execute=True):
            change(project, overlap=3, order=Order.RANDOM, gold_share=0.1, agreement_share=0.5)
        asked.append([one["sql"].split()[:3] for one in seen])
        assert not [sql for sql in asked[-1] if sql[:2] == ["UPDATE", '"annotation_task"']]
        RuleChange.objects.all().delete()
        Project.objects.filter(pk=project.pk).update(overlap=1, order=Order.GIVEN, gold_share=0, agreement_share=0)
        project.refresh_from_db()
        for _ in range(10):
            factories.task(project)
    assert asked[0] == asked[1]


def test_many_tasks_get_them_from_the_worker_and_new_ones_at_once(django_capture_on_commit_callbacks):
    project = grown()
    with django_capture_on_commit_callbacks(execute=True):
        change(project, overlap=3)
    assert enqueued() == 1 and needs(project) == [1] * 10
    assert DBTaskResult.objects.get().priority > 0  # before a report, which may take minutes
    project.refresh_from_db()
    assert project.overlap == 3 and factories.task(project).need == 3
    assert rule_changes.progress(project) == {"seen": 0, "total": None}
    epoch = project.epoch
    rule_changes.carry_on(project.pk)
    assert needs(project) == [3] * 11 and set(needs(Project.objects.exclude(pk=project.pk).get())) == {1}
    assert rule_changes.progress(project) is None
    project.refresh_from_db()
    assert project.epoch > epoch  # cursors find what was opened behind them


def test_a_task_is_never_between_two_rules_and_a_change_goes_on_where_it_stopped(monkeypatch):
    project = grown()
    change(project, overlap=2, order=Order.RANDOM)
    calls, step = [], rule_changes._step

    def dies(found: RuleChange) -> bool:
        calls.append(found.reached)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(found)

    monkeypatch.setattr(rule_changes, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        rule_changes.carry_on(project.pk)
    rows = list(project.tasks.order_by("pk").values_list("need", "open_slots"))
    assert rows == [(2, 2)] * 6 + [(1, 1)] * 4
    assert [rank > 0 for rank in project.tasks.order_by("pk").values_list("rank", flat=True)] == [True] * 6 + [
        False
    ] * 4
    assert rule_changes.progress(project) == {"seen": 6, "total": 10}
    ranks = list(project.tasks.order_by("pk").values_list("rank", flat=True)[:6])
    assert rule_changes.sweep() == 0  # it may live yet
    RuleChange.objects.update(heartbeat=timezone.now() - timedelta(minutes=3))
    assert rule_changes.sweep() == 1 and rule_changes.sweep() == 0 and enqueued() == 1
    rule_changes.carry_on(project.pk)
    assert needs(project) == [2] * 10 and calls == [0, calls[1], calls[2], calls[2], calls[4]]
    assert list(project.tasks.order_by("pk").values_list("rank", flat=True)[:6]) == ranks  # each was drawn once


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_fails_leaves_its_tasks_and_its_progress_alone(monkeypatch):
    project = grown()
    change(project, overlap=2, gold_share=0.1)
    monkeypatch.setattr(tasks, "move_apart", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rule_changes.carry_on(project.pk)
    assert needs(project) == [1] * 10 and rule_changes.progress(project) == {"seen": 0, "total": 10}


def test_a_second_worker_at_the_same_change_stops():
    project = grown()
    change(project, overlap=2)
    first, second = (RuleChange.objects.get() for _ in range(2))
    assert rule_changes._step(first) and not rule_changes._step(second)
    assert needs(project) == [2] * 3 + [1] * 7 and RuleChange.objects.get().seen == 3


def test_a_change_while_another_is_under_way_comes_after_it():
    project = grown()
    change(project, overlap=2)
    factories.task(project)
    project.refresh_from_db()
    change(project, overlap=3, gold_share=0.1)
    factories.task(project, gold={"choice": "a"})
    rule_changes.carry_on(project.pk)
    assert needs(project) == [3] * 11 + [0] and rule_changes.progress(project) is None
    project.refresh_from_db()
    change(project, overlap=1, gold_share=0)
    rule_changes.carry_on(project.pk)
    assert needs(project) == [1] * 12 and set(project.tasks.values_list("pool", flat=True)) == {Pool.QUEUE}


def test_people_judge_on_while_rules_are_under_way_and_no_slot_is_lost():
    project = grown()
    one, other = factories.member(project), factories.member(project)
    held = queue.lease_next(project, one)
    change(project, overlap=2, order=Order.RANDOM)
    found = RuleChange.objects.get()
    judging.submit(held.task, one, BODY)  # finished with one judgement before its turn came
    while not found.finished_at:
        judging.submit(queue.lease_next(project, one).task, one, BODY)
        assert rule_changes._step(found)
        found.refresh_from_db()
        found.project.refresh_from_db()
    for person in (one, other):
        while assignment := queue.lease_next(found.project, person):
            judging.submit(assignment.task, person, BODY)
    assert not project.tasks.filter(open_slots__gt=0).exists()
    assert [task.done == task.need for task in project.tasks.all()] == [True] * 10
    assert needs(project)[0] == 1 and set(needs(project)) == {1, 2}


@pytest.mark.parametrize("changed", [True, False])
def test_an_import_that_began_under_other_rules_follows_those_of_today(changed, django_capture_on_commit_callbacks):
    project = factories.project()
    job = ImportJob.objects.create(project=project, state=ImportJob.State.RUNNING, heartbeat=timezone.now())
    staged = Staging(job, Raters(project, None))
    record = {"id": "q", "prompt": "?", "responses": ["x", "y"]}
    staged.add([Checker(project).check(record), Checker(project).check(record | {"id": "r"})], purpose="label")
    earlier = factories.task(project, need=1)
    if changed:
        change(Project.objects.get(pk=project.pk), overlap=3, order=Order.RANDOM)
        Task.objects.filter(pk=earlier.pk).update(need=1, open_slots=1)  # as a record may ask for
    with django_capture_on_commit_callbacks(execute=True):
        staged.publish(2, dict)
    assert enqueued() == changed and RuleChange.objects.count() == changed
    rule_changes.carry_on(project.pk)
    assert sorted(needs(project)) == ([1, 3, 3] if changed else [1, 1, 1])
    assert all(rank > 0 for rank in project.tasks.filter(need=3).values_list("rank", flat=True))


def test_a_report_made_meanwhile_is_out_of_date_when_the_last_task_has_them():
    project = grown()
    change(project, overlap=2)
    report = reports.of(project)
    assert not reports.is_stale(report)
    rule_changes.carry_on(project.pk)
    assert reports.is_stale(report)


def test_the_pages_and_the_api_say_what_is_under_way():
    project = grown()
    lead, client = factories.member(project, Role.MANAGER, "meg"), Client()
    client.force_login(lead)
    program = Program(lead)
    home, live = f"/projects/{project.slug}/settings/", f"/projects/{project.slug}/settings/applying/"
    words = "New rules are on their way"
    assert words not in client.get(home).content.decode()
    assert program.get(f"/projects/{project.slug}/").json()["applying"] is None
    changed = program.send("PATCH", f"/projects/{project.slug}/", {"overlap": 2})
    assert changed.status_code == 200 and changed.json()["applying"] == {"seen": 0, "total": None}
    for page in (home, f"/projects/{project.slug}/"):
        assert words in client.get(page).content.decode()
    assert "They wait for the worker" in client.get(live).content.decode()
    found = RuleChange.objects.get()
    RuleChange.objects.update(total=10)
    assert rule_changes._step(found)
    told = client.get(live).content.decode()
    assert "3 of 10 looked at" in told and "every 2s" in told
    assert program.get("/projects/").json()["results"][0]["applying"] == {"seen": 3, "total": 10}
    rule_changes.carry_on(project.pk)
    told = client.get(live).content.decode()
    assert "have reached every item" in told and "hx-trigger" not in told
    stranger = Client()
    stranger.force_login(factories.user())
    assert stranger.get(live).status_code == 404


@pytest.mark.skipif(connection.vendor != "sqlite", reason="plans are told in SQLite's words")
def test_a_batch_walks_no_more_than_its_own_tasks():
    project = grown(30)
    change(project, overlap=2, order=Order.RANDOM, gold_share=0.1)
    with CaptureQueriesContext(connection) as seen:
        rule_changes._step(RuleChange.objects.get())
    updates = [one["sql"] for one in seen if one["sql"].startswith('UPDATE "annotation_task"')]
    assert len(updates) == 3
    for sql in updates:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = [row[3] for row in cursor.fetchall()]
        assert "SEARCH annotation_task USING INTEGER PRIMARY KEY" in plan[0], plan


@pytest.mark.skipif(connection.vendor != "sqlite", reason="plans are told in SQLite's words")
def test_what_there_is_to_qualify_with_is_counted_by_its_own_index():
    project = grown(6)
    with CaptureQueriesContext(connection) as seen, pytest.raises(projects.ProjectError):
        change(project, qualification_size=4)
    counting = next(one["sql"] for one in seen if "COUNT(" in one["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {counting}")
        assert "task_qualification" in str(cursor.fetchall())
