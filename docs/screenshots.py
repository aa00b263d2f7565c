"""Takes the README's pictures from a running demo: python docs/screenshots.py http://127.0.0.1:8000 admin PASSWORD."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parent / "images"
PAGES = {"judge": "/projects/support-desk/work/", "loop": "/projects/support-desk/loop/"}


def main(address: str, name: str, password: str) -> None:
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.goto(f"{address}/login/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        for picture, path in PAGES.items():
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=IMAGES / f"{picture}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:4])
