"""Ranking, rating and writing by keys alone, and what the page does when the network, the session or the lease goes."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from annotation import judging, queue
from annotation.models import Annotation, Assignment
from tests import factories
from tests.browser.conftest import Open, task_on
from tests.browser.test_states import ready, start, work

pytestmark = pytest.mark.django_db(transaction=True)

SAVED = {"ranking": "ranked", "rating": "rated", "demonstration": "written"}
KEYS = {"ranking": ("b", "1", "a", "2", "c", "3", "c", "t"), "rating": tuple("5342"), "demonstration": ("r",)}
# Where an answer that was taken back shows again.
AGAIN = {
    "ranking": '.slot[data-place="2"] .rung >> nth=1',
    "rating": '.likert >> nth=1 >> input[value="3"]:checked',
    "demonstration": "#text",
}


def compose(page: Page, kind: str) -> None:
    """One judgement by keys alone, but for the one that sends it."""
    ready(page)
    for key in KEYS[kind]:
        page.keyboard.press(key)
    if kind == "demonstration":
        page.keyboard.type("Water.")


def send(page: Page, kind: str) -> None:
    page.keyboard.press("Control+Enter" if kind == "demonstration" else "Enter")


def answer(page: Page, kind: str) -> None:
    compose(page, kind)
    send(page, kind)


def stored_as(stored: Annotation) -> dict[str, Any]:
    first, second, third = [*stored.shown, 0, 0, 0][:3]
    return {
        "ranking": {"ranking": [[second], sorted([first, third])]},
        "rating": {"ratings": {"helpful": 5, "correct": 3, "harmless": 4, "clear": 2}},
        "demonstration": {"text": "Water."},
    }[stored.kind]


def taken_by_somebody_else(page: Page, kind: str) -> None:
    """The item on display, judged by another person after its lease ran out."""
    task, taken = task_on(page), None
    quicker = factories.member(Assignment.objects.filter(task=task)[0].project)
    for _ in range(100):  # what a tab asked for before may renew it once more
        Assignment.objects.filter(task=task, state=Assignment.State.LEASED).update(
            lease_until=timezone.now() - timedelta(minutes=1)
        )
        if taken := queue.lease_next(quicker.memberships.get().project, quicker):
            break
        page.wait_for_timeout(100)
    assert taken is not None and taken.task_id == task
    ratings = dict.fromkeys(("helpful", "correct", "harmless", "clear"), 1)
    body = {"ranking": {"ranking": [[pk] for pk in taken.shown]}, "rating": {"ratings": ratings}}
    judging.submit(taken.task, quicker, body.get(kind, {"text": "Oil."}))


@pytest.mark.parametrize("kind", SAVED)
def test_no_answer_is_lost_whatever_happens(open_page: Open, kind: str) -> None:
    project, person = start(kind, tasks=3)
    page = open_page(person, work(project))
    saved, problems = page.locator("#saved"), page.locator("#problems")
    ready(page)
    page.context.set_offline(True)
    answer(page, kind)
    expect(problems).to_contain_text("waits for the network")
    assert not Annotation.objects.exists()
    page.context.set_offline(False)
    expect(saved).to_have_text(f"1 saved: {SAVED[kind]}")
    first = Annotation.objects.get()
    assert stored_as(first).items() <= first.body.items()

    ready(page)
    page.keyboard.press("u")
    expect(saved).to_have_text("Taken back")
    expect(page.locator(AGAIN[kind])).to_be_attached()
    page.context.clear_cookies(name="sessionid")
    ready(page)
    send(page, kind)
    page.locator("#signin-p").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(saved).to_have_text(f"1 saved: {SAVED[kind]}")
    again = Annotation.objects.standing().get()
    assert again.pk != first.pk and again.body == first.body

    other = page.context.new_page()
    other.goto(page.url)
    ready(other)
    page.bring_to_front()
    answer(page, kind)
    expect(saved).to_have_text(f"2 saved: {SAVED[kind]}")
    expect(other.locator("#problems")).to_contain_text("You answered this item in another tab")

    ready(page)
    taken_by_somebody_else(page, kind)
    late: list[Route] = []
    page.route("**/draft/", lambda route: late.append(route))
    with page.expect_request("**/draft/"):
        compose(page, kind)
    send(page, kind)
    expect(saved).to_have_text("Not saved")
    with page.expect_response("**/draft/"):  # what is said of a draft that was under way hides nothing
        late[0].continue_()
    expect(problems.locator("textarea" if kind == "demonstration" else "p")).to_be_visible()
    assert Annotation.objects.standing().filter(annotator=person).count() == 2
