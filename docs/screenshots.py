"""Takes the pictures of the documentation from a running site.

python docs/screenshots.py ADDRESS NAME PASSWORD [PICTURE=PATH …], such as
python docs/screenshots.py http://127.0.0.1:8000 admin secret annotate-rating=/projects/replies/work/
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parent / "images"
PAGES = {"judge": "/projects/support-desk/work/", "loop": "/projects/support-desk/loop/"}
# What is pressed before a picture is taken, so that it shows a page at work.
PRESSED = {
    "annotate-preference": ["q", "[", "h", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowRight", "4"],
    "annotate-rating": ["4", "5", "h", "Shift+ArrowRight", "Shift+ArrowRight", "4"],
    "annotate-ranking": ["b", "1", "a", "2", "c", "3", "c", "t"],
}
SMALL = {*PRESSED, "annotate-demonstration"}


def take(page: Page, address: str, picture: str, path: str) -> None:
    page.set_viewport_size({"width": 1180, "height": 740} if picture in SMALL else {"width": 1440, "height": 900})
    page.goto(address + path)
    page.wait_for_load_state("networkidle")
    for key in PRESSED.get(picture, []):
        page.keyboard.press(key)
    if page.locator("[data-start]").count():
        page.locator("[data-start]").click()
        page.locator("#text").press("Control+Home")
        page.keyboard.press("Shift+End")
        page.keyboard.type("Take a backup first. Then move the orders to the account you ")
        page.locator("label", has=page.locator("#pane-diff")).click()
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / f"{picture}.png")


def main(address: str, name: str, password: str, *more: str) -> None:
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    pages = dict(one.split("=", 1) for one in more) or PAGES
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(120_000)  # ms: on a busy machine the first page is slow
        page.goto(f"{address}/login/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_load_state()
        for picture, path in pages.items():
            take(page, address, picture, path)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
