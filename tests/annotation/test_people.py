"""People come in by link, change roles, and leave: with their leases, sessions and tokens, but not their judgements."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotation import accounts, exporting, invitations, judging, membership, queue, reviewing
from annotation.models import Annotation, ApiToken, Assignment, Invitation, Project, Role, User
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
def manager(project: Project) -> User:
    return factories.member(project, Role.MANAGER)


def test_a_link_lets_a_newcomer_make_an_account_and_judge(project: Project, manager: User) -> None:
    page = signed_in(manager).post(
        f"/projects/{project.slug}/people/invite/", {"role": "annotator", "uses": 1, "days": 7}
    )
    link = page.context["link"].removeprefix("http://testserver")
    assert link not in signed_in(manager).get(f"/projects/{project.slug}/people/").content.decode()
    assert not Invitation.objects.filter(digest__in=link.split("/")).exists()
    newcomer = Client()
    assert project.name in newcomer.get(link).content.decode()
    weak = newcomer.post(link, {"username": "nora", "password": "short"})
    assert weak.status_code == 422 and not User.objects.filter(username="nora").exists()
    answer = newcomer.post(link, {"username": "nora", "password": "correct horse battery"})
    assert answer.url == f"/projects/{project.slug}/work/"
    assert project.memberships.get(user__username="nora").role == "annotator"
    factories.task(project)
    welcome = newcomer.get(answer.url).content.decode()
    assert re.search(r'class="note ok" role="status">.*?Welcome to', welcome)  # and is no warning
    second = Client().post(link, {"username": "otto", "password": "correct horse battery"})
    assert second.status_code == 404 and not User.objects.filter(username="otto").exists()


def test_who_comes_where_nothing_is_left_is_welcomed_all_the_same(project: Project, manager: User) -> None:
    _, secret = invitations.invite(project, by=manager, role="annotator")
    page = Client().post(f"/join/{secret}/", {"username": "nora", "password": "correct horse battery"}, follow=True)
    assert "Nothing left to judge here" in page.content.decode() and "Welcome to" in page.content.decode()


def test_somebody_with_an_account_joins_with_it_and_a_member_keeps_their_role(project: Project, manager: User) -> None:
    made, secret = invitations.invite(project, by=manager, role="annotator", uses=2)
    stranger = factories.user()
    signed_in(stranger).post(f"/join/{secret}/")
    assert project.memberships.get(user=stranger).role == "annotator"
    signed_in(manager).post(f"/join/{secret}/")
    assert project.memberships.get(user=manager).role == "manager"
    made.refresh_from_db()
    assert made.uses == 1


@pytest.mark.parametrize("how", ["expired", "revoked", "inviter left", "unknown"])
def test_a_link_that_is_void_lets_nobody_in(project: Project, manager: User, how: str) -> None:
    made, secret = invitations.invite(project, by=manager, role="reviewer", uses=5)
    if how == "expired":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "revoked":
        signed_in(manager).post(f"/projects/{project.slug}/people/invitations/{made.pk}/revoke/")
    elif how == "inviter left":
        manager.memberships.all().delete()
    else:
        secret = secret[::-1]
    assert Client().get(f"/join/{secret}/").status_code == 404
    assert signed_in(factories.user()).post(f"/join/{secret}/").status_code == 404
    assert project.memberships.filter(role="reviewer").count() == 0


def test_only_who_may_give_a_role_invites_to_it(project: Project, manager: User) -> None:
    for role in (Role.ANNOTATOR, Role.REVIEWER, Role.TRAINER):
        person = factories.member(project, role)
        with pytest.raises(invitations.NotInvited):
            invitations.invite(project, by=person, role="annotator")
        assert signed_in(person).post(f"/projects/{project.slug}/people/invite/").status_code == 403
    sent = {"role": "emperor", "uses": 1, "days": 7}
    assert signed_in(manager).post(f"/projects/{project.slug}/people/invite/", sent).status_code == 422


def test_a_closed_account_loses_leases_sessions_and_tokens_and_keeps_its_judgements(
    project: Project, manager: User
) -> None:
    person = factories.member(project, username="leaver")
    done, held = factories.task(project), factories.task(project)
    judging.submit(queue.lease_next(project, person).task, person, {"choice": "a"})
    queue.lease_next(project, person)
    _, secret = ApiToken.issue(person)
    client = signed_in(person)
    seat = project.memberships.get(user=person)
    signed_in(manager).post(f"/projects/{project.slug}/people/{seat.pk}/deactivate/")
    held.refresh_from_db()
    assert held.open_slots == 2 and Assignment.objects.get(task=held).state == "expired"
    assert client.get("/my-work/").status_code == 302
    assert Client().get("/api/v1/projects/", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert Annotation.objects.standing().filter(annotator=person, task=done).exists()
    signed_in(manager).post(f"/projects/{project.slug}/people/{seat.pk}/deactivate/")
    person.refresh_from_db()
    assert person.is_active and client.get("/my-work/").status_code == 302  # the old session stays ended


def test_a_manager_closes_only_accounts_that_work_for_them_alone(project: Project, manager: User) -> None:
    shared = factories.member(project)
    other = factories.project()
    other.memberships.create(user=shared, role=Role.ANNOTATOR)
    assert not accounts.may_close(manager, shared) and not accounts.may_close(manager, manager)
    with pytest.raises(accounts.MayNot):
        accounts.deactivate(shared, by=manager)
    admin = factories.admin()
    assert accounts.may_close(admin, shared) and not accounts.may_close(manager, admin)
    with pytest.raises(membership.LastManager):
        accounts.deactivate(manager, by=admin)
    manager.refresh_from_db()
    assert manager.is_active


def test_a_name_is_taken_away_everywhere_after_asking_twice(project: Project, manager: User) -> None:
    person = factories.member(project, username="erika")
    task = factories.task(project)
    vote = judging.submit(queue.lease_next(project, person).task, person, {"choice": "a"})
    reviewing.send_back(vote, manager, comment="@erika, but not @erikas: look again.")
    judging.submit(task, person, {"choice": "b"})
    seat = project.memberships.get(user=person)
    path, client = f"/projects/{project.slug}/people/{seat.pk}/pseudonymise/", signed_in(manager)
    assert "for good" in client.get(path).content.decode()
    assert client.post(path, {"name": "erik"}).status_code == 422
    assert User.objects.filter(username="erika").exists()
    assert client.post(path, {"name": "erika"}).status_code == 302
    person.refresh_from_db()
    assert person.username == accounts.pseudonym(person) and not person.is_active
    assert [row["annotator"] for row in exporting.rows(project, "raw", names=True)] == [person.username]
    assert task.adjudications.get().comment == f"@{person.username}, but not @erikas: look again."
    assert "erika<" not in client.get(f"/projects/{project.slug}/people/").content.decode()
    with pytest.raises(accounts.MayNot):
        accounts.reactivate(person, by=manager)


def test_who_leaves_a_project_gives_back_what_they_held(project: Project, manager: User) -> None:
    person = factories.member(project)
    task = factories.task(project)
    queue.lease_next(project, person)
    membership.remove(project, person)
    task.refresh_from_db()
    assert task.open_slots == 2
    with pytest.raises(membership.LastManager):
        membership.remove(project, manager)


def test_admins_make_admins_by_page_and_by_api_and_the_last_one_stays(project: Project, manager: User) -> None:
    first, person = factories.admin(), factories.user("nora")
    client, api = signed_in(first), "/api/v1/admins/"
    page = client.get("/account/").content.decode()
    assert "Site admins" in page and "Make root an ordinary" not in page
    client.post("/account/admins/", {"username": "nora"})
    person.refresh_from_db()
    assert person.is_superuser and "nora" in client.get("/account/").content.decode()
    assert [one["username"] for one in client.get(api).json()["results"]] == ["admin", "nora"]
    assert client.delete(f"{api}nora/").status_code == 204
    assert client.delete(f"{api}admin/").status_code == 409
    client.post(f"/account/admins/{first.pk}/revoke/")
    assert User.objects.get(pk=first.pk).is_superuser
    assert client.post(api, {"username": "nora"}, content_type="application/json").status_code == 201
    client.post(f"/account/admins/{first.pk}/revoke/")
    assert not User.objects.get(pk=first.pk).is_superuser
    for wrong in ("nobody", factories.user("robot", is_simulated=True).username):
        answer = signed_in(person).post(api, {"username": wrong}, content_type="application/json")
        assert (answer.status_code, wrong in answer.json()["title"]) == (409, True)
    for stranger in (signed_in(manager), client):
        assert "Site admins" not in stranger.get("/account/").content.decode()
        assert stranger.get(api).status_code == stranger.delete(f"{api}nora/").status_code == 404
        assert stranger.post("/account/admins/", {"username": manager.username}).status_code == 404
        assert stranger.post(f"/account/admins/{person.pk}/revoke/").status_code == 404
    assert User.objects.get(pk=person.pk).is_superuser and not User.objects.get(pk=manager.pk).is_superuser
