"""The five templates, by API and by command."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from annotation.models import Project
from annotation.questions import check_questions
from annotation.templates import TEMPLATES
from tests import factories

pytestmark = pytest.mark.django_db


def posted(client: Client, **body: object) -> Any:
    return client.post("/api/v1/projects/", body, content_type="application/json")


def test_the_api_lists_templates_and_makes_projects_of_them() -> None:
    client = Client()
    client.force_login(factories.admin())
    listed = client.get("/api/v1/templates/").json()
    assert [one["name"] for one in listed] == list(TEMPLATES) and len(listed) == 5
    for one in listed:
        answer = posted(client, name=one["label"], template=one["name"])
        assert answer.status_code == 201
        made = answer.json()
        assert (made["kind"], made["overlap"], made["guidelines"]) == (one["kind"], one["overlap"], one["guidelines"])
        assert made["questions"] == check_questions(one["kind"], one["questions"])
    assert posted(client, name="Mine", template="helpsteer", overlap=1, question="Good?").json()["overlap"] == 1
    wrong = posted(client, name="Mine", template="helpsteer", kind="ranking")
    assert wrong.status_code == 400 and "kind" in wrong.json()["errors"]
    assert "kind" in posted(client, name="Mine").json()["errors"]


def test_the_command_makes_a_project_of_a_template() -> None:
    call_command("create_project", "news", "--template", "summaries")
    made = Project.objects.get(slug="news")
    assert (made.kind, made.question) == ("preference", "Which summary is better?")
    assert made.guideline is not None and "Accuracy" in made.guideline.text
    with pytest.raises(CommandError, match="of the kind rating"):
        call_command("create_project", "other", "--template", "helpsteer", "--kind", "ranking")
    with pytest.raises(CommandError, match="slug"):
        call_command("create_project", "news")
