"""Guidelines that change while people judge: what is different is shown until it is acknowledged."""

import pytest
from django.test import Client

from annotation import guidelines, judging, queue
from annotation.models import Project, Role, User
from tests import factories

pytestmark = pytest.mark.django_db
HEADING = "The guidelines changed since you read them"


@pytest.fixture
def project() -> Project:
    project = factories.project()
    for _ in range(3):
        factories.task(project)
    project.write_guidelines("Prefer the short answer.")
    return project


def page(project: Project, person: User) -> tuple[Client, str]:
    client = Client()
    client.force_login(person)
    return client, client.get(f"/projects/{project.slug}/work/").content.decode()


def test_what_changed_is_shown_until_it_is_acknowledged(project: Project) -> None:
    person = factories.member(project)
    judging.submit(queue.lease_next(project, person).task, person, {"choice": "a"})
    assert HEADING not in page(project, person)[1]
    project.write_guidelines("Prefer the true answer.")
    client, html = page(project, person)
    assert HEADING in html and "<del>short" in html and "<ins>true" in html
    assert "Version 1 is now version 2" in html
    client.post(f"/projects/{project.slug}/guidelines/read/", {"number": "2"})
    assert HEADING not in page(project, person)[1]
    project.write_guidelines("Prefer the kind answer.")
    html = page(project, person)[1]
    assert "Version 2 is now version 3" in html and "<del>true" in html


def test_who_is_new_is_told_of_no_change(project: Project) -> None:
    project.write_guidelines("Prefer the true answer.")
    assert HEADING not in page(project, factories.member(project))[1]


def test_an_acknowledgement_never_goes_back_and_only_names_what_exists(project: Project) -> None:
    person = factories.member(project, Role.REVIEWER)
    project.write_guidelines("Prefer the true answer.")
    for number in (2, 1, 9):
        guidelines.acknowledge(project, person, number)
    assert guidelines.last_read(project, person) == 2


def test_leads_see_what_changed_between_any_two_versions() -> None:
    project = factories.project()
    for text in ("Be kind.", "Be kind and brief.", "Be brief."):
        project.write_guidelines(text)
    client = Client()
    client.force_login(factories.member(project, Role.REVIEWER))
    base = f"/projects/{project.slug}/guidelines/"
    page = client.get(f"{base}3/").content.decode()
    assert "since version 2" in page and "<del>kind and</del>" in page
    assert "<del>kind" in client.get(f"{base}3/?against=1").content.decode()
    assert "The first version" in client.get(f"{base}1/").content.decode()
    assert client.get(f"{base}9/").status_code == 404
    client.force_login(factories.member(project))
    assert client.get(f"{base}3/").status_code in (403, 404)
