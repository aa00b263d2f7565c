"""A person at the judging page, with a keyboard, a bad network or no script."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Route, expect

from annotation import judging, queue
from annotation.models import Annotation, Assignment, Project, User
from tests import factories
from tests.browser.conftest import Open, ready

pytestmark = pytest.mark.django_db(transaction=True)

ASPECTS = [{"name": "helpful", "label": "Helpful", "required": False}]


def start(kind: str = "preference", tasks: int = 4, **fields: object) -> tuple[Project, User]:
    project = factories.project(kind=kind, **fields)
    for number in range(tasks):
        texts = {"preference": 2, "ranking": 3, "rating": 1, "demonstration": 0}[kind]
        factories.task(project, responses=[f"Answer {name} to {number}" for name in "xyz"[:texts]])
    return project, factories.member(project, "annotator")


def work(project: Project) -> str:
    return f"/projects/{project.slug}/work/"


def test_three_items_are_judged_by_keyboard_alone(open_page: Open) -> None:
    project, person = start(questions={"aspects": ASPECTS})
    page = open_page(person, work(project))
    for number, (key, words) in enumerate(
        [("2", "A better"), ("7", "B much better"), ("4", "About the same")], start=1
    ):
        ready(page)
        if number == 1:
            page.keyboard.press("q")
        page.keyboard.press(key)
        expect(page.locator("#saved")).to_have_text(f"{number} saved: {words}")
        expect(page.locator("#number")).to_have_text(f"item {number + 1}")
    expect(page.locator("#goal-done")).to_have_text("3")
    first, second, third = Annotation.objects.standing().order_by("pk")
    assert (first.body["choice"], first.body["strength"]) == (first.shown[0], 2)
    assert first.body["aspects"] == {"helpful": first.shown[0]}
    assert (second.body["choice"], second.body["strength"]) == (second.shown[1], 3)
    assert third.body["choice"] == "tie"
    assert all(annotation.seconds is not None for annotation in (first, second, third))


def test_a_daily_goal_fills_is_reached_and_leaves_the_numbers_of_items_alone(open_page: Open) -> None:
    project, person = start(tasks=5, daily_goal=2)
    judging.submit(queue.lease_next(project, person).task, person, {"choice": "a", "strength": 2})
    Annotation.objects.update(created_at=timezone.now() - timedelta(days=1))
    page = open_page(person, work(project))
    reached = page.locator("#goal-reached")
    for number, met in ((2, False), (3, True)):
        expect(page.locator("#number")).to_have_text(f"item {number}")
        expect(reached).to_be_hidden()
        ready(page)
        page.keyboard.press("2")
        expect(page.locator("#goal-done")).to_have_text(str(number - 1))
        expect(reached).to_be_visible() if met else expect(reached).to_be_hidden()
    expect(page.locator("#number")).to_have_text("item 4")
    ready(page)
    page.keyboard.press("u")
    expect(page.locator("#goal-done")).to_have_text("1")
    expect(reached).to_be_hidden()


def test_a_second_press_cannot_judge_an_unread_item(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '1', bubbles: true }));"
    page.evaluate(press + press)
    expect(page.locator("#saved")).to_have_text("1 saved: A much better")
    expect(page.locator("#number")).to_have_text("item 2")
    assert Annotation.objects.count() == 1


def test_undo_brings_the_answer_back_and_skip_asks_for_a_reason(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    page.keyboard.press("6")
    expect(page.locator("#saved")).to_have_text("1 saved: B better")
    ready(page)
    page.keyboard.press("u")
    expect(page.locator(".beam input:checked")).to_have_value("6")
    ready(page)
    page.keyboard.press("6")
    expect(page.locator("#saved")).to_have_text("1 saved: B better")
    ready(page)
    page.keyboard.press("s")
    page.keyboard.press("2")
    expect(page.locator("#saved")).to_have_text("Skipped")
    assert list(Annotation.objects.order_by("pk").values_list("status", flat=True)) == ["undone", "submitted"]
    assert Assignment.objects.get(state="skipped").skip_reason == "Prompt makes no sense"


def test_an_answer_given_without_a_network_is_kept_and_sent_once(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    page.context.set_offline(True)
    page.keyboard.press("2")
    expect(page.locator("#problems")).to_contain_text("waits for the network")
    expect(page.locator("#saved")).not_to_contain_text("saved:")
    assert Annotation.objects.count() == 0
    page.context.set_offline(False)
    expect(page.locator("#saved")).to_have_text("1 saved: A better")
    expect(page.locator("#problems")).to_be_empty()
    assert Annotation.objects.count() == 1


def test_without_a_network_the_page_says_whether_there_is_more_to_judge_and_takes_nothing_back(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    problems, saved = page.locator("#problems"), page.locator("#saved")
    ready(page)
    page.keyboard.press("1")
    expect(saved).to_have_text("1 saved: A much better")
    ready(page)
    page.context.set_offline(True)
    page.keyboard.press("2")
    expect(page.locator("#number")).to_have_text("item 3")
    expect(problems).to_contain_text("Go on")
    ready(page)
    page.keyboard.press("3")
    expect(problems).to_contain_text("2 answers wait for the network")
    expect(problems).to_contain_text("the next item comes with the network")
    expect(problems).not_to_contain_text("Go on")
    page.keyboard.press("u")
    expect(problems).to_contain_text("An answer still waits for the network")
    page.context.set_offline(False)
    expect(saved).to_have_text("3 saved: A slightly better")
    expect(page.locator("#number")).to_have_text("item 4")
    assert Annotation.objects.standing().count() == 3


def test_marks_of_differences_stay_off_for_whoever_turned_them_off(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    marked = "mark => getComputedStyle(mark).boxShadow !== 'none'"
    mark = page.locator("#pair .rendered mark").first
    assert mark.evaluate(marked)
    with page.expect_response("**/preferences/"):
        page.keyboard.press("d")
    assert not mark.evaluate(marked)
    page.reload()
    expect(page.locator("#diff")).not_to_be_checked()
    expect(page.locator("body")).to_have_class(re.compile("alike"))
    assert not mark.evaluate(marked)


def test_a_reply_that_got_lost_does_not_store_the_answer_twice(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    dropped: list[str] = []

    def drop_first(route: object) -> None:
        dropped.append("once")  # first, because the page may have tried again before the server's answer is here
        route.fetch()  # type: ignore[attr-defined]  the server stores it, the browser never hears so
        route.abort()  # type: ignore[attr-defined]

    page.route(re.compile("/judge/"), drop_first, times=1)
    page.keyboard.press("5")
    expect(page.locator("#saved")).to_have_text("1 saved: B slightly better")
    assert dropped == ["once"] and Annotation.objects.count() == 1


def test_an_item_that_was_on_its_way_when_the_answer_was_given_is_shown_once(open_page: Open) -> None:
    project, person = start()
    late: list[Route] = []
    page = open_page(person, "/my-work/")
    page.route(re.compile("/(ahead|judge)/"), lambda route: late.append(route) if len(late) < 2 else route.continue_())
    with page.expect_request("**/ahead/"):
        page.goto(page.url.replace("/my-work/", work(project)))
        ready(page)
    with page.expect_request("**/judge/"):
        page.keyboard.press("1")
    for route in late:
        with page.expect_response(route.request.url):
            route.continue_()
    expect(page.locator("#number")).to_have_text("item 2")
    ready(page)
    second = page.locator("#item").get_attribute("data-task")
    page.context.set_offline(True)
    page.keyboard.press("2")
    expect(page.locator("#problems")).to_contain_text("waits for the network")
    expect(page.locator(f"#item[data-task='{second}']:not([data-sent])")).to_have_count(0)
    page.context.set_offline(False)
    expect(page.locator("#saved")).to_contain_text("2 saved")
    expect(page.locator("#number")).to_have_text("item 3")


def test_items_are_numbered_right_after_a_reload_though_a_reply_got_lost(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    page.route(re.compile("/judge/"), lambda route: (route.fetch(), route.abort())[1], times=1)
    page.keyboard.press("5")
    expect(page.locator("#problems")).to_contain_text("waits for the network")
    page.reload()
    expect(page.locator("#saved")).to_have_text("1 saved: B slightly better")
    expect(page.locator("#number")).to_have_text("item 2")
    assert Annotation.objects.count() == 1


def test_a_signed_out_answer_is_sent_after_signing_in(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    page.context.clear_cookies(name="sessionid")
    page.keyboard.press("3")
    page.locator("#signin-p").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.locator("#saved")).to_have_text("1 saved: A slightly better")
    assert Annotation.objects.get().annotator == person


def test_a_draft_survives_a_reload(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, work(project))
    ready(page)
    page.keyboard.press("r")
    page.keyboard.press("r")
    page.keyboard.type("Names its source")
    expect(page.locator("#saved")).to_have_text("Draft saved")
    assert Assignment.objects.filter(draft__rationale="Names its source").exists()
    page.reload()
    expect(page.locator("#rationale")).to_have_value("Names its source")


def test_what_is_required_is_asked_before_a_digit_submits(open_page: Open) -> None:
    project, person = start(questions={"aspects": [ASPECTS[0] | {"required": True}]})
    page = open_page(person, work(project))
    ready(page)
    expect(page.locator("#submit-label")).to_have_text("1 aspect left")
    page.keyboard.press("1")
    expect(page.locator("#problems")).to_contain_text("Helpful needs an answer")
    page.keyboard.press("q")
    page.keyboard.press("Enter")
    expect(page.locator("#saved")).to_have_text("1 saved: A much better")


def test_judging_works_without_javascript(open_page: Open) -> None:
    project, person = start(tasks=2)
    page = open_page(person, work(project), java_script_enabled=False)
    page.locator(".beam label.st6").click()
    page.locator("#submit").click()
    expect(page.locator("#goal-done")).to_have_text("1")
    page.locator("details.menu summary[data-key=s]").click()
    page.get_by_role("button", name="Other reason").click()
    expect(page.get_by_role("heading", name="Nothing left to judge here")).to_be_visible()
    assert Annotation.objects.get().body["strength"] == 2


def test_a_demonstration_is_previewed_and_sent_with_control_enter(open_page: Open) -> None:
    project, person = start("demonstration")
    page = open_page(person, work(project))
    ready(page)
    page.keyboard.press("r")
    page.keyboard.type("Water is **heavier**.")
    expect(page.locator(".preview strong")).to_have_text("heavier")
    expect(page.locator("[data-words]").first).to_have_text("3")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#saved")).to_have_text("1 saved: written")
    assert Annotation.objects.get().body["text"] == "Water is **heavier**."


def test_what_the_tools_of_the_editor_did_is_taken_back_like_typing(open_page: Open) -> None:
    project = factories.project("demonstration")
    factories.task(project, responses=["The draft"])
    page = open_page(factories.member(project), work(project))
    ready(page)
    text = page.locator("#text")
    text.focus()
    page.keyboard.type("Water")
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+B")
    expect(text).to_have_value("**Water**")
    page.keyboard.press("Control+Z")
    expect(text).to_have_value("Water")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start from the draft").click()
    expect(text).to_have_value("The draft")
    expect(page.locator("#panes .preview")).to_have_text("The draft")
    text.press("Control+Z")
    expect(text).to_have_value("Water")
