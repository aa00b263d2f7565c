"""The import wizard in Chromium: without a mouse, without JavaScript, and against the rules of accessibility."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from annotation.models import Project, Role, User
from tests import factories
from tests.browser.conftest import Open
from tests.browser.test_accessibility import STILL, findings

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_folder")]

ROWS = [
    {"question": "How do I **move** my number?", "answer_1": "Order a SIM.", "answer_2": "Call 0171 234 5678."},
    {"question": "how do i **move** my number", "answer_1": "- Order\n- a SIM", "answer_2": "No.", "mail": "a@b.org"},
    {"question": "Only one?", "answer_1": "Same.", "answer_2": "Same."},
]


@pytest.fixture
def work(tmp_path: Path) -> tuple[Project, User, Path]:
    project = factories.project(overlap=3)
    path = tmp_path / "support-pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return project, factories.member(project, Role.MANAGER), path


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until that is focused."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page).startswith(wanted):
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


def test_a_file_is_mapped_checked_and_imported_by_keyboard(open_page: Open, work: tuple[Project, User, Path]) -> None:
    project, lead, path = work
    page = open_page(lead, f"/projects/{project.slug}/import/", **STILL)
    page.set_input_files("#file", path)
    page.locator("#file").focus()
    tab_to(page, "Check the file")
    page.keyboard.press("Enter")
    expect(page.locator("#pr")).to_be_visible()
    assert findings(page) == []
    tab_to(page, "becomes-3")
    with page.expect_response("**/mapping/") as checked:
        page.keyboard.press("T")  # a tag instead of the second response
    assert checked.value.status == 200
    expect(page.locator("#mp + p")).to_have_text("As you said it, change any")
    assert focused(page) == "becomes-3"
    tab_to(page, "Guess anew")
    page.keyboard.press("Enter")
    expect(page.locator("#mp + p")).to_contain_text("Guessed")
    tab_to(page, "Import 2, skip 1 bad")
    page.keyboard.press("Enter")
    expect(page.locator("main").get_by_text("New items: 2. Left out as bad: 1.")).to_be_visible()
    assert project.tasks.count() == 2


def test_the_wizard_needs_no_javascript_and_fits_a_phone(open_page: Open, work: tuple[Project, User, Path]) -> None:
    project, lead, path = work
    page = open_page(lead, f"/projects/{project.slug}/import/", phone=True, java_script_enabled=False)
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Check the file").click()
    page.locator("#becomes-3").select_option("tag")
    page.get_by_role("button", name="Check again").click()
    expect(page.locator("#mp + p")).to_have_text("As you said it, change any")
    page.get_by_role("button", name="Guess anew").click()
    page.get_by_role("link", name="Row after").click()
    expect(page.get_by_text("2 of the first 2")).to_be_visible()
    page.get_by_role("button", name="Import 2, skip 1 bad").click()
    expect(page.locator("main").get_by_text("New items: 2.")).to_be_visible()
    assert project.tasks.count() == 2
