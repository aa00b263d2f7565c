"""Judgements: stored once, never lost, corrected by revisions, taken back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotation import judging, queue
from annotation.models import Annotation, Assignment, Project, Task
from tests import factories

pytestmark = pytest.mark.django_db
A, B = {"choice": "a", "strength": 2}, {"choice": "b", "strength": 1}


@pytest.fixture
def project() -> Project:
    return factories.project()


@pytest.fixture
def task(project) -> Task:
    return factories.task(project)


@pytest.fixture
def person(project):
    return factories.member(project)


def expire(task: Task, person: object) -> None:
    held = Assignment.objects.filter(task=task, annotator=person)
    held.update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.expire_leases()


def test_a_side_is_stored_as_the_response_that_was_shown_there(project, task, person):
    shown = queue.lease_next(project, person).shown
    body = A | {"flags": ["unsafe"], "rationale": " because "}
    annotation = judging.submit(task, person, body)
    assert annotation.body == {
        "choice": shown[0], "strength": 2, "aspects": {}, "flags": ["unsafe"], "rationale": "because"
    }  # fmt: skip
    assert annotation.shown == shown
    assert (annotation.revision, annotation.status, annotation.kind) == (1, "submitted", "preference")
    task.refresh_from_db()
    assert (task.done, task.open_slots) == (1, 0)


def test_the_guidelines_of_the_moment_are_recorded(project, task, person):
    queue.lease_next(project, person)
    project.write_guidelines("first")
    project.write_guidelines("second")
    assert judging.submit(task, person, A).guideline.number == 2


def test_the_same_key_gives_the_same_annotation(project, task, person):
    queue.lease_next(project, person)
    first = judging.submit(task, person, A, key="k-1")
    again = judging.submit(task, person, dict(reversed(A.items())), key="k-1", seconds=9.0)
    assert again.pk == first.pk
    with pytest.raises(judging.KeyReused):
        judging.submit(task, person, B, key="k-1")
    assert Annotation.objects.get().body == first.body
    Annotation.objects.update(key_digest=None)  # as what was stored before bodies were told apart
    assert judging.submit(task, person, B, key="k-1").pk == first.pk


def test_a_late_retry_does_not_bring_back_what_was_undone(project, task, person):
    queue.lease_next(project, person)
    first = judging.submit(task, person, A, key="k-1")
    judging.undo(first, person)
    assert judging.submit(task, person, A, key="k-1").pk == first.pk
    assert not Annotation.objects.standing().exists()


def test_a_key_belongs_to_one_task(project, task, person):
    queue.lease_next(project, person)
    judging.submit(task, person, A, key="k-1")
    other = factories.task(project)
    queue.lease_next(project, person)
    with pytest.raises(judging.BodyError) as error:
        judging.submit(other, person, A, key="k-1")
    assert "idempotency_key" in error.value.errors


@pytest.mark.parametrize("key", ["", "k" * 81, "two\nlines", "clé"])
def test_odd_keys_are_refused(project, task, person, key):
    queue.lease_next(project, person)
    with pytest.raises(judging.BodyError):
        judging.submit(task, person, A, key=key)


def test_a_second_submit_is_a_new_revision_and_the_old_one_stays(project, task, person):
    queue.lease_next(project, person)
    judging.submit(task, person, A)
    second = judging.submit(task, person, B)
    assert second.revision == 2
    assert list(Annotation.objects.order_by("revision").values_list("status", flat=True)) == ["replaced", "submitted"]
    task.refresh_from_db()
    assert task.done == 1


def test_a_late_submit_is_stored_while_a_slot_is_free(project, task, person):
    queue.lease_next(project, person)
    expire(task, person)
    judging.submit(task, person, A)
    task.refresh_from_db()
    assert (task.done, task.open_slots) == (1, 0)
    assert queue.lease_next(project, factories.member(project)) is None


def test_a_late_submit_is_refused_when_the_task_is_full(project, task, person):
    queue.lease_next(project, person)
    expire(task, person)
    other = factories.member(project)
    queue.lease_next(project, other)
    with pytest.raises(judging.LeaseLost):
        judging.submit(task, person, A)
    assert judging.submit(task, other, A).revision == 1


def test_a_task_that_was_never_handed_out_cannot_be_judged(project, task, person):
    with pytest.raises(judging.LeaseLost):
        judging.submit(task, person, A)


def test_a_bad_body_changes_nothing(project, task, person):
    held = queue.lease_next(project, person)
    with pytest.raises(judging.BodyError) as error:
        judging.submit(task, person, {"choice": "c", "strength": 9, "colour": "red"})
    assert set(error.value.errors) == {"choice", "strength", "colour"}
    held.refresh_from_db()
    assert held.state == Assignment.State.LEASED


@pytest.mark.parametrize(
    ("sent", "stored"), [(12.5, 12.5), (10**9, 4 * 3600), (-1, None), (float("nan"), None), (None, None)]
)
def test_seconds_stay_within_what_a_person_can_spend(project, task, person, sent, stored):
    queue.lease_next(project, person)
    assert judging.submit(task, person, A, seconds=sent).seconds == stored


def test_undo_gives_the_task_back_with_the_answer_as_it_was_shown(project, task, person):
    queue.lease_next(project, person)
    annotation = judging.submit(task, person, A | {"rationale": "why"})
    held = judging.undo(annotation, person)
    assert held.state == Assignment.State.LEASED
    assert held.draft == {"choice": "a", "strength": 2, "aspects": {}, "flags": [], "rationale": "why"}
    task.refresh_from_db()
    assert (task.done, task.open_slots) == (0, 0)
    assert judging.submit(task, person, B).revision == 2


def test_undoing_twice_is_undoing_once(project, task, person):
    queue.lease_next(project, person)
    annotation = judging.submit(task, person, A)
    assert judging.undo(annotation, person).pk == judging.undo(annotation, person).pk
    task.refresh_from_db()
    assert task.done == 0


def test_the_undone_task_comes_before_the_one_leased_since(project, task, person):
    factories.task(project)
    queue.lease_next(project, person)
    annotation = judging.submit(task, person, A)
    queue.lease_next(project, person)
    judging.undo(annotation, person)
    assert queue.lease_next(project, person).task.pk == task.pk


def test_only_the_last_judgement_can_be_taken_back(project, task, person):
    second = factories.task(project)
    queue.lease_next(project, person)
    first = judging.submit(task, person, A)
    queue.lease_next(project, person)
    judging.submit(second, person, A)
    with pytest.raises(judging.CannotUndo):
        judging.undo(first, person)
    with pytest.raises(judging.CannotUndo):
        judging.undo(Annotation.objects.get(task=second), factories.member(project))


def test_a_replaced_judgement_cannot_be_taken_back(project, task, person):
    queue.lease_next(project, person)
    first = judging.submit(task, person, A)
    judging.submit(task, person, B)
    with pytest.raises(judging.CannotUndo):
        judging.undo(first, person)


def test_a_draft_is_kept_and_renews_the_lease(project, task, person):
    held = queue.lease_next(project, person)
    Assignment.objects.filter(pk=held.pk).update(lease_until=timezone.now() + timedelta(seconds=5))
    kept = judging.save_draft(task, person, {"choice": "b"})
    assert kept.lease_until > timezone.now() + timedelta(minutes=10)
    assert queue.lease_next(project, person).draft == {"choice": "b"}


def test_a_draft_outlives_its_lease(project, task, person):
    queue.lease_next(project, person)
    expire(task, person)
    assert judging.save_draft(task, person, {"choice": "b"}).state == Assignment.State.LEASED
    expire(task, person)
    queue.lease_next(project, factories.member(project))
    with pytest.raises(judging.LeaseLost):
        judging.save_draft(task, person, {"choice": "a"})
    assert Assignment.objects.get(annotator=person).draft == {"choice": "a"}


@pytest.mark.parametrize("draft", ["text", [1], {"text": "\x00"}, {"text": "x" * 250_001}, {"n": float("nan")}])
def test_odd_drafts_are_refused(project, task, person, draft):
    queue.lease_next(project, person)
    with pytest.raises(judging.BodyError):
        judging.save_draft(task, person, draft)


def test_a_judged_task_takes_no_draft(project, task, person):
    queue.lease_next(project, person)
    judging.submit(task, person, A)
    with pytest.raises(judging.LeaseLost):
        judging.save_draft(task, person, {})


def test_submit_takes_at_most_eight_statements(project, task, person, django_assert_max_num_queries):
    queue.lease_next(project, person)
    with django_assert_max_num_queries(8):
        judging.submit(task, person, A, key="one")
    with django_assert_max_num_queries(8):
        judging.submit(task, person, B, key="two")
    with django_assert_max_num_queries(8):
        judging.submit(task, person, B, key="two")
    late = factories.task(project)
    queue.lease_next(project, person)
    expire(late, person)
    with django_assert_max_num_queries(8):
        judging.submit(late, person, A, key="three")
