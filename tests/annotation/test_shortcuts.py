"""Each thing that can be asked has a key of its own, and the list that `?` opens names it."""

from collections import Counter
from typing import Any

import pytest

from annotation.models import Kind, Project
from annotation.questions import MOST_ASPECTS, MOST_FLAGS, aspect_keys, check_questions, default_questions
from annotation.shortcuts import key_list

NAMES = [{"name": f"aspect_{number}", "label": f"Aspect {number}"} for number in range(MOST_ASPECTS)]


@pytest.mark.parametrize("kind", Kind.values)
def test_no_two_things_share_a_key(kind: str) -> None:
    flags = [{"name": f"flag_{number}"} for number in range(MOST_FLAGS)]
    more: dict[str, Any] = {"flags": flags}
    if kind == Kind.PREFERENCE:
        more |= {"aspects": NAMES, "improve": True}
    if kind == Kind.RATING:
        more["aspects"] = [{"name": "keep", "answer": "thumbs"}, {"name": "clear", "points": 11}]
    questions = default_questions(kind) | check_questions(kind, more)
    rows = key_list(Project(kind=kind), questions)
    single = [row["caps"][0] for row in rows if len(row["caps"]) == 1]
    shared = {cap for cap, times in Counter(single).items() if times > 1}
    assert not shared
    flagged = {row["caps"][0] for row in rows if row["what"].startswith("Flag ")}
    assert len(flagged) == MOST_FLAGS and not (kind == Kind.RANKING and flagged & {*"ABCDEFGH"})
    if kind == Kind.PREFERENCE:
        keys = aspect_keys(questions)
        assert len(set(keys.values())) == MOST_ASPECTS
        said = {row["what"]: row["caps"] for row in rows}
        assert said["Aspect 11: A, same, B, none"] == [keys["aspect_11"].upper()]
        assert not {*keys.values()} & {*"zxcdmshrugi"}
    if kind == Kind.RATING:
        assert rows[0]["caps"] == ["1", "…", "-"]
