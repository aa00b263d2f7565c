"""A reviewer settles disagreements by keyboard, and an annotator answers what came back."""

from typing import Any

import pytest
from playwright.sync_api import expect

from annotation import judging, queue, reviewing
from annotation.models import Adjudication, Annotation, Project, Role, Task
from tests import factories
from tests.browser.conftest import Open, ready

pytestmark = pytest.mark.django_db(transaction=True)


def disputed(project: Project, *strengths: int) -> Task:
    """A task on which the first person prefers A, in a reviewer's order, and the second B."""
    task = factories.task(project, need=2)
    for number, (pk, strength) in enumerate(zip(reviewing.order_of(task), strengths, strict=True)):
        person = factories.member(project, username=f"judge-{task.pk}-{number}")
        shown = queue.lease_next(project, person).shown
        judging.submit(task, person, {"choice": "ab"[shown.index(pk)], "strength": strength})
    return task


def test_three_ways_out_by_keyboard_alone_and_back(open_page: Open) -> None:
    project = factories.project()
    worst, second, third = disputed(project, 3, 3), disputed(project, 2, 2), disputed(project, 1, 1)
    reviewer = factories.member(project, Role.REVIEWER)
    page = open_page(reviewer, f"/projects/{project.slug}/review/")
    page.keyboard.press("n")
    page.wait_for_url(f"**/tasks/{worst.pk}/review/")
    ready(page)
    page.keyboard.press("o")
    expect(page.get_by_label("Make it a gold item")).to_be_checked()
    page.keyboard.press("7")
    expect(page.locator("#overrule-label")).to_have_text("Overrule: B much better")
    page.keyboard.press("r")
    page.keyboard.type("See line 2.")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tasks/{second.pk}/review/")
    made = Adjudication.objects.get(task=worst)
    assert (made.decision, made.body["strength"], made.comment) == ("overrule", 3, "See line 2.")
    assert made.makes_gold and Task.objects.get(pk=worst.pk).is_gold
    ready(page)
    page.keyboard.press("y")
    page.wait_for_url(f"**/tasks/{third.pk}/review/")
    ready(page)
    page.keyboard.press("u")
    page.wait_for_url(f"**/tasks/{second.pk}/review/")
    expect(page.locator("#saved")).to_contain_text("Taken back")
    expect(page.locator("#say")).to_have_text("Taken back")  # which is heard, as it came after the page
    ready(page)
    page.keyboard.press("s")
    page.wait_for_url(f"**/tasks/{third.pk}/review/")


def test_a_return_asks_for_a_comment_and_the_annotator_changes_the_answer(open_page: Open) -> None:
    project = factories.project()
    task = disputed(project, 3, 2)
    page = open_page(factories.member(project, Role.REVIEWER), f"/tasks/{task.pk}/review/")
    ready(page)
    vote: Any = reviewing.votes_on(task)[0]
    page.get_by_role("button", name=f"Return to {vote.annotator.username} with the comment").click()
    assert page.url.endswith(f"/tasks/{task.pk}/review/") and not Adjudication.objects.exists()
    page.locator("#comment").fill("Count the words.")
    page.get_by_role("button", name=f"Return to {vote.annotator.username} with the comment").click()
    page.wait_for_url("**/review/")
    expect(page.locator("main").get_by_text("Nothing is left to settle here.")).to_be_visible()
    expect(page.locator("#say")).to_contain_text("Nothing is left to settle here.")
    own = open_page(vote.annotator, "/my-work/")
    own.get_by_role("link", name="Change my answer").click()
    expect(own.get_by_text("Count the words.")).to_be_visible()
    ready(own)
    own.keyboard.press("4")
    expect(own.locator("#saved")).to_contain_text("saved: About the same")
    assert Annotation.objects.standing().get(annotator=vote.annotator).revision == 2


def test_single_keys_that_are_switched_off_decide_nothing_and_are_not_shown(open_page: Open) -> None:
    project = factories.project()
    task = disputed(project, 3, 2)
    reviewer = factories.member(project, Role.REVIEWER)
    reviewer.preferences = {"single_keys": False}
    reviewer.save(update_fields=["preferences"])
    page = open_page(reviewer, f"/tasks/{task.pk}/review/")
    ready(page)
    for key in ("y", "1", "b", "s", "u", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#overrule-label")).to_have_text("Overrule: About the same")
    assert page.url.endswith(f"/tasks/{task.pk}/review/") and not Adjudication.objects.exists()
    assert page.locator(".dock .beam kbd:visible, .bar-top kbd:visible").count() == 0
    factories.task(project, responses=["One.", "Two."])
    page.goto(f"/projects/{project.slug}/work/")
    ready(page)
    for key in ("2", "s", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#saved")).to_be_empty()
    assert page.locator(".dock .beam kbd:visible").count() == 0
    page.get_by_text("B better", exact=True).click()  # and judging goes on without them
    expect(page.locator("#saved")).to_contain_text("saved: B better")
