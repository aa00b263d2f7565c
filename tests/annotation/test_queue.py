"""Who gets which task, and that no slot is ever lost or given twice."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from annotation import claiming, judging, projects, queue, tasks
from annotation.models import Assignment, Order, Project, Task
from annotation.standing import standing_of
from tests import factories

pytestmark = pytest.mark.django_db
BODY = {"choice": "a", "strength": 2}


def lapse(assignment: Assignment) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def judge_next(project: Project, person: object) -> Task | None:
    assignment = queue.lease_next(project, person)
    if assignment is None:
        return None
    judging.submit(assignment.task, person, BODY)
    return assignment.task


def judge_all(project: Project, person: object) -> list[int]:
    found = []
    while task := judge_next(project, person):
        found.append(task.pk)
    return found


def slots_add_up(project: Project) -> bool:
    """Every slot is free, leased, or taken by a standing annotation."""
    return all(
        task.need
        == task.open_slots
        + task.assignments.filter(state=Assignment.State.LEASED).count()
        + task.annotations.standing().count()
        and task.done == task.annotations.standing().count()
        for task in project.tasks.all()
    )


@pytest.fixture
def project() -> Project:
    return factories.project()


def test_tasks_come_by_priority_then_in_the_order_given(project):
    low, first, second, high = (factories.task(project, priority=priority) for priority in (-1, 0, 0, 5))
    assert judge_all(project, factories.member(project)) == [high.pk, first.pk, second.pk, low.pk]


def test_the_task_held_is_given_again_with_its_lease_renewed(project):
    person = factories.member(project)
    factories.task(project), factories.task(project)
    first = queue.lease_next(project, person)
    Assignment.objects.filter(pk=first.pk).update(lease_until=timezone.now() + timedelta(seconds=30))
    again = queue.lease_next(project, person)
    assert again.pk == first.pk
    assert again.shown == first.shown
    assert again.lease_until > timezone.now() + timedelta(minutes=10)
    assert Assignment.objects.count() == 1


def test_a_lapsed_lease_that_nobody_swept_is_still_its_holders(project):
    person = factories.member(project)
    factories.task(project)
    first = queue.lease_next(project, person)
    lapse(first)
    assert queue.lease_next(project, person).pk == first.pk


def test_overlap_bounds_how_many_people_hold_one_task(project):
    project.overlap = 2
    task = factories.task(project)
    people = [factories.member(project) for _ in range(3)]
    held = [queue.lease_next(project, person) for person in people]
    assert [assignment.task.pk if assignment else None for assignment in held] == [task.pk, task.pk, None]
    assert slots_add_up(project)


def test_the_database_itself_refuses_an_overrun(project):
    task = factories.task(project)
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk=task.pk).update(open_slots=-1)


def test_a_lapsed_lease_goes_to_the_next_person_once(project):
    task = factories.task(project)
    absent, present, third = (factories.member(project) for _ in range(3))
    lapse(queue.lease_next(project, absent))
    assert queue.lease_next(project, present).task.pk == task.pk
    assert queue.lease_next(project, third) is None
    assert slots_add_up(project)


def test_expiring_gives_each_slot_back_once_and_keeps_the_draft(project):
    task = factories.task(project)
    person = factories.member(project)
    assignment = queue.lease_next(project, person)
    judging.save_draft(task, person, {"rationale": "half a thought"})
    lapse(assignment)
    assert queue.expire_leases() == 1
    assert queue.expire_leases() == 0
    assert slots_add_up(project)
    again = queue.lease_next(project, person)
    assert (again.pk, again.draft) == (assignment.pk, {"rationale": "half a thought"})


def test_live_leases_are_not_swept(project):
    factories.task(project)
    queue.lease_next(project, factories.member(project))
    assert queue.expire_leases() == 0


def test_a_task_that_came_back_is_offered_before_new_ones(project):
    first, *_ = (factories.task(project) for _ in range(3))
    one, other = factories.member(project), factories.member(project)
    assert queue.lease_next(project, one).task.pk == first.pk
    assert judge_next(project, other).pk != first.pk
    queue.skip(first, one, "I lack the expertise")
    assert queue.lease_next(project, other).task.pk == first.pk


def test_a_skipped_task_never_comes_back_to_the_same_person(project):
    first, second = factories.task(project), factories.task(project)
    person = factories.member(project)
    assignment = queue.lease_next(project, person)
    queue.skip(first, person, "Prompt makes no sense")
    assignment.refresh_from_db()
    assert (assignment.state, assignment.skip_reason) == ("skipped", "Prompt makes no sense")
    assert judge_all(project, person) == [second.pk]
    assert slots_add_up(project)


def test_skipping_twice_gives_back_one_slot(project):
    task = factories.task(project)
    person = factories.member(project)
    queue.lease_next(project, person)
    queue.skip(task, person)
    queue.skip(task, person)
    assert slots_add_up(project)


def test_a_task_that_is_not_held_cannot_be_skipped(project):
    with pytest.raises(queue.LeaseLost):
        queue.skip(factories.task(project), factories.member(project))


def test_one_task_is_leased_ahead_and_no_more(project):
    first, second, _ = (factories.task(project) for _ in range(3))
    person = factories.member(project)
    held = queue.lease_next(project, person)
    ahead = queue.prefetch_next(project, person, besides=held)
    assert (held.task.pk, ahead.task.pk) == (first.pk, second.pk)
    assert queue.prefetch_next(project, person, besides=held).pk == ahead.pk
    judging.submit(first, person, BODY)
    assert queue.lease_next(project, person).pk == ahead.pk


def test_the_task_leased_ahead_lives_as_long_as_the_one_that_is_worked_on(project):
    for _ in range(2):
        factories.task(project)
    person = factories.member(project)
    held = queue.lease_next(project, person)
    ahead = queue.prefetch_next(project, person, besides=held)
    Assignment.objects.update(lease_until=timezone.now() + timedelta(seconds=30))
    queue.renew(held)
    ahead.refresh_from_db()
    assert ahead.lease_until > timezone.now() + timedelta(minutes=10)


def test_a_new_task_of_higher_priority_is_next_though_cursors_have_passed(project):
    for _ in range(3):
        factories.task(project)
    person = factories.member(project)
    judge_next(project, person), judge_next(project, person)
    urgent = factories.task(project, priority=9)
    project.refresh_from_db()
    assert project.epoch == 1
    assert judge_next(project, person).pk == urgent.pk


def test_more_tasks_at_the_end_of_the_queue_leave_the_cursors_alone(project):
    factories.task(project)
    judge_next(project, factories.member(project))
    factories.task(project)
    project.refresh_from_db()
    assert project.epoch == 0


def test_a_task_that_a_cursor_missed_is_found_before_nothing_is_left(project):
    first, second = factories.task(project), factories.task(project)
    person = factories.member(project)
    judge_next(project, person)
    Assignment.objects.all().delete()  # as if the cursor had passed a row that somebody else had locked
    Task.objects.filter(pk=first.pk).update(open_slots=1, done=0)
    first.annotations.all().delete()
    assert judge_all(project, person) == [second.pk, first.pk]


def test_a_random_order_is_drawn_once_and_covers_everything(project):
    project = factories.project(order=Order.RANDOM)
    given = [factories.task(project).pk for _ in range(12)]
    found = judge_all(project, factories.member(project))
    assert sorted(found) == given
    assert found != given


def test_changing_the_order_restarts_every_cursor(project):
    given = [factories.task(project).pk for _ in range(12)]
    person = factories.member(project)
    judge_next(project, person)
    projects.change(project, by=person, order=Order.RANDOM)
    rest = judge_all(project, person)
    assert sorted(rest) == given[1:]


def test_changing_the_overlap_reaches_tasks_that_are_not_finished(project):
    done, opened, unopened = factories.task(project), factories.task(project), factories.task(project)
    person = factories.member(project)
    judge_next(project, person), queue.lease_next(project, person)
    projects.change(project, by=person, overlap=3)
    found = [(task.need, task.open_slots) for task in project.tasks.order_by("pk")]
    assert found == [(1, 0), (3, 2), (3, 3)]
    assert {done.pk, opened.pk, unopened.pk} == set(project.tasks.values_list("pk", flat=True))


def test_a_reopened_task_wants_one_more_judgement(project):
    task = factories.task(project)
    judge_next(project, factories.member(project))
    queue.reopen(task)
    assert judge_next(project, factories.member(project)).pk == task.pk


def test_an_archived_project_hands_nothing_out(project):
    factories.task(project)
    Project.objects.filter(pk=project.pk).update(is_archived=True)
    assert queue.lease_next(project, factories.member(project)) is None


def test_sides_are_drawn_for_each_annotator():
    project = factories.project(overlap=10)
    factories.task(project)
    orders = {tuple(queue.lease_next(project, factories.member(project)).shown) for _ in range(10)}
    assert len(orders) == 2  # both orders: alike for ten people only once in 512 runs


def test_the_lease_lasts_as_long_as_the_project_says():
    project = factories.project(lease_minutes=45)
    factories.task(project)
    left = queue.lease_next(project, factories.member(project)).lease_until - timezone.now()
    assert timedelta(minutes=44) < left <= timedelta(minutes=45)


def test_a_second_tab_cannot_take_a_second_task(project):
    """Both tabs read that nothing is held; the one that comes later takes what the first one got."""
    factories.task(project), factories.task(project), factories.task(project)
    person = factories.member(project)
    judge_next(project, person)
    stale = standing_of(project, person)
    first = queue.lease_next(project, person)
    with pytest.raises((queue._NotMyTurn, IntegrityError)), transaction.atomic():
        queue._lease(project, person, stale, stale.place, timezone.now())
    assert queue.lease_next(project, person).pk == first.pk
    assert slots_add_up(project)


def test_records_without_an_id_are_always_new_and_known_ids_never(project):
    record = {"prompt": factories.PROMPT, "responses": [{"text": "a"}, {"text": "b"}]}
    assert len(tasks.add_tasks(project, [record, record])) == 2
    assert len(tasks.add_tasks(project, [record | {"id": "x"}, record | {"id": "x"}])) == 1
    assert tasks.add_tasks(project, [record | {"id": "x"}]) == []
    assert project.tasks.count() == 3


def test_response_ids_say_nothing_about_where_a_response_comes_from(project):
    firsts = [min(factories.task(project).responses.all(), key=lambda row: row.pk).position for _ in range(30)]
    assert set(firsts) == {0, 1}


def test_next_takes_at_most_eight_statements(project, django_assert_max_num_queries):
    for _ in range(4):
        factories.task(project, need=2)
    one, other = factories.member(project), factories.member(project)
    with django_assert_max_num_queries(8):
        first = queue.lease_next(project, one)  # the person's first: no cursor yet
    judging.submit(first.task, one, BODY)
    with django_assert_max_num_queries(8):
        second = queue.lease_next(project, one)
    with django_assert_max_num_queries(8):
        queue.lease_next(project, one)  # held already
    queue.skip(second.task, one)
    queue.lease_next(project, other)
    held = queue.lease_next(project, other)
    with django_assert_max_num_queries(8):
        assert queue.prefetch_next(project, other, besides=held) is not None


@pytest.mark.django_db(transaction=True)
def test_next_takes_at_most_eight_statements_with_begin_and_commit(django_assert_max_num_queries):
    project = factories.project()
    factories.task(project), factories.task(project)
    person = factories.member(project)
    with django_assert_max_num_queries(8):
        assignment = queue.lease_next(project, person)
    with django_assert_max_num_queries(8):
        judging.submit(assignment.task, person, BODY, key="k")
    with django_assert_max_num_queries(8):
        assignment = queue.lease_next(project, person)
    lapse(assignment)
    queue.expire_leases()
    with django_assert_max_num_queries(8):
        assert queue.lease_next(project, person).pk == assignment.pk


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plan")
@pytest.mark.parametrize("place", [claiming.START, claiming.Place(0, 7, 3)])
def test_the_probes_walk_the_partial_indexes_and_sort_nothing(project, place):
    with connection.cursor() as cursor:
        query = claiming.probe_sql()
        cursor.execute(f"EXPLAIN QUERY PLAN {query}", claiming.parameters(project, factories.user(), place))
        plan = [row[3] for row in cursor.fetchall()]
    searches = [step for step in plan if step.startswith(("SEARCH task ", "SCAN task "))]
    assert [step.split("INDEX ")[1] for step in searches] == [
        "task_reopened (project_id=?)",
        "task_open (project_id=? AND priority=? AND rank=? AND id>?)",
        "task_open (project_id=? AND priority=? AND rank>? AND rank<?)",
        "task_open (project_id=? AND priority=? AND rank<?)",
        "task_open (project_id=? AND priority=? AND rank>?)",
        "task_open (project_id=? AND priority<?)",
        "task_open (project_id=? AND priority=? AND rank<?)",
        "task_open (project_id=? AND priority<?)",
    ]
    assert not any("TEMP B-TREE" in step for step in plan), plan


def steps_of_next(project: Project, person: object) -> int:
    """Instructions of SQLite's virtual machine for one probe, to the nearest ten."""
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    connection.ensure_connection()
    place = standing_of(project, person).place
    connection.connection.set_progress_handler(count, 10)
    try:
        with connection.cursor() as cursor:
            cursor.execute(claiming.probe_sql(), claiming.parameters(project, person, place))
            cursor.fetchall()
    finally:
        connection.connection.set_progress_handler(None, 0)
    return calls * 10


@pytest.mark.skipif(connection.vendor != "sqlite", reason="counts SQLite's own steps")
def test_the_work_of_one_probe_does_not_grow_with_the_tasks(project):
    person = factories.member(project)

    def grow(number: int) -> None:
        two = [{"text": text} for text in factories.RESPONSES]
        records = [{"prompt": factories.PROMPT, "responses": two, "need": 3} for _ in range(number)]
        tasks.add_tasks(project, records)

    grow(50)
    for _ in range(20):  # held by this person and open to others still: the cursor must step over them, not the probe
        judge_next(project, person)
    few = steps_of_next(project, person)
    grow(5000)
    for _ in range(100):
        judge_next(project, person)
    assert steps_of_next(project, person) <= few + 50
