"""The house keeps its own rules: what imports what, what loads torch, and what the README promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent


def test_the_web_never_loads_torch_nor_what_computes_agreement() -> None:
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings';"
        "import django; django.setup(); import config.urls, config.wsgi, rlhf.worker, rlhf.rounds; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "peft", "trl", "datasets"}
    assert "annotation.quality.reports" in loaded
    assert not loaded & {f"annotation.quality.{name}" for name in ("measures", "votes", "report")}


def test_imports_go_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.django_db
def test_the_migrations_lead_to_the_models() -> None:
    call_command("makemigrations", "annotation", "rlhf", check=True, dry_run=True, verbosity=0)


def test_every_make_target_of_the_readme_exists() -> None:
    promised = set(re.findall(r"^\s*make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert promised and promised <= targets


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_every_link_in_the_documentation_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_every_setting_that_is_read_is_documented() -> None:
    read = set()
    for path in (ROOT / "config").glob("*.py"):
        read |= set(re.findall(r'environment\.(?:text|flag|number|names)\(\s*"([A-Z_]+)"', path.read_text()))
    documented = (ROOT / "docs" / "settings.md").read_text()
    assert read and [name for name in sorted(read) if f"`{name}`" not in documented] == []


def test_no_page_carries_an_inline_style_or_script() -> None:
    guilty = [
        path.relative_to(ROOT)
        for path in (ROOT / "templates").rglob("*.html")
        if re.search(r"<script(?![^>]*\bsrc=)[^>]*>|\sstyle=|\son[a-z]+=", path.read_text())
    ]
    assert guilty == []


def test_no_template_is_longer_than_a_sitting() -> None:
    long = [path.name for path in (ROOT / "templates").rglob("*.html") if len(path.read_text().splitlines()) > 120]
    assert long == []
