"""Gold tasks, repeats and the qualification: what they bring, what they cost, and that nobody can tell them apart."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation import draws, gold, judging, progress, projects, qualifying, queue, requeueing
from annotation.draws import Turn
from annotation.models import Annotation, GoldResult, Membership, Pool, Project, RepeatCheck, Task
from annotation.presenting import leased_task
from tests import factories

pytestmark = pytest.mark.django_db
A, B = {"choice": "a", "strength": 2}, {"choice": "b", "strength": 1}


@pytest.fixture
def turns(monkeypatch) -> list[Turn]:
    """What the next leases bring, first to last; plain work when it is empty."""
    coming: list[Turn] = []
    monkeypatch.setattr(draws, "turn_of", lambda *args, **shares: coming.pop(0) if coming else Turn.WORK)
    return coming


def body_for(assignment, response: int) -> dict[str, object]:
    """The choice of `response`, as the side on which it is shown."""
    return {"choice": "ab"[assignment.shown.index(response)], "strength": 1}


def answer(project: Project, person, *, right: bool) -> Annotation:
    """The next task judged as expected, or the other way."""
    lease = queue.lease_next(project, person)
    wanted = lease.task.expected["choice"]
    chosen = wanted if right else next(pk for pk in lease.shown if pk != wanted)
    return judging.submit(lease.task, person, body_for(lease, chosen))


def member_of(project: Project, person) -> Membership:
    return Membership.objects.get(project=project, user=person)


# ---- gold ----
def test_gold_tasks_stand_apart_where_a_project_mixes_them_in_and_in_the_queue_where_not():
    plain, mixing = factories.project(), factories.project(gold_share=0.1)
    in_queue, apart = (factories.task(project, gold={"choice": "b"}) for project in (plain, mixing))
    assert (in_queue.pool, in_queue.need) == (Pool.QUEUE, 1)
    assert (apart.pool, apart.need, apart.open_slots) == (Pool.GOLD, 0, 0)
    second = apart.responses.get(position=1)
    assert apart.expected == {"choice": second.pk}


def test_everybody_gets_every_gold_task_once_whatever_the_overlap(turns):
    project = factories.project(gold_share=0.1)
    given = {factories.task(project, gold={"choice": "a"}).pk for _ in range(6)}
    factories.task(project)
    for person in (factories.member(project), factories.member(project)):
        turns[:] = [Turn.GOLD] * 6
        got = []
        for _ in given:
            lease = queue.lease_next(project, person)
            judging.submit(lease.task, person, A)
            got.append(lease.task_id)
        assert set(got) == given
    assert set(Task.objects.filter(pk__in=given).values_list("done", "open_slots")) == {(2, 0)}


def test_a_gold_turn_brings_work_when_no_gold_is_left(turns):
    project = factories.project(gold_share=0.1)
    work = factories.task(project)
    turns[:] = [Turn.GOLD]
    assert queue.lease_next(project, factories.member(project)).task_id == work.pk


def test_the_share_of_gold_is_about_what_was_asked():
    drawn = [draws.turn_of(1, 2, turn, gold_share=0.1, repeat_share=0.2) for turn in range(2000)]
    assert 0.07 < drawn.count(Turn.GOLD) / 2000 < 0.13
    assert 0.16 < drawn.count(Turn.REPEAT) / 2000 < 0.24


def test_a_gold_task_looks_and_costs_like_any_other(turns):
    project = factories.project(gold_share=0.1, gold_bar=0.5)
    factories.task(project, gold={"choice": "a"}), factories.task(project), factories.task(project)
    person = factories.member(project)
    queue.skip(queue.lease_next(project, person).task, person)  # the first lease of all also makes the cursor
    shapes, told = [], []
    for kind in (Turn.GOLD, Turn.WORK):
        turns[:] = [kind]
        with CaptureQueriesContext(
            connection,
        ) as asked:
            lease = queue.lease_next(project, person)
        told.append(set(leased_task(lease)))
        with CaptureQueriesContext(connection) as stored:
            judging.submit(lease.task, person, A)
        shapes.append((len(asked), [query["sql"].split()[0] for query in stored]))
        assert lease.task.is_gold == (kind == Turn.GOLD)
    assert shapes[0] == shapes[1]
    assert told[0] == told[1]


def test_a_gold_item_on_display_is_not_one_item_more_to_do(monkeypatch):
    monkeypatch.setattr(draws, "turn_of", lambda *args, **shares: Turn.GOLD if args[2] == 1 else Turn.WORK)
    project = factories.project(gold_share=0.1)
    person, totals = factories.member(project), []
    for answer in (None, None, None, {"choice": "a"}, {"choice": "a"}):
        factories.task(project, gold=answer)
    while lease := queue.lease_next(project, person):
        totals.append(progress.of(project, person).total)
        judging.submit(lease.task, person, A)
        totals.append(progress.of(project, person).total)
    assert totals == [3] * 6 + [4] * 2


def test_results_are_counted_as_they_come_and_the_first_answer_counts(turns):
    project = factories.project(gold_share=0.2)
    for _ in range(3):
        factories.task(project, gold={"choice": "a"})
    person = factories.member(project)
    turns[:] = [Turn.GOLD] * 3
    first = answer(project, person, right=True)
    second = answer(project, person, right=False)
    judging.submit(second.task, person, A)  # a correction afterwards
    member = member_of(project, person)
    assert (member.gold_done, member.gold_right, member.gold_recent) == (2, 1, "10")
    assert set(GoldResult.objects.values_list("task", "correct")) == {(first.task_id, True), (second.task_id, False)}


def test_a_slip_that_is_taken_back_at_once_does_not_count(turns):
    project = factories.project(gold_share=0.2)
    factories.task(project, gold={"choice": "a"})
    person = factories.member(project)
    turns[:] = [Turn.GOLD]
    judging.undo(answer(project, person, right=False), person)
    assert not GoldResult.objects.exists()
    answer(project, person, right=True)
    assert member_of(project, person).gold_recent == "1"


def test_who_falls_under_the_bar_is_paused_and_told_and_may_be_let_back(turns):
    project = factories.project(gold_share=0.2, gold_bar=0.6, gold_window=4)
    for _ in range(5):
        factories.task(project, gold={"choice": "a"})
    factories.task(project)
    person = factories.member(project)
    turns[:] = [Turn.GOLD] * 4
    for right in (True, False, True):
        answer(project, person, right=right)
    assert member_of(project, person).state == Membership.State.ACTIVE  # three are too few to tell
    answer(project, person, right=False)
    assert member_of(project, person).state == Membership.State.PAUSED
    with pytest.raises(queue.NotNow, match="paused"):
        queue.lease_next(project, person)
    gold.resume(member_of(project, person))
    assert queue.lease_next(project, person) is not None


def test_a_reviewer_is_counted_but_never_paused(turns):
    project = factories.project(gold_share=0.2, gold_bar=1.0, gold_window=1)
    factories.task(project, gold={"choice": "a"})
    person = factories.member(project, "reviewer")
    turns[:] = [Turn.GOLD]
    answer(project, person, right=False)
    member = member_of(project, person)
    assert (member.state, member.gold_done) == (Membership.State.ACTIVE, 1)


def test_gold_leaves_the_queue_and_comes_back_with_the_share():
    project = factories.project()
    person = factories.member(project)
    task = factories.task(project, gold={"choice": "a"})
    queue.lease_next(project, person)
    projects.change(project, by=person, gold_share=0.1)
    task.refresh_from_db()
    assert (task.pool, task.need, task.open_slots) == (Pool.GOLD, 0, 0)
    judging.submit(task, person, A)  # held since before
    projects.change(project, by=person, gold_share=0.0, overlap=2)
    task.refresh_from_db()
    assert (task.pool, task.need, task.open_slots, task.done) == (Pool.QUEUE, 2, 1, 1)


@pytest.mark.parametrize(
    ("kind", "expected", "given", "right"),
    [
        ("rating", {"ratings": {"help": 4}}, {"ratings": {"help": 5}}, True),
        ("rating", {"ratings": {"help": 4}}, {"ratings": {"help": 2}}, False),
        ("rating", {"ratings": {"help": 4}}, {"ratings": {}}, False),
        ("ranking", {"ranking": [[1], [2, 3]]}, {"ranking": [[1], [3], [2]]}, True),
        ("ranking", {"ranking": [[1], [2, 3]]}, {"ranking": [[1, 2], [3]]}, False),
        ("preference", {"choice": "tie"}, {"choice": "tie"}, True),
        ("preference", {"choice": 7, "aspects": {"x": 7}}, {"choice": 7, "aspects": {"x": 8}}, False),
        ("demonstration", {"text": "yes"}, {"text": "yes"}, None),
    ],
)
def test_what_counts_as_right(kind, expected, given, right):
    questions = {"aspects": [{"name": "help", "label": "Help", "points": 5}]}
    task = Task(project=Project(kind=kind, questions=questions), is_gold=True, expected=expected)
    assert gold.correct(task, given) is right


# ---- repeats ----
def repeated(project: Project, person, turns: list[Turn]):
    """One judgement, and the same task shown again."""
    factories.task(project), factories.task(project)
    first = queue.lease_next(project, person)
    annotation = judging.submit(first.task, person, A, key="first")
    turns[:] = [Turn.REPEAT]
    return annotation, queue.lease_next(project, person)


def test_a_repeat_shows_the_same_pair_swapped_and_is_kept_apart_from_the_judgements(turns):
    project = factories.project(repeat_share=0.2, repeat_after=1)
    person = factories.member(project)
    annotation, again = repeated(project, person, turns)
    assert (again.task_id, again.shown) == (annotation.task_id, annotation.shown[::-1])
    assert leased_task(again).keys() == leased_task(queue.lease_next(project, person)).keys()
    stored = judging.submit(again.task, person, A | {"strength": 3}, key="second", seconds=3)
    assert (stored.pk, stored.body) == (annotation.pk, annotation.body)
    retried = judging.submit(again.task, person, A | {"strength": 3}, key="second")
    assert retried.pk == annotation.pk
    with pytest.raises(judging.KeyReused):
        judging.submit(again.task, person, B, key="second")
    check = RepeatCheck.objects.answered().get()
    assert check.original_id == annotation.pk
    assert check.body["choice"] == annotation.shown[1] and check.seconds == 3
    assert Annotation.objects.count() == 1 and Task.objects.get(pk=again.task_id).done == 1
    assert queue.lease_next(project, person).task_id != again.task_id


def test_a_repeat_stays_until_it_is_answered_and_one_is_leased_ahead_beside_it(turns):
    project = factories.project(repeat_share=0.2, repeat_after=1)
    person = factories.member(project)
    annotation, again = repeated(project, person, turns)
    assert queue.lease_next(project, person).shown == again.shown
    ahead = queue.prefetch_next(project, person, besides=again)
    assert ahead.task_id != again.task_id
    judging.save_draft(again.task, person, {"choice": "b"})
    assert RepeatCheck.objects.get().draft == {"choice": "b"}
    judging.submit(again.task, person, A)
    assert queue.lease_next(project, person).pk == ahead.pk
    assert annotation.task_id == again.task_id


def test_a_repeat_can_be_skipped_and_taken_back(turns):
    project = factories.project(repeat_share=0.2, repeat_after=1)
    person = factories.member(project)
    annotation, again = repeated(project, person, turns)
    judging.submit(again.task, person, B)
    back = judging.undo(annotation, person)
    assert (back.shown, back.draft["choice"]) == (again.shown, "b")
    assert judging.undo(annotation, person).shown == again.shown
    assert Annotation.objects.standing().count() == 1
    queue.skip(again.task, person)
    assert RepeatCheck.objects.get().state == "skipped"
    assert Annotation.objects.standing().count() == 1


def test_a_turn_for_a_repeat_is_not_lost_to_what_cannot_come_again(turns):
    project = factories.project(repeat_share=0.2, repeat_after=1)
    person = factories.member(project)
    annotation, again = repeated(project, person, turns)
    judging.submit(again.task, person, A)
    following = judging.submit(queue.lease_next(project, person).task, person, A)
    Task.objects.filter(pk=following.task_id).update(pool=Pool.GOLD)
    factories.task(project), factories.task(project)
    earlier = judging.submit(queue.lease_next(project, person).task, person, A)
    turns[:] = [Turn.REPEAT]
    assert queue.lease_next(project, person).task_id == earlier.task_id
    requeueing.set_aside(project, person)  # what nobody counts is not asked again
    assert queue.lease_next(project, person).task_id not in (earlier.task_id, annotation.task_id)


def test_nothing_is_repeated_before_enough_lies_between(turns):
    project = factories.project(repeat_share=0.2, repeat_after=2)
    person = factories.member(project)
    _, following = repeated(project, person, turns)
    assert following.pk is not None and not RepeatCheck.objects.exists()


# ---- qualification ----
@pytest.fixture
def school() -> Project:
    """A project with three items to qualify with, two of which must be right, and one piece of work."""
    project = factories.project()
    for number in range(3):
        why = {"choice": "a", "rationale": f"Reason {number}"}
        factories.task(project, gold=why, qualification=True)
    factories.task(project)
    return projects.change(project, by=factories.admin(), qualification_size=3, qualification_bar=0.6)


def test_who_passes_the_qualification_starts(school):
    person = factories.member(school)
    told = []
    for right in (True, False, True):
        annotation = answer(school, person, right=right)
        told.append(qualifying.feedback(annotation.task, annotation))
    assert [(one.correct, one.done, one.right, one.state) for one in told] == [
        (True, 1, 1, "going_on"), (False, 2, 1, "going_on"), (True, 3, 2, "passed")
    ]  # fmt: skip
    assert told[0].why.startswith("Reason") and told[0].expected["choice"] in ("a", "b")
    lease = queue.lease_next(school, person)
    assert lease.task.pool == Pool.QUEUE
    assert qualifying.feedback(lease.task, judging.submit(lease.task, person, A)) is None


def test_who_fails_is_told_and_may_try_again_when_a_manager_says_so(school):
    person = factories.member(school)
    for right in (True, False, False):
        answer(school, person, right=right)
    with pytest.raises(queue.NotNow, match="1 of 3"):
        queue.lease_next(school, person)
    qualifying.reset(member_of(school, person))
    assert Annotation.objects.filter(status="set_aside").count() == 3
    for right in (True, True, True):
        answer(school, person, right=right)
    assert queue.lease_next(school, person).task.pool == Pool.QUEUE
    assert member_of(school, person).qualification_try == 2


def test_answers_of_the_qualification_stand(school):
    person = factories.member(school)
    annotation = answer(school, person, right=False)
    with pytest.raises(judging.CannotUndo):
        judging.undo(annotation, person)
    with pytest.raises(queue.LeaseLost):
        judging.submit(annotation.task, person, A)
    lease = queue.lease_next(school, person)
    with pytest.raises(queue.LeaseLost):
        queue.skip(lease.task, person)
    assert queue.prefetch_next(school, person, besides=lease) is None


def test_reviewers_and_admitted_people_start_at_once(school):
    assert queue.lease_next(school, factories.member(school, "reviewer")).task.pool == Pool.QUEUE
    person = factories.member(school)
    qualifying.admit(member_of(school, person))
    assert queue.lease_next(school, person) is None  # the one piece of work is taken


def test_a_project_cannot_ask_for_more_items_than_there_are(school):
    with pytest.raises(projects.ProjectError, match="only 3"):
        projects.change(school, by=factories.user(), qualification_size=4)


# ---- all of it at once ----
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", list(Turn))
def test_next_and_submit_take_at_most_eight_statements_with_every_rule_on(turn, turns, django_assert_max_num_queries):
    project = factories.project(
        order="random", overlap=2, agreement_share=0.5, skip_to="review", repeat_share=0.2, repeat_after=1,
        gold_share=0.2, gold_bar=0.5, gold_window=1, daily_goal=5,
    )  # fmt: skip
    person = factories.member(project)
    factories.task(project, gold={"choice": "a"})
    for _ in range(4):
        factories.task(project)
    factories.task(project, assigned_to=[person.pk])
    for coming in (Turn.WORK, turn, Turn.REPEAT, turn):  # the last finds no gold and nothing to repeat
        turns[:] = [coming]
        with django_assert_max_num_queries(8):
            lease = queue.lease_next(project, person)
        with django_assert_max_num_queries(8):
            judging.submit(lease.task, person, A, key=f"key-{lease.task_id}-{len(lease.shown)}-{coming}-{lease.pk}")
        Membership.objects.update(state="active")
