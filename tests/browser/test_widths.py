"""No page is wider than its screen: each is loaded once, then seen as a phone's, which is touched, and as a desk's, in
both themes."""

import re

import pytest
from playwright.sync_api import expect

from annotation.models import Project, Role
from annotation.questions import check_questions
from rlhf.models import Model, Round, Run, Snapshot
from rlhf.rounds import Plan
from tests import factories
from tests.browser.conftest import DESKTOP, PHONE, Open, ready
from tests.browser.test_loop_pages import live
from tests.browser.test_review import disputed
from tests.rlhf import rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_folder")]

PAGES = ("work/", "", "settings/", "people/", "import/", "review/", "judgments/", "queue/")
WIDTHS = """() => ["light", "dark"].map(theme => {
    document.documentElement.dataset.theme = theme;
    return document.documentElement.scrollWidth;
})"""


def too_wide(open_page: Open, project: Project, paths: list[str]) -> list[str]:
    """The pages that scroll sideways, and on which screen."""
    page = open_page(factories.member(project, Role.MANAGER), "/account/", reduced_motion="reduce")
    screen, found = page.context.new_cdp_session(page), []
    for path in paths:
        page.goto(path)
        assert page.locator("h1").first.inner_text()
        for size, phone in ((PHONE, True), (DESKTOP, False)):
            screen.send("Emulation.setTouchEmulationEnabled", {"enabled": phone})
            screen.send("Emulation.setDeviceMetricsOverride", size | {"deviceScaleFactor": 1, "mobile": phone})
            if max(page.evaluate(WIDTHS)) > size["width"]:
                found.append(f"{path} {size['width']}")
    return found


def test_no_page_of_the_loop_is_wider_than_its_screen(open_page: Open) -> None:
    project = factories.project()
    base = rows.model("desk-base", project=project)
    run, plan = live(project), Plan().as_dict()
    Round.objects.create(project=project, number=1, state="policy", plan=plan, start_model=base, base_model=base)
    reward = Model.objects.get(name="rm")
    fresh = factories.project()  # where no round is open
    assert too_wide(open_page, fresh, [f"/projects/{fresh.slug}/rounds/new/"]) == []
    paths = ["loop", "runs", "runs/new", "datasets", "datasets/new", "models"]
    shown = [run.get_absolute_url(), base.get_absolute_url(), reward.get_absolute_url()]
    assert too_wide(open_page, project, shown + [f"/projects/{project.slug}/{path}/" for path in paths]) == []


def test_no_page_of_those_who_judge_and_lead_is_wider_than_its_screen(open_page: Open) -> None:
    project = factories.project()
    task = disputed(project, 3, 2)
    factories.task(project, responses=["One answer.", "Another answer."])
    paths = [f"/projects/{project.slug}/{path}" for path in PAGES]
    paths += [
        "/",
        "/projects/new/",
        "/my-work/",
        "/account/",
        "/api/v1/docs/#tasks_annotations_create",
        f"/tasks/{task.pk}/review/",
    ]
    assert too_wide(open_page, project, paths) == []


def test_what_one_comes_for_is_within_a_phone_s_screen(open_page: Open) -> None:
    project = factories.project()
    disputed(project, 3, 2)
    lead = factories.member(project, Role.MANAGER)
    judge = project.memberships.get(user__username__endswith="-0").user
    for person, path, names in (
        (lead, f"/projects/{project.slug}/people/", ("More", "Active")),
        (judge, "/my-work/", ("Change", "Ask")),
    ):
        page = open_page(person, path, phone=True, reduced_motion="reduce")
        for name in names:
            box = page.locator(".stacked tbody").locator("summary, a").filter(has_text=name).first.bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"], (path, name)


def test_what_a_run_was_made_from_stays_within_its_card(open_page: Open) -> None:
    project = factories.project()
    run = live(project)
    made = rows.snapshot(project)
    Snapshot.objects.filter(pk=made.pk).update(simulated_share=0.99)
    Run.objects.filter(pk=run.pk).update(snapshot=made)
    page = open_page(factories.member(project, Role.TRAINER), run.get_absolute_url(), phone=True)
    page.set_viewport_size({"width": 320, "height": 800})
    tag, cell = page.locator(".list .tag"), page.locator(".list .grow", has=page.locator(".tag"))
    expect(tag).to_have_text("99% of the judgments are simulated")
    inner, outer = tag.bounding_box(), cell.bounding_box()
    assert inner and outer and inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1


WITHIN = """() => [...document.querySelectorAll('.ladder .rung')].filter(rung => {
    const inner = rung.getBoundingClientRect(), outer = rung.closest('.slot').getBoundingClientRect();
    return inner.right > outer.right + 1 || inner.left < outer.left - 1 || inner.width < 24;
}).map(rung => rung.dataset.letter)"""


@pytest.mark.parametrize("phone", [False, True])
def test_eight_responses_tied_stay_within_their_places(open_page: Open, phone: bool) -> None:
    project = factories.project("ranking")
    factories.task(project, responses=[f"Answer {number}, of which some words are shown" for number in range(8)])
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/", phone=phone)
    ready(page)
    places = {"A": 1, "B": 1, "C": 2, "D": 2, "E": 2, "F": 4, "G": 8, "H": 8}
    for letter, place in places.items():
        rung, slot = page.locator(f'.rung[data-letter="{letter}"]'), page.locator(f'.slot[data-place="{place}"]')
        if phone:
            rung.tap()
            slot.tap(position={"x": 5, "y": 5})
        else:
            page.keyboard.press(letter.lower())
            page.keyboard.press(str(place))
        expect(slot.locator(f'[data-letter="{letter}"]')).to_be_visible()
    assert page.evaluate(WITHIN) == []
    expect(page.get_by_role("button", name=re.compile("Response C.*place 2"))).to_be_visible()
    expect(page.get_by_role("button", name="Submit")).to_be_enabled()


@pytest.mark.parametrize("points", [2, 5, 8, 9, 11])
def test_every_point_of_a_scale_is_large_enough_for_a_thumb(open_page: Open, points: int) -> None:
    project = factories.project(
        "rating",
        questions=check_questions("rating", {"aspects": [{"name": "good", "label": "Good", "points": points}]}),
    )
    factories.task(project)
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/", phone=True)
    boxes = [label.bounding_box() for label in page.locator(".likert label").all()]
    assert len(boxes) == points and all(box and box["height"] >= 44 and box["width"] >= 40 for box in boxes)


OUTSIDE = """() => [...document.querySelectorAll('details[open] .pop')].flatMap(pop =>
    [...pop.querySelectorAll('label, button, p')].filter(one => one.offsetParent).filter(one => {
        const box = one.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth || box.top < 0 || box.bottom > innerHeight;
    }).map(one => one.textContent.trim()))"""


@pytest.mark.parametrize("kind", ["preference", "ranking", "rating", "demonstration"])
def test_the_menus_of_the_dock_are_read_whole_on_a_phone_one_at_a_time(open_page: Open, kind: str) -> None:
    project = factories.project(kind)
    factories.task(project)
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/", phone=True)
    ready(page)
    menus = page.locator(".dock details.menu > summary")
    assert menus.count() == {"preference": 3, "ranking": 2}.get(kind, 1)
    for menu in menus.all():
        menu.tap()
        expect(page.locator("details.menu[open]")).to_have_count(1)
        assert page.evaluate(OUTSIDE) == []


def test_quick_reasons_stand_below_each_other_in_the_color_of_text(open_page: Open) -> None:
    project = factories.project()
    factories.task(project)
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/")
    ready(page)
    page.keyboard.press("r")
    boxes = [label.bounding_box() for label in page.locator("#why label").all()]
    assert len({box["x"] for box in boxes if box}) == 1 and len({box["y"] for box in boxes if box}) == 6
    color = "element => getComputedStyle(element).color"
    assert page.locator("#why label").first.evaluate(color) == page.locator("#rationale").evaluate(color)


def test_the_tools_of_the_editor_stay_within_it_on_a_phone(open_page: Open) -> None:
    project = factories.project("demonstration")
    factories.task(project, responses=["A draft to start from"])
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/", phone=True)
    beyond = """() => [...document.querySelectorAll('.editor .strip .btn')].filter(one =>
        one.getBoundingClientRect().right > one.closest('.editor').getBoundingClientRect().right).length"""
    assert page.locator(".editor .strip .btn").count() == 7
    assert page.evaluate(beyond) == 0


def test_code_reads_from_the_left_in_a_text_that_reads_from_the_right(open_page: Open) -> None:
    project = factories.project()
    factories.task(project, responses=["الماء أثقل.\n\n```\nf(x);\n```\n\nواكتب `f(x);` هنا.", "النفط أثقل."])
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/")
    read = "elements => elements.map(one => [getComputedStyle(one).direction, getComputedStyle(one).textAlign])"
    assert page.locator(".rendered pre").evaluate_all(read) == [["ltr", "left"]]
    assert page.locator(".rendered p code").evaluate_all(read)[0][0] == "ltr"
    assert page.locator(".rendered p").first.evaluate("one => getComputedStyle(one).direction") == "rtl"
