"""Projects and their people over HTTP."""

import pytest

from annotation.models import Project
from tests import factories
from tests.contract.program import API, Program, problem

pytestmark = pytest.mark.django_db


def test_an_admin_makes_a_project_and_manages_it():
    admin = Program(factories.admin())
    body = {"name": "Helpful pairs", "kind": "preference", "overlap": 3, "guidelines": "Be fair."}
    made = admin.post("/projects/", body)
    assert made.status_code == 201
    shown = made.json()
    assert (shown["slug"], shown["overlap"], shown["role"]) == ("helpful-pairs", 3, "manager")
    assert (shown["guidelines"], shown["guideline_version"]) == ("Be fair.", 1)
    assert admin.get(f"/projects/{shown['slug']}/").json() == shown
    assert made.headers["Location"] == f"{API}/projects/helpful-pairs/"
    assert admin.post("/projects/", body).json()["slug"] == "helpful-pairs-2"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"kind": "beauty"}, "kind"),
        ({"overlap": 0}, "overlap"),
        ({"overlap": 11}, "overlap"),
        ({"slug": "not a slug"}, "slug"),
        ({"slug": "new"}, "slug"),
        ({"colour": "red"}, "colour"),
        ({"questions": {"aspects": "all"}}, "questions.aspects"),
        ({"lease_minutes": "soon"}, "lease_minutes"),
    ],
)
def test_a_bad_project_is_refused_by_field(change, field):
    admin = Program(factories.admin())
    response = admin.post("/projects/", {"name": "P", "kind": "preference"} | change)
    assert set(problem(response, 400)["errors"]) == {field}
    assert not Project.objects.exists()


def test_an_annotator_makes_no_projects(annotator):
    problem(annotator.post("/projects/", {"name": "P", "kind": "preference"}), 403)


def test_a_manager_changes_what_is_asked(project, manager):
    questions = {"aspects": [{"name": "kind_words", "required": True}], "rationale": "required"}
    changed = manager.send("PATCH", f"/projects/{project.slug}/", {"questions": questions, "guidelines": "New."})
    assert changed.status_code == 200
    assert changed.json()["questions"]["aspects"][0]["label"] == "Kind words"
    assert changed.json()["guideline_version"] == 1
    manager.send("PATCH", f"/projects/{project.slug}/", {"guidelines": "New."})
    assert project.guideline_versions.count() == 1


def test_the_kind_is_fixed_once_there_are_tasks(project, manager):
    factories.task(project)
    change = manager.send("PATCH", f"/projects/{project.slug}/", {"kind": "rating"})
    assert set(problem(change, 400)["errors"]) == {"kind"}


def test_the_list_holds_ones_own_projects_and_their_roles(project, annotator):
    factories.project()
    listed = annotator.get("/projects/").json()["results"]
    assert [(row["slug"], row["role"]) for row in listed] == [(project.slug, "annotator")]


def test_the_list_is_paged_by_cursor():
    admin = Program(factories.admin())
    slugs = [factories.project().slug for _ in range(5)]
    first = admin.get("/projects/", limit=3).json()
    assert [row["slug"] for row in first["results"]] == slugs[:3]
    rest = admin.client.get(first["next"], headers=admin.headers).json()
    assert [row["slug"] for row in rest["results"]] == slugs[3:]


def test_members_are_added_and_change_their_role(project, manager):
    factories.user("zoe")
    path = f"/projects/{project.slug}/members/"
    assert manager.post(path, {"username": "zoe", "role": "reader"}).status_code == 201
    assert manager.post(path, {"username": "zoe", "role": "reviewer"}).status_code == 200
    listed = manager.get(path).json()["results"]
    assert [(row["username"], row["role"]) for row in listed] == [("meg", "manager"), ("zoe", "reviewer")]
    assert set(problem(manager.post(path, {"username": "nobody", "role": "reader"}), 400)["errors"]) == {"username"}
    assert set(problem(manager.post(path, {"username": "zoe", "role": "boss"}), 400)["errors"]) == {"role"}
    problem(manager.post(path, {"username": "meg", "role": "reader"}), 409)
