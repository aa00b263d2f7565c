"""One annotator in a real Chromium, and what the page says about its own speed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright

# From a key that submits to the frame in which the next item stands: the second animation frame after the change
# begins when the first has been painted. Long tasks are those over 50 ms, as the browser reports them.
WATCH = """
(() => {
  window.seen = { next: [], tasks: [], ahead: [], readable: 0 };
  let pressed = 0, task = '';
  addEventListener('keydown', event => {
    if (/^[1-7]$/.test(event.key)) { pressed = event.timeStamp; task = document.querySelector('#item')?.dataset.task; }
  }, true);
  new MutationObserver(() => {
    const now = document.querySelector('#item')?.dataset.task;
    if (!pressed || now === task) return;
    const began = pressed;
    pressed = 0;
    requestAnimationFrame(() => requestAnimationFrame(() => seen.next.push(performance.now() - began)));
  }).observe(document, { childList: true, subtree: true });
  const watch = (type, take) => {
    new PerformanceObserver(list => list.getEntries().forEach(take)).observe({ type, buffered: true });
  };
  watch('longtask', entry => seen.tasks.push(entry.duration));
  watch('largest-contentful-paint', entry => { seen.readable = entry.startTime; });
  watch('resource', entry => {
    if (/\\/(ahead|judge)\\//.test(entry.name)) seen.ahead.push(entry.responseEnd - entry.startTime);
  });
})();
"""
# Asked once: to ask again and again from outside would take time of the page that is measured.
SHOWN = """before => new Promise(done => {
  const look = () => (seen.next.length > before ? done() : setTimeout(look, 20));
  look();
})"""
QUIET = 270  # ms after a new item in which the page takes no keys, and a little


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Visit:
    """The judging page of one project in a browser profile of its own, opened at once."""

    def __init__(self, browser: Browser, origin: str, session: str, slug: str) -> None:
        self.context = browser.new_context(base_url=origin, viewport={"width": 1440, "height": 900})
        self.context.add_cookies([{"name": "sessionid", "value": session, "url": origin}])
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.path, self.bytes = f"/projects/{slug}/work/", 0.0
        wire = self.context.new_cdp_session(self.page)
        wire.on("Network.loadingFinished", self._arrived)
        wire.send("Network.enable")
        self.open()

    def _arrived(self, told: dict[str, Any]) -> None:
        self.bytes += told["encodedDataLength"]

    def open(self) -> None:
        """The page loaded, and the next item fetched ahead."""
        self.page.goto(self.path, wait_until="load")
        self._until("seen.ahead.length")
        self.settle()

    def _until(self, what: str) -> None:
        """Asks from outside: the page's own policy forbids what the library would do inside."""
        while not self.page.evaluate(what):
            self.page.wait_for_timeout(20)

    def settle(self) -> None:
        self.page.wait_for_timeout(300)

    def readable_s(self) -> float:
        return float(self.page.evaluate("seen.readable")) / 1000

    def kb(self) -> float:
        """What came over the wire since the last time this was asked, headers and all."""
        arrived, self.bytes = self.bytes / 1000, 0.0
        return arrived

    def take(self, name: str) -> list[float]:
        """The times in ms that the page kept under `name` so far, which it forgets."""
        return list(self.page.evaluate(f"seen.{name}.splice(0)"))

    def judge(self, key: str, pause: float) -> None:
        """Read for `pause` seconds, press one key, and wait until the next item is there and takes keys."""
        self.page.wait_for_timeout(QUIET + 1000 * pause)
        before = self.page.evaluate("seen.next.length")
        self.page.keyboard.press(key)
        self.page.evaluate(SHOWN, before)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(150)

    def scroll(self) -> None:
        """Both responses to their ends, as a wheel does it."""
        for box in self.page.locator(".resp").all():
            box.hover()
            for _ in range(25):
                self.page.mouse.wheel(0, 900)
                self.page.wait_for_timeout(30)

    def close(self) -> None:
        self.context.close()
