"""The pages in another language: nothing a reader sees is left in English."""

import ast
import gettext
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from django.utils.translation import trans_real

from annotation import access, discussing, judging, queue, words
from annotation.models import Annotation, Role, User
from tests import factories
from tests.annotation import casts

pytestmark = pytest.mark.django_db

SPOKEN = ("aria-label", "placeholder", "title", "alt", "data-label")
UNSPOKEN = {"script", "style", "kbd", "code", "svg"}
OWN_NAMES = {"Hone", "Markdown", "Ctrl", "Enter", "Esc", "API", "A", "B"}


PAGES = ["/account/", "/inbox/", "/projects/new/", "/my-work/", "/"]
OF_A_PROJECT = ["", "settings/", "people/", "import/", "queue/", "review/", "judgments/"]
FILES = {"sft", "preference", "binary", "raw", "jsonl", "csv", "parquet", "datasets", "label", "studio", "argilla"}
FORMATS = {
    "json",
    "tsv",
    "hone",
    "raw",
    "ultrafeedback",
    "sharegpt",
    "trl",
    "pairs",
    "binary",
    "hh",
    "messages",
    "alpaca",
}
FORMATS |= {"ranking", "texts", "steps", "mt", "bench", "batch", "may"}  # of files, and an example of metadata


class Brackets(gettext.NullTranslations):
    """A language in which every text is itself in brackets."""

    _catalog: dict[str, str] = {"Draft saved": "[Draft saved]"}

    @staticmethod
    def plural(n: int) -> int:
        return int(n != 1)

    def gettext(self, message: str) -> str:
        return f"[{message}]"

    def ngettext(self, one: str, many: str, n: int) -> str:
        return f"[{one if n == 1 else many}]"

    def language(self) -> str:
        return "eo"

    to_language = language


class Text(HTMLParser):
    """Everything a reader hears or sees of a page, and what a chart says of the place under the pointer."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.said: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSPOKEN or (tag == "title" and self.inside):
            self.inside.append(tag)
        self.said += [value for name, value in attrs if name in SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside or self.inside[-1] == "title":
            self.said.append(data)


@pytest.fixture
def brackets(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The site in brackets, for a browser that asks for Esperanto."""
    settings.LANGUAGES = [("en", "English"), ("eo", "Esperanto")]
    monkeypatch.setitem(trans_real._translations, "eo", Brackets())
    monkeypatch.setattr(words, "DjangoTranslation", lambda *_, **__: Brackets())
    words._catalog.cache_clear()
    yield
    words._catalog.cache_clear()


def left_in_english(html: str, names: set[str]) -> list[str]:
    """The texts of a page with words outside of brackets that are nobody's name; a sentence may have tags in it."""
    rest = "\n".join(" ".join(said.split()) for said in Text(html).said)
    while (shorter := re.sub(r"\[[^\[\]]*\]", " ", rest)) != rest:
        rest = shorter
    for name in names:
        rest = rest.replace(name, " ")
    known = OWN_NAMES | FILES | FORMATS
    return [said.strip() for said in rest.split("\n") if set(re.findall(r"[A-Za-z]{2,}", said)) - known]


@pytest.mark.parametrize("kind", ["preference", "ranking", "rating", "demonstration"])
def test_the_judging_page_is_wholly_in_the_readers_language(client: Client, brackets: None, kind: str) -> None:
    questions: dict[str, Any] = {"improve": True} if kind == "preference" else {}
    if kind == "rating":
        questions = {"level": "turn"}
    project = factories.project(kind=kind, name="Ω", question="", questions=questions)
    factories.task(project, responses=["1"] if kind in ("rating", "demonstration") else ["1", "2"])
    person = factories.member(project)
    client.force_login(person)
    names = {person.username, project.slug, *(turn["content"] for turn in project.tasks.get().prompt)}
    html = client.get(f"/projects/{project.slug}/work/", headers={"accept-language": "eo"}).content.decode()
    assert '<html lang="eo"' in html and "[Keyboard shortcuts]" in html and '"Draft saved"' in html
    assert left_in_english(html, names) == []
    if kind == "preference":
        html = client.get(f"/projects/{project.slug}/work/", headers={"accept-language": "fr"}).content.decode()
        assert '<html lang="en"' in html and ">Keyboard shortcuts<" in html


def test_the_other_pages_of_a_labeling_project_are_too(client: Client, brackets: None) -> None:
    cache.clear()
    project = casts.judged([{"zoe": "a", "kai": "b"}, {"zoe": "a", "kai": "a"}], name="Ω", question="", overlap=3)
    person = factories.member(project, Role.MANAGER)
    project.write_guidelines("1")
    project.write_guidelines("2")
    held = queue.lease_next(project, person)
    assert held is not None
    judging.submit(held.task, person, {"choice": "a"})
    discussing.say(access.task_for(person, held.task_id), person, "?")
    task = project.tasks.order_by("pk")[0]
    names = {person.username, person.label, project.slug, f"{timezone.now():%b}"}
    names |= {"zoe", "kai", "ZO", "KA", "m1", "m2", "short", "longer one"}
    found = {}
    anonymous = client.get("/login/", headers={"accept-language": "eo"}).content.decode()
    found["login"] = left_in_english(anonymous, names)
    client.force_login(person)
    paths = [*PAGES, *[f"/projects/{project.slug}/{page}" for page in OF_A_PROJECT], f"/tasks/{task.pk}/review/"]
    for page in [*paths, f"/tasks/{held.task_id}/talk/", f"/projects/{project.slug}/guidelines/2/"]:
        answer = client.get(page, headers={"accept-language": "eo"}, follow=True)
        assert answer.status_code == 200, page
        found[page] = left_in_english(answer.content.decode(), names)
    assert "\n".join(f"{page} {text}" for page, texts in found.items() for text in texts) == ""


def test_the_charts_of_a_lead_and_of_a_judge_are_too(client: Client, brackets: None) -> None:
    cache.clear()
    casts_of_it = [{"zoe": "a", "kai": "a", "lou": "a"}, {"zoe": "a", "kai": "b"}, {"zoe": "b", "kai": "b"}]
    project = casts.judged([*casts_of_it, *casts_of_it, *casts_of_it], name="Ω", question="", overlap=3)
    project.write_guidelines("1")
    project.write_guidelines("2")
    for days, annotation in enumerate(Annotation.objects.filter(project=project)):
        flagged = annotation.body | {"flags": ["unclear"]}
        Annotation.objects.filter(pk=annotation.pk).update(
            created_at=timezone.now() - timedelta(days=days % 18), body=flagged
        )
    project.guideline_versions.update(created_at=timezone.now() - timedelta(days=3))
    person = factories.member(project, Role.MANAGER)
    names = {person.username, project.slug, "zoe", "kai", "lou", "ZO", "KA", "LO", "m1", "m2", "short", "longer one"}
    names |= {f"{timezone.now() - timedelta(days=days):%b}" for days in range(40)}
    client.force_login(person)
    page = client.get(f"/projects/{project.slug}/", headers={"accept-language": "eo"}).content.decode()
    assert "[Agreement by day]" in page and "flagged or skipped]" in page and "[guidelines v2]" in page
    assert left_in_english(page, names) == []
    client.force_login(User.objects.get(username="zoe"))
    page = client.get("/my-work/", headers={"accept-language": "eo"}).content.decode()
    assert left_in_english(page, names) == []


def test_no_template_hands_on_words_that_translators_never_see() -> None:
    left = []
    for path in sorted((Path(words.__file__).parent.parent / "templates").glob("**/*.html")):
        for tag in re.findall(r"{%.*?%}|{{.*?}}", path.read_text()):
            given = re.findall(r"""(?:=|\b(?:default|default_if_none|add|yesno):)(["'])(.*?)\1""", tag)
            left += [f"{path.name} {said}" for _, said in given if re.match("[A-Z][a-z]", said) or " " in said.strip()]
    assert left == []


# Said in English alone: import reports and what a worker keeps, which does not know its reader's language; commands;
# and what files say, which are the same to the byte whoever asks.
SAID_ELSEWHERE = {"annotation/reading", "annotation/shapes", "annotation/management", "rlhf/management", "rlhf/demo"}
SAID_IN_ENGLISH = {
    *("annotation/importing.py", "annotation/incoming.py", "annotation/jobs.py", "annotation/mapping.py"),
    *(
        "annotation/aggregation.py",
        "annotation/outcomes.py",
        "annotation/raters.py",
        "annotation/records.py",
        "annotation/revising.py",
        "annotation/saved_datasets.py",
    ),
    *("rlhf/arguments.py", "rlhf/following.py", "rlhf/launcher.py"),
    *("rlhf/ready_engine.py", "rlhf/serving.py", "rlhf/supervisor.py"),
}
OF_PROGRAMS = {"ValueError", "TypeError", "RuntimeError", "LookupError", "AssertionError", "Project.DoesNotExist"}


def test_every_refusal_that_a_person_reads_can_be_translated() -> None:
    root = Path(words.__file__).parent.parent
    left, looked_at = [], 0
    for path in sorted([*root.glob("annotation/**/*.py"), *root.glob("rlhf/**/*.py")]):
        name = str(path.relative_to(root))
        if name in SAID_IN_ENGLISH or any(name.startswith(one) for one in SAID_ELSEWHERE):
            continue
        for raised in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)):
            call = raised.exc
            if not isinstance(call, ast.Call) or ast.unparse(call.func) in OF_PROGRAMS:
                continue
            looked_at += 1
            said = [value for one in call.args for value in (one.values if isinstance(one, ast.Dict) else [one])]
            texts = [one for value in said for one in (value.elts if isinstance(value, ast.List) else [value])]
            sentences = [ast.unparse(one) for one in texts if isinstance(one, ast.Constant | ast.JoinedStr)]
            spoken = [one for one in sentences if " " in one and re.search("[a-z]{2}", re.sub(r"{.*?}", "", one))]
            left += [f"{name}:{raised.lineno} {sentence}" for sentence in spoken]
    assert looked_at > 200 and left == []


@pytest.mark.skipif(not shutil.which("xgettext"), reason="GNU gettext is not installed")
def test_what_scripts_say_reaches_translators_and_their_words_reach_the_page(client, settings, tmp_path) -> None:
    scripts = sorted((Path(words.__file__).parent.parent / "static" / "js").glob("*.mjs"))
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    # As `makemessages --domain djangojs --extension mjs` calls it.
    asked = ["xgettext", "--language=JavaScript", "--from-code=UTF-8", "--no-wrap", "--output=-", *map(str, scripts)]
    template = subprocess.run(asked, capture_output=True, check=True, text=True).stdout
    known = {json.loads(one) for one in re.findall(r'^msgid (".+")$', template, re.M)}
    said = {text for path in scripts for text in re.findall(r"\bn?gettext\('((?:[^'\\]|\\.)+)'", path.read_text())}
    assert len(said) > 60 and said - known == set()
    unsaid = [path.name for path in scripts if re.search(r"\bn?gettext\([^'\"\s]", path.read_text())]
    assert unsaid == ["words.mjs"]  # which defines them; anywhere else a text must stand where it is looked for

    in_german = 'msgid "Draft saved"\nmsgstr "Entwurf gesichert"\n'
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'
    (folder / "djangojs.po").write_text(header + in_german)
    subprocess.run(["msgfmt", "-o", folder / "djangojs.mo", folder / "djangojs.po"], check=True)
    settings.LOCALE_PATHS, settings.LANGUAGES = [tmp_path], [("en", "English"), ("de", "Deutsch")]
    words._catalog.cache_clear()
    project = factories.project()
    client.force_login(factories.member(project))
    page = client.get(f"/projects/{project.slug}/work/", headers={"accept-language": "de"}).content.decode()
    words._catalog.cache_clear()
    told = json.loads(re.search(r'<script id="words" type="application/json">(.*?)</script>', page)[1])
    assert told["catalog"]["Draft saved"] == "Entwurf gesichert" and told["plurals"][:3] == [1, 0, 1]
