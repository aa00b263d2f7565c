"""What a page does when something else happens meanwhile: another tab, a lost lease, an ended session, a finger."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from annotation import judging, queue
from annotation.models import Annotation, Assignment, Membership, Project, User
from tests import factories
from tests.browser.conftest import Open, ready

pytestmark = pytest.mark.django_db(transaction=True)


def start(kind: str = "preference", tasks: int = 1, number: int | None = None) -> tuple[Project, User]:
    project = factories.project(kind=kind)
    letters = "stuvwxyz"[: number or {"preference": 2, "ranking": 3, "rating": 1, "demonstration": 0}[kind]]
    for task in range(tasks):
        factories.task(project, responses=[f"Answer {letter} to {task}" for letter in letters])
    return project, factories.member(project)


def work(project: Project) -> str:
    return f"/projects/{project.slug}/work/"


# Not wait_for_function, which repeats itself by an eval that the page's policy forbids.
LEASED_AHEAD = """() => new Promise(done => {
    const asked = each => each.name.endsWith('/ahead/') && each.responseEnd;
    const seen = () => performance.now() > 300 && performance.getEntriesByType('resource').some(asked);
    const look = () => seen() || performance.now() > 10_000 ? done() : setTimeout(look, 20);
    look();
})"""


def test_an_item_judged_in_one_tab_says_so_in_the_other(open_page: Open) -> None:
    project, person = start(tasks=3)
    page = open_page(person, f"/projects/{project.slug}/work/")
    other = page.context.new_page()
    other.goto(page.url)
    ready(other)
    page.bring_to_front()
    page.keyboard.press("2")
    expect(page.locator("#saved")).to_have_text("1 saved: A better")
    expect(other.locator("#problems")).to_contain_text("You answered this item in another tab")
    other.get_by_role("button", name="Next item").click()
    expect(other.locator("#number")).to_have_text("item 2")
    assert other.locator("#item").get_attribute("data-task") != str(Annotation.objects.get().task_id)


def test_what_was_written_stays_when_the_lease_was_lost(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, f"/projects/{project.slug}/work/")
    page.evaluate(LEASED_AHEAD)
    Assignment.objects.filter(annotator=person).update(lease_until=timezone.now() - timedelta(minutes=1))
    quicker = factories.member(project)
    taken = queue.lease_next(project, quicker)
    assert taken is not None
    judging.submit(taken.task, quicker, {"choice": "a"})
    page.locator("#rationale").fill("It names its source")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#problems [role=alert] textarea")).to_have_value("It names its source")
    expect(page.locator("#saved")).to_have_text("Not saved")
    assert Annotation.objects.get().annotator == quicker
    page.get_by_role("button", name="Next item").click()
    expect(page.get_by_role("heading", name="Nothing left to judge here")).to_be_visible()


def test_an_item_that_was_taken_while_it_waited_its_turn_says_so_when_it_is_shown(open_page: Open) -> None:
    project, person = start(tasks=2)
    page = open_page(person, "/account/")
    page.clock.install()
    page.goto(work(project))
    page.clock.run_for(1000)
    page.evaluate(LEASED_AHEAD)
    waiting = Assignment.objects.get(annotator=person, task=project.tasks.order_by("pk")[1])
    page.clock.fast_forward("20:00")  # reading, without a touch
    Assignment.objects.filter(pk=waiting.pk).update(lease_until=timezone.now() - timedelta(minutes=1))
    quicker = factories.member(project)
    taken = queue.lease_next(project, quicker)
    assert taken is not None and taken.task_id == waiting.task_id
    page.keyboard.press("2")
    page.clock.run_for(500)
    expect(page.locator("#saved")).to_have_text("1 saved: A better")
    page.clock.run_for(3000)
    expect(page.locator("#problems")).to_contain_text("Your time on this item ran out")


def test_a_session_that_ends_while_writing_keeps_the_words(open_page: Open) -> None:
    project, person = start()
    page = open_page(person, f"/projects/{project.slug}/work/")
    ready(page)
    page.context.clear_cookies(name="sessionid")
    page.locator("#rationale").fill("It names its source")
    expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
    page.locator("#signin-p").fill("correct horse battery")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sign in again")).to_be_hidden()
    page.locator("#rationale").press("Escape")
    page.keyboard.press("6")
    expect(page.locator("#saved")).to_have_text("1 saved: B better")
    assert Annotation.objects.get().body["rationale"] == "It names its source"


def test_each_kind_is_judged_by_taps_on_a_phone(open_page: Open) -> None:
    project, person = start("ranking", number=8)
    page = open_page(person, work(project), phone=True)
    ready(page)
    for letter, place in zip("CABDEFGH", (1, 2, 2, 4, 5, 6, 7, 8), strict=True):
        page.locator(f'.rung[data-letter="{letter}"]').tap()
        page.locator(f'.slot[data-place="{place}"]').tap(position={"x": 6, "y": 6})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), letter
    page.locator("#submit").tap()
    expect(page.locator("#saved")).to_have_text("1 saved: ranked")
    stored = Annotation.objects.get()
    assert stored.body["ranking"][:2] == [[stored.shown[2]], sorted(stored.shown[:2])]
    taps = {"preference": [".beam .st2"], "rating": [f".likert:nth-of-type({n}) label >> nth=3" for n in (1, 2, 3, 4)]}
    for kind in ("preference", "rating", "demonstration"):
        project, _ = start(kind)
        Membership.objects.create(user=person, project=project, role="annotator")
        page.goto(work(project))
        ready(page)
        for place in taps.get(kind, []):
            page.locator(place).tap()
        if kind == "demonstration":
            page.locator("#text").fill("Water.")
        page.locator("#submit").tap()
        expect(page.locator("#saved")).to_contain_text("1 saved")
        assert Annotation.objects.filter(project=project).exists()


def test_the_next_item_begins_at_its_top_on_a_phone(open_page: Open) -> None:
    project = factories.project("rating")
    for number in range(2):
        factories.task(project, responses=[f"Answer {number}. " + "It has many words. " * 200])
    page = open_page(factories.member(project), work(project), phone=True)
    page.evaluate(LEASED_AHEAD)
    for number in (1, 2, 3, 4):
        page.locator(f".likert:nth-of-type({number}) label >> nth=3").tap()
    assert page.evaluate("scrollY") > 500
    page.locator("#submit").tap()
    expect(page.locator("#saved")).to_have_text("1 saved: rated")
    expect(page.locator("#number")).to_have_text("item 2")
    assert page.evaluate("scrollY") == 0
    expect(page.locator("#saved .i")).to_be_visible()  # that it is saved is seen on a phone, too
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
