"""What the judging page shows of one leased task: rendered texts, the questions with their keys, the saved draft.

Everything comes from `presenting.for_page`, so that the page can show no more than the API tells: no source, model
name, gold mark or caller's id.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop

from annotation import presenting, rendering
from annotation.bodies import LONGEST_DEMONSTRATION
from annotation.models import Assignment, Kind, Pool
from annotation.questions import STEP_LABELS, aspect_keys, flag_keys, step_of
from annotation.shortcuts import POINT_KEYS
from annotation.source_map import source_runs

ROLES = {"system": gettext_noop("System"), "user": gettext_noop("User"), "assistant": gettext_noop("Assistant")}
SHORT = {1: "A+++", 2: "A++", 3: "A+", 4: "=", 5: "B+", 6: "B++", 7: "B+++"}  # the beam on a phone
LONG = 12_000  # characters
TOOLS = (
    ("head", gettext_noop("Heading")),
    ("bold", gettext_noop("Bold")),
    ("list", gettext_noop("List")),
    ("code", gettext_noop("Code")),
    ("table", gettext_noop("Table")),
    ("link", gettext_noop("Link")),
)


@dataclass(frozen=True)
class Side:
    name: str  # "a", "b", …
    id: int
    html: SafeString
    words: int
    start: str  # the first words, for the ladder
    raw: SafeString  # the text as sent
    runs: str = ""  # of annotation.source_map, where words can be highlighted
    place: int | None = None

    @property
    def is_long(self) -> bool:
        """Whether laying all of it out at once would be felt, so that the page does it as it comes into view."""
        return len(self.raw) > LONG

    @property
    def letter(self) -> str:
        return self.name.upper()


@dataclass
class Item:
    """One task on the judging page."""

    task_id: int  # what stands for it
    kind: str
    prompt: list[dict[str, Any]]
    sides: list[Side]
    questions: dict[str, Any]
    answer: dict[str, Any]
    original: str = ""
    changing: bool = False  # an answer that stands already: nothing to lease, skip or keep as a draft
    returned: str = ""  # what the reviewer wrote who sent it back
    qualifying: bool = False  # its person has not started yet, and cannot skip it
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def template(self) -> str:
        return f"annotation/_{self.kind}.html"

    @property
    def form_id(self) -> bool:
        """Whether the dock stands outside the form and its fields must name it."""
        return self.kind in (Kind.RATING, Kind.DEMONSTRATION)

    @property
    def aspects(self) -> list[dict[str, Any]]:
        return self._aspects(self.answer.get("aspects") or self.answer.get("ratings") or {})

    @property
    def rated(self) -> list[dict[str, Any]]:
        """What is rated, one group of scales each: the assistant's turns where each is asked for, and the response."""
        groups = [{"title": gettext("Rate each aspect"), "prefix": "rating", "aspects": self.aspects, "turn": ""}]
        if self.questions.get("level") != "turn":
            return groups
        given = self.answer.get("turns") or {}
        turns = [
            {
                "title": gettext("Turn %(number)s, assistant") % {"number": place + 1},
                "prefix": f"turn-{place}",
                "aspects": self._aspects(given.get(str(place)) or {}),
                "turn": str(place),
            }
            for place, turn in enumerate(self.prompt)
            if turn["by"] == "assistant"
        ]
        return [*turns, groups[0] | {"title": gettext("Response")}]

    def _aspects(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        keys = aspect_keys(self.questions) if self.kind == Kind.PREFERENCE else {}
        return [
            _aspect(aspect, given.get(aspect["name"]), keys.get(aspect["name"], ""))
            for aspect in self.questions.get("aspects", [])
        ]

    @property
    def flags(self) -> list[dict[str, Any]]:
        on, keys = self.answer.get("flags") or [], flag_keys(self.kind, self.questions)
        return [
            {**flag, "key": keys.get(flag["name"], "").upper(), "on": flag["name"] in on}
            for flag in self.questions.get("flags", [])
        ]

    @property
    def flags_in_end(self) -> bool:
        return self.kind != Kind.PREFERENCE and bool(self.questions.get("flags"))

    @property
    def rationale(self) -> str:
        asked = str(self.questions.get("rationale", "optional"))
        return "" if asked == "off" else asked

    @property
    def rationale_label(self) -> str:
        why = self.kind in (Kind.PREFERENCE, Kind.RANKING)
        if self.rationale == "required":
            return gettext("Why?") if why else gettext("Comment")
        return gettext("Why? Optional") if why else gettext("Comment, optional")

    @property
    def reasons(self) -> list[dict[str, Any]]:
        chosen = self.answer.get("reasons") or []
        return [{**reason, "on": reason["name"] in chosen} for reason in self.questions.get("reasons", [])]

    @property
    def span_reasons(self) -> list[dict[str, Any]]:
        return list(self.questions.get("highlights", []))

    @property
    def spans(self) -> str:
        """The highlights as the page's hidden field holds them."""
        return json.dumps(self.answer.get("highlights") or [], ensure_ascii=False)

    @property
    def improves(self) -> bool:
        return bool(self.questions.get("improve"))

    @property
    def says_why(self) -> bool:
        """Whether the field for the reason must be filled: it is required and nothing quicker is offered."""
        return self.rationale == "required" and not self.reasons

    @property
    def skip_reasons(self) -> list[str]:
        return list(self.questions.get("skip_reasons") or [gettext("Other reason")])

    @property
    def both_bad(self) -> bool:
        return bool(self.questions.get("both_bad", True))

    @property
    def verdict(self) -> int | str | None:
        """The chosen step, 1 to 7, or "both_bad"."""
        choice = self.answer.get("choice")
        return step_of(choice, int(self.answer.get("strength") or 0)) or "both_bad" if choice else None

    @property
    def steps(self) -> list[dict[str, Any]]:
        chosen, tie = self.verdict, self.questions.get("tie", True)
        return [
            {
                "value": value,
                "label": gettext(label),
                "short": SHORT[value],
                "on": value == chosen,
                "off": value == 4 and not tie,
            }
            for value, label in STEP_LABELS.items()
        ]

    @property
    def points(self) -> int:
        return max((len(aspect["points"]) for aspect in self.aspects), default=5)

    @property
    def last_point_key(self) -> str:
        return POINT_KEYS[self.points - 1]

    @property
    def places(self) -> list[int]:
        return list(range(1, len(self.sides) + 1))

    @property
    def last_letter(self) -> str:
        return self.sides[-1].letter if self.sides else ""

    @property
    def tools(self) -> list[dict[str, str]]:
        return [{"name": name, "label": gettext(label)} for name, label in TOOLS]

    @property
    def limit(self) -> int:
        return LONGEST_DEMONSTRATION

    @property
    def preview(self) -> SafeString:
        return rendering.render_markdown(self.answer.get("text") or "")

    @property
    def changes(self) -> SafeString:
        return rendering.changes(self.original, self.answer.get("text") or "")

    @property
    def words(self) -> int:
        return len(str(self.answer.get("text") or "").split())

    @property
    def tokens(self) -> int:
        return rendering.estimated_tokens(str(self.answer.get("text") or ""))


def of(assignment: Assignment) -> Item:
    """The item that `assignment` leases, as its annotator sees it, with its draft as the answer."""
    found = item(presenting.for_page(assignment))
    found.returned = assignment.returned
    found.qualifying = assignment.task.pool == Pool.QUALIFICATION
    return found


def item(told: dict[str, Any]) -> Item:
    """What is shown of a task in the shape of `presenting.leased_task`."""
    answer = told.get("draft") or {}
    responses, kind = told["responses"], told["kind"]
    texts = [str(response["text"]) for response in responses]
    if kind == Kind.PREFERENCE and len(texts) == 2:
        rendered = list(rendering.difference_marks(*texts))
    else:
        rendered = [rendering.render_markdown(text) for text in texts]
    places = _places(answer.get("ranking"))
    asked = told["questions"]["highlights"]
    sides = [
        Side(
            ascii_lowercase[i],
            response["id"],
            html,
            len(text.split()),
            _start(text),
            rendering.raw(text),
            " ".join(f"{first} {at}" for first, at in source_runs(text)) if asked else "",
            places.get(response["id"]),
        )
        for i, (response, html, text) in enumerate(zip(responses, rendered, texts, strict=True))
    ]
    prompt = [
        {
            "by": turn["role"],
            "role": gettext(ROLES.get(turn["role"], turn["role"])),
            "html": rendering.render_markdown(str(turn["content"])),
        }
        for turn in told["prompt"]
    ]
    drafts = kind == Kind.DEMONSTRATION
    original = texts[0] if drafts and texts else ""
    return Item(told["id"], kind, prompt, [] if drafts else sides, told["questions"], answer, original)


def _aspect(aspect: dict[str, Any], given: Any, key: str) -> dict[str, Any]:
    points = int(aspect.get("points") or 5)
    picks = (("a", "a", "A", "A"), ("tie", "t", "=", gettext("Same")), ("b", "b", "B", "B"))
    return {
        "required": False,
        **aspect,
        "key": key.upper(),
        "points": [{"value": n, "on": given == n} for n in range(1, points + 1)],
        "picks": [
            {"value": value, "short": short, "sign": sign, "label": label, "on": given == value}
            for value, short, sign, label in picks
        ],
    }


def _places(ranking: Any) -> dict[int, int]:
    """{response id: place}, a tie sharing one place, from [[id, …], …]."""
    places: dict[int, int] = {}
    place = 1
    for tied in ranking or []:
        places.update(dict.fromkeys(tied, place))
        place += len(tied)
    return places


def _start(text: str) -> str:
    words = text.split()
    return " ".join(words[:4])
