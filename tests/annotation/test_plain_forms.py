"""Judging by plain forms: what a browser without scripts finds on the page, fills in and sends."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from django.test import Client

from annotation import sealing
from annotation.models import Annotation, Assignment, Project
from annotation.sealing import Of
from tests import factories

pytestmark = pytest.mark.django_db

Fields = dict[str, str]


class Form(HTMLParser):
    """The form #judge with what it holds: the fields inside, and those elsewhere that name it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action, self.inside = "", False
        self.fields: Fields = {}
        self.choices: dict[str, list[str]] = {}
        self.buttons: dict[str, str] = {}  # value or name of a submit button: where it sends the form
        self.open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = told.get("id") == "judge"
            self.action = told["action"] if self.inside else self.action
        name = told.get("name", "")
        if not name and tag == "option" and self.open:
            self.choices[self.open].append(told.get("value", ""))
        if not name or not (self.inside or told.get("form") == "judge"):
            return
        if tag == "button":
            self.buttons[told.get("value") or name] = told.get("formaction", self.action)
        elif tag == "select":
            self.open = name
            self.choices[name] = []
        elif told.get("type") in ("radio", "checkbox"):
            self.choices.setdefault(name, []).append(told["value"])
        else:
            self.fields[name] = told.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        if tag == "select":
            self.open = ""


def opened(client: Client, project: Project) -> tuple[str, Form]:
    html = client.get(f"/projects/{project.slug}/work/").content.decode()
    return html, Form(html)


def send(client: Client, form: Form, answer: Fields, action: str = "") -> str:
    """What the page says after the form was sent; every field and value is one that the page offered."""
    assert all(name in form.fields or value in form.choices[name] for name, value in answer.items())
    reply = client.post(action or form.action, form.fields | answer, follow=True)
    assert reply.status_code in (200, 422)
    return reply.content.decode()


def begun(kind: str, responses: list[str], **fields: object) -> tuple[Client, Project]:
    project = factories.project(kind=kind, **fields)
    for _ in range(2):
        factories.task(project, responses=responses)
    client = Client()
    client.force_login(factories.member(project))
    return client, project


def test_a_ranking_is_given_by_plain_selects() -> None:
    client, project = begun("ranking", ["one", "two", "three"])
    _, form = opened(client, project)
    places = sorted(name for name in form.choices if name.startswith("place-"))
    assert form.choices[places[0]] == ["", "1", "2", "3"]
    html = send(client, form, dict.fromkeys(places[:2], "1"))
    assert "Not saved" in html and not Annotation.objects.exists()
    html = send(client, Form(html), dict(zip(places, "121", strict=True)))
    body = Annotation.objects.get().body
    first = [sealing.plain(Of.RESPONSE, int(name.removeprefix("place-"))) for name in places]
    assert body["ranking"] == [sorted([first[0], first[2]]), [first[1]]]
    form = Form(html)
    client.post(form.buttons["Other reason"], form.fields | {"reason": "Other reason"})
    assert Assignment.objects.get(state="skipped").skip_reason == "Other reason"


def test_a_rating_is_given_by_plain_radio_buttons_and_can_be_taken_back() -> None:
    client, project = begun("rating", ["Water is heavier."], questions={"level": "turn"})
    _, form = opened(client, project)
    asked = [name for name in form.choices if name.startswith("rating-")]
    html = send(client, form, {asked[0]: "4"})
    assert "Must be answered." in html
    again = Form(html)
    html = send(client, again, dict.fromkeys(asked, "4") | {"flag": "unsafe", "rationale": "Plain."})
    body = Annotation.objects.get().body
    assert set(body["ratings"].values()) == {4} and (body["flags"], body["rationale"]) == (["unsafe"], "Plain.")
    undo = re.search(r'id="undo" action="([^"]+)"', html)
    assert undo is not None
    html = client.post(undo[1]).content.decode()
    assert html.count(" checked") >= len(asked) and 'value="Plain."' in html


def test_a_demonstration_starts_from_the_draft_is_kept_and_sent_by_plain_buttons() -> None:
    client, project = begun("demonstration", ["A **draft**."])
    html, form = opened(client, project)
    html = send(client, form, {"text": ""}) if "text" in form.fields else html
    assert not Annotation.objects.exists()
    send(client, form, {}, next(action for action in form.buttons.values() if action.endswith("/draft/")))
    html, form = opened(client, project)
    reply = client.post(form.buttons["1"], form.fields | {"start": "1"}, follow=True).content.decode()
    assert "A **draft**." in unescape(reply) and "<strong>draft</strong>" in reply
    _, form = opened(client, project)
    kept = client.post(form.buttons["1"], form.fields | {"text": "Mine.", "keep": "1"}, follow=True).content.decode()
    assert ">Mine.</textarea>" in kept
    client.post(form.action, form.fields | {"text": "Mine, at last."})
    assert Annotation.objects.get().body["text"] == "Mine, at last."


def test_going_back_and_sending_the_page_again_with_another_answer_says_that_the_first_one_stands() -> None:
    client, project = begun("demonstration", ["A draft."])
    _, form = opened(client, project)
    client.post(form.action, form.fields | {"text": "The first."})
    twice = client.post(form.action, form.fields | {"text": "The first."}, follow=True).content.decode()
    assert "that answer stands" not in twice
    other = client.post(form.action, form.fields | {"text": "Another."}, follow=True).content.decode()
    assert "that answer stands. Change it under My work." in other
    assert Annotation.objects.get().body["text"] == "The first."
