"""The rules a lead sets for a queue: samples, orders, skips, named people."""

import statistics
from itertools import pairwise

import pytest
from django.db import connection
from django.db.models import F

from annotation import at_once, claiming, draws, judging, projects, queue, tasks
from annotation.models import Assignment, Order, Pool, Project, SkipTo, Task
from annotation.standing import standing_of
from tests import factories

pytestmark = pytest.mark.django_db
BODY = {"choice": "a", "strength": 2}


def change(project: Project, **rules: object) -> Project:
    return projects.change(project, by=factories.user(), **rules)


def judge_all(project: Project, person: object) -> list[int]:
    found = []
    while assignment := queue.lease_next(project, person):
        judging.submit(assignment.task, person, BODY)
        found.append(assignment.task_id)
    return found


def grow(project: Project, number: int, **fields: object) -> list[int]:
    two = [{"text": text} for text in factories.RESPONSES]
    record = {"prompt": factories.PROMPT, "responses": two} | fields
    return [task.id for task in tasks.add_tasks(project, [record] * number)]


# ---- a share with extra judgements ----
def test_a_share_of_the_tasks_wants_more_judgements_and_the_same_ids_are_in_it_everywhere():
    first, second = (factories.project(agreement_share=0.3, agreement_overlap=4) for _ in range(2))
    needs = [[factories.task(project, id=f"t{n}").need for n in range(60)] for project in (first, second)]
    assert needs[0] == needs[1]
    assert set(needs[0]) == {1, 4}
    assert 8 <= needs[0].count(4) <= 28


def test_a_record_that_says_how_often_it_is_to_be_judged_is_left_out_of_the_sample():
    project = factories.project(agreement_share=1.0, agreement_overlap=4)
    assert factories.task(project, need=2).need == 2
    change(project, agreement_overlap=5)
    assert project.tasks.get().need == 2


def test_a_new_share_reaches_every_unfinished_task_and_no_finished_one():
    project = factories.project()
    _, held, _ = (factories.task(project, id=f"t{n}") for n in range(3))
    one, other = factories.member(project), factories.member(project)
    judging.submit(queue.lease_next(project, one).task, one, BODY)
    queue.lease_next(project, one)
    change(project, agreement_share=1.0, agreement_overlap=3)
    assert list(project.tasks.order_by("pk").values_list("need", "open_slots")) == [(1, 0), (3, 2), (3, 3)]
    assert queue.lease_next(project, other).task_id == held.pk  # though the first one's cursor is past it
    change(project, agreement_share=0.0)
    assert list(project.tasks.order_by("pk").values_list("need", "open_slots")) == [(1, 0), (2, 0), (1, 1)]


def test_a_task_is_in_the_sample_of_every_smaller_share_that_its_lot_allows():
    lots = [draws.lot_of(f"id-{n}") for n in range(2000)]
    assert 0.07 < sum(lot < 1000 for lot in lots) / 2000 < 0.13
    project = factories.project(agreement_share=0.1)
    assert tasks.wanted(project, 999) == 3 and tasks.wanted(project, 1000) == 1


# ---- a random order for each person ----
def test_in_random_order_people_begin_in_different_places_and_each_gets_everything():
    project = factories.project(order=Order.RANDOM, overlap=4)
    given = grow(project, 15) + grow(project, 3, priority=2)
    orders = [judge_all(project, factories.member(project)) for _ in range(4)]
    assert all(sorted(order) == given for order in orders)
    assert all(set(order[:3]) == set(given[15:]) for order in orders)  # the higher priority is always first
    assert len({tuple(order[3:6]) for order in orders}) > 1  # one item alone is at times the same for all


def test_in_random_order_everybodys_permutation_is_independent_of_the_others():
    """No circle with another start: who comes next for one person says nothing about who comes next for another."""
    project = factories.project(order=Order.RANDOM, overlap=9)
    grow(project, 60)
    orders = [judge_all(project, factories.member(project)) for _ in range(3)]
    ranked = sorted(project.tasks.values_list("rank", "pk"))
    places = [{pk: place for place, pk in enumerate(order)} for order in (*orders, [pk for _, pk in ranked])]
    for n, first in enumerate(places):
        for other in places[:n]:
            following = {pk: other[after] - other[pk] for pk, after in pairwise(sorted(first, key=first.__getitem__))}
            assert sum(step in (-1, 1) for step in following.values()) < 12  # 2 of 59 are expected by chance
            alike = statistics.correlation([first[pk] for pk in other], list(other.values()))
            assert abs(alike) < 0.6  # more is met by chance once in 100,000 times


def test_where_most_of_what_is_open_is_known_to_a_person_a_walk_finds_the_rest(monkeypatch):
    project = factories.project(order=Order.RANDOM, overlap=9)
    monkeypatch.setattr(claiming, "draw", lambda *given: None)
    monkeypatch.setattr(at_once, "is_possible", lambda: False)
    given = grow(project, 12)
    assert sorted(judge_all(project, factories.member(project))) == given


def test_tasks_that_come_in_behind_a_person_in_random_order_are_met_all_the_same():
    project = factories.project(order=Order.RANDOM)
    grow(project, 5)
    person = factories.member(project)
    judging.submit(queue.lease_next(project, person).task, person, BODY)
    grow(project, 20)
    assert len(judge_all(project, person)) == 24


def steps_of_next(project: Project, person: object) -> int:
    """Instructions of SQLite's virtual machine for one walk and one draw, to the nearest ten."""
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    standing = standing_of(project, person)
    connection.connection.set_progress_handler(count, 10)
    try:
        with connection.cursor() as cursor:
            cursor.execute(claiming.probe_sql(), claiming.parameters(project, person, standing.place, standing.start))
            assert cursor.fetchall()
            spot = draws.spot_of(project.pk, person.pk, standing.turn)
            values = {"project": project.pk, "annotator": person.pk, "priority": standing.place.priority}
            cursor.execute(claiming.draw_sql(), values | {"point": spot.point, "factor": spot.factor})
            assert cursor.fetchall()
    finally:
        connection.connection.set_progress_handler(None, 0)
    return calls * 10


@pytest.mark.skipif(connection.vendor != "sqlite", reason="counts SQLite's own steps")
def test_an_order_of_ones_own_costs_no_more_with_more_tasks():
    project = factories.project(order=Order.RANDOM, overlap=3)
    person = factories.member(project)
    grow(project, 40)
    for _ in range(15):
        judging.submit(queue.lease_next(project, person).task, person, BODY)
    few = steps_of_next(project, person)
    grow(project, 3000)
    queue.lease_next(project, person)  # the one walk from the start after an import
    assert steps_of_next(project, person) <= few + 100


# ---- skips ----
@pytest.mark.parametrize(("rule", "pool"), [(SkipTo.REVIEW, Pool.REVIEW), (SkipTo.DROP, Pool.DROPPED)])
def test_a_task_skipped_often_enough_leaves_the_queue(rule, pool):
    project = factories.project(skip_to=rule, skip_limit=2)
    task = factories.task(project)
    for expected in (Pool.QUEUE, pool):
        person = factories.member(project)
        queue.skip(queue.lease_next(project, person).task, person, "No idea")
        task.refresh_from_db()
        assert (task.pool, task.open_slots) == (expected, 1)
    assert task.skips == 2
    assert queue.lease_next(project, factories.member(project)) is None


def test_without_a_rule_a_skipped_task_goes_to_others_for_ever():
    project = factories.project(skip_limit=1)
    task = factories.task(project)
    for _ in range(3):
        person = factories.member(project)
        assert queue.lease_next(project, person).task_id == task.pk
        queue.skip(task, person)


# ---- named people ----
def test_an_assigned_task_is_its_persons_and_comes_before_the_open_ones():
    project = factories.project()
    one, other = factories.member(project), factories.member(project)
    factories.task(project)
    theirs = factories.task(project, assigned_to=[one.pk])
    assert (theirs.need, theirs.open_slots) == (1, 0)
    assert queue.lease_next(project, other).task_id != theirs.pk
    lease = queue.lease_next(project, one)
    assert lease.task_id == theirs.pk and len(lease.shown) == 2
    judging.submit(theirs, one, BODY)
    assert queue.lease_next(project, one) is None


def test_a_lapsed_lease_of_an_assigned_task_stays_its_persons():
    project = factories.project()
    one, other = factories.member(project), factories.member(project)
    task = factories.task(project, assigned_to=[one.pk])
    lease = queue.lease_next(project, one)
    Assignment.objects.update(lease_until=F("leased_at"))
    assert queue.lease_next(project, other) is None
    lease.refresh_from_db()
    assert lease.state == Assignment.State.ASSIGNED
    assert judging.submit(task, one, BODY).revision == 1  # the page was still open
    task.refresh_from_db()
    assert (task.done, task.open_slots) == (1, 0)


def test_an_assigned_task_that_is_skipped_goes_to_everybody():
    project = factories.project()
    one, other = factories.member(project), factories.member(project)
    task = factories.task(project, assigned_to=[one.pk])
    queue.lease_next(project, one)
    queue.skip(task, one)
    assert queue.lease_next(project, other).task_id == task.pk


def test_two_named_people_each_have_a_place():
    project = factories.project()
    people = [factories.member(project) for _ in range(2)]
    task = factories.task(project, assigned_to=[person.pk for person in people])
    assert (task.need, task.open_slots) == (2, 0)
    assert [queue.lease_next(project, person).task_id for person in people] == [task.pk] * 2


def test_checks_of_people_are_no_part_of_the_work_to_do():
    project = factories.project(gold_share=0.5)
    factories.task(project), factories.task(project, gold={"choice": "a"})
    assert Task.objects.wanted().count() == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plan")
@pytest.mark.parametrize("pool", [Pool.GOLD, Pool.QUALIFICATION])
def test_the_next_check_walks_its_own_index_and_sorts_nothing(pool):
    project, person = factories.project(), factories.user()
    values = claiming.parameters(project, person, claiming.Place(0, 9, 0), 5)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {claiming.check_sql(pool)}", values)
        plan = [row[3] for row in cursor.fetchall()]
    searches = [step.split("INDEX ")[1] for step in plan if step.startswith(("SEARCH task ", "SCAN task "))]
    name = f"task_{pool.name.lower()}"
    assert searches == [f"{name} (project_id=? AND rank>? AND rank<?)", f"{name} (project_id=? AND rank<?)"]
    assert not any("TEMP B-TREE" in step for step in plan), plan
