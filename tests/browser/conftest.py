"""A real Chromium on a live server. Where there is none these tests skip, and say so."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from annotation import sealing
from annotation.models import User
from annotation.sealing import Of

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}

PATIENCE = 60_000  # ms: a busy machine is slow, and slowness is not what these tests are about
expect.set_options(timeout=PATIENCE)

Open = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        except Error:
            pytest.skip("no Chromium here: install the package chromium, or run `playwright install chromium`")
        yield started
        started.close()


class Seen:
    """What a page complained about: console errors, policy violations, uncaught exceptions."""

    def __init__(self) -> None:
        self.complaints: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        # A refused or dropped request is what some tests are about; the page's own faults never are.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(text)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def open_page(browser: Browser, live_server: Any, seen: Seen) -> Iterator[Open]:
    """open_page(person, path, phone=, …) gives a page with that person signed in; complaints fail the test."""
    contexts = []

    def open_as(person: User, path: str, *, phone: bool = False, **options: Any) -> Page:
        client = Client()
        client.force_login(person)
        context = browser.new_context(
            base_url=live_server.url, viewport=PHONE if phone else DESKTOP, has_touch=phone, is_mobile=phone, **options
        )
        contexts.append(context)
        cookie = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        seen.watch(page)
        page.goto(path)
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert seen.complaints == []


def task_on(page: Page) -> int:
    """The id of the task that the page shows."""
    return sealing.plain(Of.TASK, int(page.locator("#item").get_attribute("data-task") or 0))


def ready(page: Page) -> None:
    """The item shown takes keys and the next one is leased ahead. Not `wait_for_function`, which looks again by an
    eval that the page's policy forbids."""
    page.evaluate("() => new Promise(done => setTimeout(done, Math.max(330, 650 - performance.now())))")
