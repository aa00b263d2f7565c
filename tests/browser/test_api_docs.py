"""The API's documentation as a reader drives it: by the filter, by keys, by an address, and without a script."""

import pytest
from playwright.sync_api import expect

from tests import factories
from tests.browser.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_folder")]
PAGE = "/api/v1/docs/"


def test_the_filter_narrows_the_list_as_one_types(open_page: Open) -> None:
    page = open_page(factories.user(), PAGE)
    shown = page.locator(".operation:visible")
    everything = shown.count()
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("post invitations")
    expect(shown).to_have_count(1)
    expect(shown).to_contain_text("/api/v1/projects/{slug}/invitations/")
    expect(page.locator("#shown")).to_have_text("1 operation")
    expect(page.locator("[data-subject]:visible h2")).to_have_text(["People"])
    page.locator("#filter").fill("skip_limit")  # the name of a field, in operations that are closed
    expect(page.locator("#projects_create")).to_be_visible()
    expect(page.locator("#admins_list")).to_be_hidden()
    page.locator("#filter").fill("no-such-word")
    expect(page.locator("#nothing")).to_be_visible()
    page.locator("#filter").fill("")
    expect(shown).to_have_count(everything)


def test_an_address_opens_its_operation_and_keys_open_the_next(open_page: Open) -> None:
    page = open_page(factories.user(), f"{PAGE}#projects_create")
    expect(page.locator(".operation[open]")).to_have_attribute("id", "projects_create")
    expect(page.locator("#projects_create > summary")).to_be_in_viewport()
    page.locator("#filter").fill("admins")
    page.evaluate("location.hash = 'runs_log'")  # a link to what the filter hides takes the filter away
    expect(page.locator("#runs_log")).to_have_attribute("open", "")
    expect(page.locator("#filter")).to_have_value("")
    page.locator("#projects_list > summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#curl-projects_list")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Link to projects_list", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#say")).to_contain_text("Cop")  # copied, or told that the browser forbids it


def test_without_a_script_the_list_is_whole(open_page: Open) -> None:
    page = open_page(factories.user(), PAGE, java_script_enabled=False)
    expect(page.locator("#filter")).to_be_hidden()
    page.locator("#projects_list > summary").click()
    expect(page.locator("#curl-projects_list")).to_be_visible()
    assert page.locator(".operation").count() > 70
