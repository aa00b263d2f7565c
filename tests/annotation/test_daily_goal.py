"""A daily goal: set by a lead, told to each annotator as their own progress of today, reached, and gone beyond."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotation import judging, progress, projects, queue
from annotation.models import Annotation, Project, Role, User
from tests import factories
from tests.contract.program import Program

pytestmark = pytest.mark.django_db
BODY = {"choice": "a", "strength": 2}


@pytest.fixture
def project() -> Project:
    made = factories.project(overlap=2, daily_goal=2)
    for _ in range(5):
        factories.task(made)
    return made


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def judge(project: Project, person: User) -> Annotation:
    return judging.submit(queue.lease_next(project, person).task, person, BODY)


def told(project: Project, person: User) -> tuple[int, int, bool]:
    found = progress.of(project, person)
    return found.done, found.total, found.reached


def test_the_goal_is_ones_own_of_today_in_that_project(project):
    ann, ben, other = factories.member(project), factories.member(project), factories.project()
    factories.task(other)
    factories.member(other).memberships.update(user=ann)
    assert told(project, ann) == (0, 2, False)
    first = judge(project, ann)
    judge(other, ann)
    assert told(project, ann) == (1, 2, False) and told(project, ben) == (0, 2, False)
    Annotation.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(days=1))
    assert told(project, ann) == (0, 2, False)  # that was yesterday
    judge(project, ann)
    last = judge(project, ann)
    assert told(project, ann) == (2, 2, True)
    judging.undo(last, ann)
    assert told(project, ann) == (1, 2, False)  # what is taken back does not count
    assert progress.of(project, ann).number == 3  # the item's own number counts every day


def test_a_reached_goal_is_told_and_the_next_item_comes_all_the_same(project):
    ann = factories.member(project)
    client, work = signed_in(ann), f"/projects/{project.slug}/work/"
    for done in range(2):
        html = client.get(work).content.decode()
        assert "Your goal for today" in html and 'id="goal-reached" hidden' in html
        assert f'aria-valuenow="{done}" aria-valuemin="0" aria-valuemax="2"' in html
        judge(project, ann)
    html = client.get(work).content.decode()
    assert 'id="goal-reached">Goal reached' in html and 'id="judge"' in html
    judge(project, ann)
    assert told(project, ann) == (3, 2, True) and progress.of(project, ann).share == 1.0


def test_my_work_counts_the_goal_where_there_is_one(project):
    ann, free = factories.member(project), factories.project()
    factories.member(free).memberships.update(user=ann)
    factories.task(free)
    client = signed_in(ann)
    judge(free, ann)
    assert "0 of 2, your goal" in client.get("/my-work/").content.decode()
    judge(project, ann), judge(project, ann)
    page = client.get("/my-work/").content.decode()
    assert "2 of 2, your goal" in page and "Goal reached" in page
    judge(project, ann)
    Project.objects.filter(pk=free.pk).update(daily_goal=5)
    assert "3 of 7, your goal" in client.get("/my-work/").content.decode()  # 2 of its 3, and 1 here
    Project.objects.update(daily_goal=0)
    assert "your goal" not in client.get("/my-work/").content.decode()


def test_a_lead_sets_the_goal_and_takes_it_away(project):
    ann, lead = factories.member(project), Program(factories.member(project, Role.MANAGER, "meg"))
    assert lead.send("PATCH", f"/projects/{project.slug}/", {"daily_goal": 7}).json()["daily_goal"] == 7
    project.refresh_from_db()
    assert told(project, ann) == (0, 7, False)
    project = projects.change(project, by=lead.person, daily_goal=0)
    found = progress.of(project, ann)
    assert (found.label, found.done, found.total, found.reached) == ("Your part of the project", 0, 5, False)
