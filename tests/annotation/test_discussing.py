"""Comments: who reads them, whom they reach, and what an annotator does not learn from them."""

import pytest
from django.test import Client

from annotation import access, discussing, judging, queue
from annotation.models import Comment, Notice, Project, Role, Task, User
from tests import factories

pytestmark = pytest.mark.django_db


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def project() -> Project:
    return factories.project(overlap=2)


@pytest.fixture
def judge(project: Project) -> User:
    return factories.member(project, username="judge")


@pytest.fixture
def task(project: Project, judge: User) -> Task:
    task = factories.task(project)
    judging.submit(queue.lease_next(project, judge).task, judge, {"choice": "a"})
    return task


def seen_by(person: User, task: Task) -> Task:
    return access.task_for(person, task.pk)


def test_a_mention_reaches_a_reviewer_and_is_counted_until_the_inbox_is_opened(project: Project, task: Task) -> None:
    rita, rolf = (factories.member(project, Role.REVIEWER, name) for name in ("rita", "rolf"))
    discussing.say(seen_by(rita, task), rita, "Look, @rolf, @nobody and @judge.")
    assert list(Notice.objects.values_list("user__username", flat=True)) == ["rolf"]
    factories.admin("root")  # sees every project, so can be called to any
    said = signed_in(rita).post(f"/tasks/{task.pk}/talk/", {"body": "@root, @judge?"}, follow=True)
    assert "called judge: only reviewers" in said.content.decode() and Notice.objects.filter(user__username="root")
    client = signed_in(rolf)
    assert "Inbox, 1 new" in client.get(f"/projects/{project.slug}/review/").content.decode()
    assert "Look, @rolf" in client.get("/inbox/").content.decode()
    assert discussing.unread(rolf) == 0
    assert "Inbox, nothing new" in client.get("/inbox/").content.decode()


def test_an_annotator_sees_their_own_conversation_and_no_name(project: Project, task: Task, judge: User) -> None:
    rita = factories.member(project, Role.REVIEWER, "rita")
    other = factories.member(project, username="other-judge")
    judging.submit(queue.lease_next(project, other).task, other, {"choice": "b"})
    discussing.say(seen_by(rita, task), rita, "Secret: other-judge chose B.")
    discussing.say(seen_by(rita, task), rita, "To another.", to=other)
    client = signed_in(rita)
    client.post(f"/tasks/{task.pk}/talk/", {"to": judge.pk, "body": "Did you read B to its end?"})
    mine = signed_in(judge)
    for path in (f"/tasks/{task.pk}/talk/", "/inbox/"):
        html = mine.get(path).content.decode()
        assert "Did you read B" in html and "Reviewer" in html
        for secret in ("Secret", "To another", "rita", "other-judge"):
            assert secret not in html
    mine.post(f"/tasks/{task.pk}/talk/", {"body": "Yes, twice.", "to": other.pk})
    said = Comment.objects.latest("pk")
    assert said.annotator == judge and said.notices.get().user == rita
    html = client.get(f"/tasks/{task.pk}/review/").content.decode()
    assert "Yes, twice." in html and "to other-judge" in html


def test_only_who_had_the_item_can_talk_about_it(project: Project, task: Task) -> None:
    idle = factories.member(project)
    client = signed_in(idle)
    assert client.get(f"/tasks/{task.pk}/talk/").status_code == 404
    assert client.post(f"/tasks/{task.pk}/talk/", {"body": "Hi"}).status_code == 404
    rita = factories.member(project, Role.REVIEWER)
    with pytest.raises(discussing.CannotSay):
        discussing.say(seen_by(rita, task), rita, "Hi", to=idle)
    with pytest.raises(discussing.CannotSay):
        discussing.say(seen_by(rita, task), rita, "  ")
    assert signed_in(factories.user()).get(f"/tasks/{task.pk}/talk/").status_code == 404


def test_a_reviewer_resolves_and_an_annotator_cannot(project: Project, task: Task, judge: User) -> None:
    rita = factories.member(project, Role.REVIEWER)
    comment = discussing.say(seen_by(rita, task), rita, "Check the sources.", to=judge)
    assert signed_in(judge).post(f"/comments/{comment.pk}/resolve/").status_code == 403
    signed_in(rita).post(f"/comments/{comment.pk}/resolve/")
    comment.refresh_from_db()
    assert comment.resolved


def test_who_left_the_project_sees_none_of_it(project: Project, task: Task) -> None:
    rita, rolf = (factories.member(project, Role.REVIEWER, name) for name in ("rita", "rolf"))
    discussing.say(seen_by(rita, task), rita, "For @rolf only.")
    rolf.memberships.all().delete()
    assert "For @rolf only" not in signed_in(rolf).get("/inbox/").content.decode()
