"""Every page against WCAG 2.2 A and AA and axe's best practices: both themes, both widths, no findings."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from annotation import access, discussing, invitations, judging, queue
from annotation.models import Assignment, Membership, Project, Role, RuleChange, Task, User
from rlhf.models import Model, Round
from rlhf.rounds import Plan
from tests import factories
from tests.browser.conftest import DESKTOP, PHONE, Open, ready, task_on
from tests.browser.test_loop_pages import live
from tests.rlhf import rows

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_folder")]

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
ONLY = {"resultTypes": ["violations"], "preload": False, "iframes": False}
THEMES = [("light", RULES | ONLY), ("dark", {"runOnly": ["color-contrast"]} | ONLY)]  # a theme is its colors
SIZES = [("phone", PHONE), ("desktop", DESKTOP)]
RUN = """async ([within, themes]) => {
    const told = [];
    for (const [theme, options] of themes) {
        document.documentElement.dataset.theme = theme;
        const { violations } = await axe.run(within ?? document, options);
        told.push(...violations.map(one => `${theme} ${one.id}: ${one.nodes[0].html.slice(0, 200)}`));
    }
    return told;
}"""
STILL = {"reduced_motion": "reduce"}  # no color is caught halfway to another
MARKDOWN = "Some **bold** words, `code` and\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n```python\nx = 1\n```\n\n- שלום"


def findings(page: Page, within: str | None = None) -> list[str]:
    """What axe says of the page as it is now, or of a part that has just appeared: as wide as a phone, which is
    touched, and as a desk, in both themes. One load of the page serves all four."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = []
    screen = page.context.new_cdp_session(page)
    for name, size in SIZES:
        touched = name == "phone"
        screen.send("Emulation.setTouchEmulationEnabled", {"enabled": touched})
        screen.send("Emulation.setDeviceMetricsOverride", size | {"deviceScaleFactor": 1, "mobile": touched})
        found += [f"{page.url} {name} {one}" for one in page.evaluate(RUN, [within, THEMES])]
    return found


def findings_on(page: Page, *paths: str) -> list[str]:
    """What axe says of each of these pages."""
    found = []
    for path in paths:
        page.goto(path)
        found += findings(page)
    return found


def judged(kind: str, texts: list[str], **fields: object) -> tuple[Project, User]:
    """A project whose first item two people judged differently, and its manager, who has more to judge."""
    project = factories.project(kind=kind, overlap=2, **fields)
    for _ in range(3):
        factories.task(project, responses=texts)
    project.write_guidelines("# Fair\n\nBe fair.")
    return project, factories.member(project, Role.MANAGER)


def test_the_audit_finds_a_fault(open_page: Open) -> None:
    page = open_page(factories.admin(), "/", **STILL)
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any(" button-name: <button></button>" in one for one in findings(page))


def test_the_pages_of_those_who_lead_have_no_findings(open_page: Open) -> None:
    project, lead = judged("preference", [MARKDOWN, f"{MARKDOWN} more"])
    for choice in ("a", "b"):
        judge = factories.member(project)
        assignment = queue.lease_next(project, judge)
        assert assignment is not None
        body = {"choice": "ab"[assignment.shown.index(min(assignment.shown))], "strength": 2}
        body["choice"] = body["choice"] if choice == "a" else {"a": "b", "b": "a"}[str(body["choice"])]
        judging.submit(assignment.task, judge, body, seconds=20)
    slug = project.slug
    page = open_page(lead, "/login/", **STILL)
    project.write_guidelines("# Fair\n\nBe fair and brief.")
    RuleChange.objects.create(project=project, before={}, after={}, upto=9, seen=240, total=1000)  # is under way
    paths = ["", "settings/", "people/", "import/", "review/", "judgments/", "queue/", "guidelines/2/"]
    mine = ["/", "/projects/new/", "/account/", "/my-work/", "/inbox/", f"/tasks/{assignment.task_id}/review/"]
    found = findings_on(page, *mine, *[f"/projects/{slug}/{path}" for path in paths])
    page.goto(f"/projects/{slug}/people/")
    page.locator("summary:has(.pill)").first.click()
    page.locator(".menu summary").last.click()
    expect(page.get_by_role("button", name="Remove from this project").last).to_be_visible()
    found += findings(page)
    page.goto("/api/v1/docs/")
    found += findings(page)
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    found += findings(page, "#about-judging, #about-judging ~ *")
    page.context.clear_cookies()
    found += findings_on(page, "/login/", "/nowhere/")
    assert found == []


@pytest.mark.parametrize("kind", ["preference", "ranking", "rating", "demonstration"])
def test_judging_has_no_findings_in_any_of_its_states(open_page: Open, kind: str) -> None:
    number = {"preference": 2, "ranking": 4, "rating": 1, "demonstration": 1}[kind]
    project, lead = judged(kind, [f"{MARKDOWN} {name}" for name in "abcd"[:number]])
    if kind == "preference":
        aspects = [{"name": "helpful", "label": "Helpful", "required": True}]
        Project.objects.filter(pk=project.pk).update(questions={"aspects": aspects, "improve": True})
    page = open_page(lead, f"/projects/{project.slug}/work/", **STILL)
    ready(page)
    found = findings(page)
    opened = {"g": "#guide", "s": "#skips", "r": "#why"}
    for key in ("g", "s", "r") if kind in ("preference", "ranking") else ("g", "s"):
        page.keyboard.press(key)
        expect(page.locator(f"{opened[key]}:is([open], aside:not([hidden]))")).to_be_visible()
        found += findings(page, opened[key])
        page.keyboard.press("Escape")
    if kind in ("preference", "rating"):
        page.keyboard.press("h")
        expect(page.locator("#reason")).to_be_visible()
        found += findings(page, "#reason")
        page.keyboard.press("1")
        expect(page.locator("#spans [data-spans] li")).to_have_count(1)
        page.keyboard.press("m")
        found += findings(page)
    if kind == "preference":
        page.keyboard.press("i")
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.keyboard.press("Enter")  # a note names what is missing
        expect(page.locator("#problems")).to_contain_text("Helpful needs an answer")
        found += findings(page)
    page.evaluate("document.querySelector('#keys').showModal()")
    found += findings(page, "#keys")
    page.evaluate("document.querySelector('#keys').close(); document.querySelector('#signin').showModal()")
    found += findings(page, "#signin")
    assert found == []


def test_what_becomes_of_an_answer_has_no_findings(open_page: Open) -> None:
    project, lead = judged("preference", ["One.", "Two."])
    page = open_page(lead, f"/projects/{project.slug}/work/", **STILL)
    ready(page)
    page.keyboard.press("2")
    expect(page.locator("#saved")).to_have_text("1 saved: A better")
    ready(page)
    page.keyboard.press("u")
    expect(page.locator("#saved")).to_have_text("Taken back")
    found = findings(page, ".bar-top, #judge")
    page.context.set_offline(True)
    ready(page)
    page.keyboard.press("6")
    expect(page.locator("#problems")).to_contain_text("waits for the network")
    found += findings(page, ".bar-top, #problems")
    page.context.set_offline(False)
    expect(page.locator("#saved")).to_have_text("1 saved: B better")
    ready(page)
    held = Assignment.objects.filter(task=task_on(page))
    held.update(state=Assignment.State.EXPIRED)
    Task.objects.filter(pk=held.get().task_id).update(open_slots=0)  # somebody else took the slot that went back
    page.locator("#rationale").fill("It names its source")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    expect(page.locator("#problems [role=alert] textarea")).to_have_value("It names its source")
    found += findings(page, ".bar-top, #problems")
    page.context.clear_cookies(name="sessionid")
    ready(page)
    page.keyboard.press("3")
    expect(page.get_by_role("heading", name="Sign in again")).to_be_visible()
    found += findings(page, ".bar-top, #signin")
    assert found == []


def test_qualifying_and_new_guidelines_have_no_findings(open_page: Open) -> None:
    project = factories.project(qualification_size=2, qualification_bar=1.0)
    for _ in range(2):
        factories.task(project, gold={"choice": "tie", "rationale": "Both are."}, qualification=True)
    project.write_guidelines("# Fair\n\nBe fair.")
    page = open_page(factories.member(project), f"/projects/{project.slug}/work/", **STILL)
    found = []
    for key, told in (("4", "was as expected"), ("1", "was not as expected")):
        ready(page)
        page.keyboard.press(key)
        expect(page.locator("#item").get_by_role("status").filter(has_text=told)).to_be_visible()
        found += findings(page, "#item, main")
    project.write_guidelines("# Fair\n\nBe fair and brief.")
    page.reload()
    expect(page.get_by_text("The guidelines changed since you read them")).to_be_visible()
    assert found + findings(page) == []


def test_the_pages_of_the_loop_have_no_findings(open_page: Open) -> None:
    project = factories.project()
    base = rows.model("desk-base", project=project)
    person = factories.member(project, Role.MANAGER)
    run, snapshot = live(project), rows.snapshot(project)
    Round.objects.create(
        project=project, number=1, state="policy", plan=Plan().as_dict(), start_model=base, base_model=base
    )
    reward = Model.objects.get(name="rm")
    page = open_page(person, run.get_absolute_url(), **STILL)
    fresh = factories.project()  # where no round is open
    Membership.objects.create(project=fresh, user=person, role=Role.MANAGER)
    paths = ["loop", "runs", "runs/new", "datasets", "datasets/new", "models", "lineage"]
    shown = [
        f"{reward.get_absolute_url()}lineage/",
        base.get_absolute_url(),
        reward.get_absolute_url(),
        snapshot.get_absolute_url(),
    ]
    found = findings(page)
    found += findings_on(page, *shown, *[f"/projects/{project.slug}/{path}/" for path in paths])
    found += findings_on(page, f"/projects/{fresh.slug}/rounds/new/", f"/projects/{project.slug}/loop/")
    page.get_by_role("button", name="Abandon round").click()
    assert found + findings(page) == []


def test_settling_the_other_kinds_and_talking_have_no_findings(open_page: Open) -> None:
    reviewer, found = factories.admin(), []
    page = open_page(reviewer, "/inbox/", **STILL)
    bodies = {"rating": {"ratings": dict.fromkeys(("helpful", "correct", "harmless", "clear"), 3)}, "ranking": None}
    for kind, body in (bodies | {"demonstration": {"text": MARKDOWN}}).items():
        project, _ = judged(kind, [MARKDOWN, "Another."][: {"rating": 1, "ranking": 2}.get(kind, 0)])
        judge = factories.member(project)
        assignment = queue.lease_next(project, judge)
        assert assignment is not None
        judging.submit(assignment.task, judge, body or {"ranking": [[pk] for pk in assignment.shown]})
        task = access.task_for(reviewer, assignment.task_id)
        discussing.say(task, reviewer, "Read it again.", to=judge)
        found += findings_on(page, f"/tasks/{task.pk}/review/")
    seat = project.memberships.get(user=judge)
    _, secret = invitations.invite(project, by=reviewer, role="annotator")
    found += findings_on(page, f"/projects/{project.slug}/people/{seat.pk}/pseudonymise/")
    found += findings_on(page, f"/join/{secret}/")
    page.context.clear_cookies()
    found += findings_on(page, f"/join/{secret}/")
    own = open_page(judge, "/inbox/", **STILL)
    found += findings(own)
    found += findings_on(own, f"/tasks/{task.pk}/talk/", "/my-work/")
    assert found == []
