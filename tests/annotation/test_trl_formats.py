"""Every type of TRL's datasets, standard and conversational, comes in where a project can judge it, or is refused."""

from pathlib import Path
from typing import Any

import pytest

from annotation import exporting
from annotation.importing import import_records
from annotation.models import Project
from tests import factories

pytestmark = pytest.mark.django_db

ASKED = [{"role": "user", "content": "What color is the sky?"}]
TEXT = [{"role": "user", "content": "The sky is"}]
GOOD_OR_BAD = {"aspects": [{"name": "right", "label": "Right", "points": 2}]}


def answered(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


PAIR = ("chosen", "rejected")
STEPS = {"id": "1", "prompt": "The sky is", "completions": ["blue,", "so green."], "labels": [True, False]}
# kind of project, row, its prompt, its responses, the bodies of its judgements (positions for responses)
TAKEN: dict[str, tuple[str, dict[str, Any], list[Any], list[str], list[dict[str, Any]]]] = {
    "language modeling, conversational": (
        "demonstration", {"messages": ASKED + answered("Blue.")}, ASKED, [], [{"text": "Blue."}],
    ),
    "prompt only": ("demonstration", {"prompt": "The sky is"}, TEXT, [], []),
    "prompt only, conversational": ("demonstration", {"prompt": ASKED}, ASKED, [], []),
    "prompt and completion": (
        "demonstration", {"prompt": "The sky is", "completion": " blue."}, TEXT, [], [{"text": " blue."}],
    ),
    "prompt and completion, conversational": (
        "demonstration", {"prompt": ASKED, "completion": answered("Blue.")}, ASKED, [], [{"text": "Blue."}],
    ),
    "preference": (
        "preference", {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
        TEXT, [" blue.", " green."], [{"choice": 0}],
    ),
    "preference, conversational": (
        "preference", {"prompt": ASKED, "chosen": answered("Blue."), "rejected": answered("Green.")},
        ASKED, ["Blue.", "Green."], [{"choice": 0}],
    ),
    "preference, implicit prompt": (
        "preference", {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        TEXT, [" blue.", " green."], [{"choice": 0}],
    ),
    "preference, implicit prompt, conversational": (
        "preference", {"chosen": ASKED + answered("Blue."), "rejected": ASKED + answered("Green.")},
        ASKED, ["Blue.", "Green."], [{"choice": 0}],
    ),
    "unpaired preference": (
        "rating", {"prompt": "The sky is", "completion": " blue.", "label": True},
        TEXT, [" blue."], [{"ratings": {"right": 2}}],
    ),
    "unpaired preference, conversational": (
        "rating", {"prompt": ASKED, "completion": answered("Green."), "label": False},
        ASKED, ["Green."], [{"ratings": {"right": 1}}],
    ),
    "stepwise supervision, all right": (
        "demonstration", STEPS | {"labels": [True, True]}, TEXT, [], [{"text": "blue,\nso green."}],
    ),
    "stepwise supervision, a wrong step": ("demonstration", STEPS, TEXT, ["blue,\nso green."], []),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_a_type_of_trl_s_becomes_what_the_project_judges(name: str) -> None:
    kind, row, prompt, responses, bodies = TAKEN[name]
    project = factories.project(kind, questions=GOOD_OR_BAD if kind == "rating" else {})
    report = import_records(project, [row], format="trl-texts" if name == "preference, implicit prompt" else None)
    assert report.applied and report.annotations == len(bodies), report.bad
    task = project.tasks.get()
    places = {pk: place for place, pk in enumerate(task.responses.order_by("position").values_list("pk", flat=True))}
    assert (task.prompt, [one.text for one in task.responses.order_by("position")]) == (prompt, responses)
    told = [one.body | ({"choice": places[one.body["choice"]]} if "choice" in one.body else {}) for one in judged(task)]
    assert [{key: one[key] for key in body} for one, body in zip(told, bodies, strict=True)] == bodies
    if "labels" in row:
        assert task.metadata == {name: row[name] for name in ("completions", "labels")}


def judged(source: Any) -> Any:
    return source.annotations.order_by("pk")


def rated(tmp_path: Path, format: str) -> Project:
    """A project of right and wrong with the steps of one answer, from a file."""
    project = factories.project("rating", questions=GOOD_OR_BAD)
    rows: Any = [STEPS]
    if format == "csv":
        rows = tmp_path / "steps.csv"
        rows.write_text('id,prompt,completions,labels\n1,The sky is,"[""blue,"", ""so green.""]","[true, false]"\n')
    assert import_records(project, rows).applied
    return project


@pytest.mark.parametrize("format", ["records", "csv"])
def test_each_step_of_an_answer_is_judged_after_those_before_it(format: str, tmp_path: Path) -> None:
    first, second = exporting.rows(rated(tmp_path, format), "binary", threshold=2)
    assert (first["prompt"], first["completion"], first["label"]) == (TEXT, answered("blue,"), True)
    assert (second["prompt"], second["completion"]) == (TEXT + answered("blue,"), answered("so green."))
    assert second["label"] is False


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        ("preference", STEPS, "completions: Are the steps of one answer (TRL's stepwise supervision)"),
        ("ranking", STEPS, "import them into a rating project with one aspect of two points"),
        ("demonstration", {"text": "The sky is blue."}, "TRL's language modeling"),
        ("preference", {"chosen": "The sky is blue.", "rejected": "The sky is green."}, "the format trl-texts"),
        (
            "preference",
            {"prompt": ASKED} | dict.fromkeys(PAIR, answered("x") + ASKED + answered("y")),
            "chosen: Must be text, or a list of one assistant message.",
        ),
    ],
)
def test_what_no_project_of_that_kind_can_judge_is_refused_with_what_to_do(
    kind: str, row: dict[str, Any], words: str
) -> None:
    report = import_records(factories.project(kind), [row])
    assert not report.applied
    assert words in str(report.bad[0])
