"""The keys of the judging page: which letter does what, and the list that `?` opens."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_noop

from annotation.models import Kind, Project
from annotation.questions import aspect_keys, flag_keys

POINT_KEYS = "1234567890-"  # by their place on the keyboard: 0 is ten, - is eleven


def key_list(project: Project, questions: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the key list for this kind of project."""
    rows = [(caps, gettext(what)) for caps, what in KEYS[Kind(project.kind)]]
    if project.kind == Kind.RATING:
        most = max((int(aspect.get("points") or 5) for aspect in questions["aspects"]), default=5)
        rows[0] = (["1", "…", POINT_KEYS[most - 1]], rows[0][1])
    if project.kind == Kind.PREFERENCE:
        keys = aspect_keys(questions)
        rows += [
            ([keys[a["name"]].upper()], gettext("%(aspect)s: A, same, B, none") % {"aspect": a["label"]})
            for a in questions["aspects"]
        ]
        rows += [(["Z"], gettext("Both bad"))] if questions["both_bad"] else []
        rows += [(["I"], gettext("Improve the winner"))] if questions["improve"] else []
    if project.kind == Kind.RATING and any(aspect.get("answer") == "thumbs" for aspect in questions["aspects"]):
        rows += [(["Y"], gettext("Thumbs up")), (["N"], gettext("Thumbs down"))]
    if questions["rationale"] != "off" or questions["reasons"]:
        rows += [(["R"], gettext("Say why, then a digit") if questions["reasons"] else gettext("Write a comment"))]
    if questions["reasons"] and questions["rationale"] != "off":
        rows += [(["R", "R"], gettext("Write why"))]
    if questions["highlights"]:
        rows += [(["H"], gettext("Highlight the selection, or words by arrows; then a digit"))]
    if project.kind != Kind.DEMONSTRATION:
        rows += [(["M"], gettext("Text as it was sent, without formatting"))]
    labels = {flag["name"]: flag["label"] for flag in questions["flags"]}
    rows += [([key.upper()], labels[name]) for name, key in flag_keys(project.kind, questions).items()]
    return [
        {"caps": caps, "what": what} for caps, what in [*rows, *((caps, gettext(what)) for caps, what in COMMON_KEYS)]
    ]


KEYS: dict[Kind, list[tuple[list[str], str]]] = {
    Kind.PREFERENCE: [
        (["1", "…", "7"], gettext_noop("Judge: A much better … B much better")),
        (["Enter"], gettext_noop("Submit")),
        (["D"], gettext_noop("Show differences")),
        (["["], gettext_noop("Go to response A")),
        (["]"], gettext_noop("Go to response B")),
    ],
    Kind.RATING: [
        (list(POINT_KEYS), gettext_noop("Rate the active aspect, go to the next")),
        (["↑", "↓"], gettext_noop("Move between aspects")),
        (["Enter"], gettext_noop("Submit")),
    ],
    Kind.RANKING: [
        (["A", "…", "H"], gettext_noop("Pick up a response")),
        (["1", "…", "8"], gettext_noop("Put it in that place")),
        (["←", "→"], gettext_noop("Move it")),
        (["T"], gettext_noop("Tie with the place before")),
        (["Enter"], gettext_noop("Submit")),
    ],
    Kind.DEMONSTRATION: [
        (["Ctrl", "Enter"], gettext_noop("Submit")),
        (["Ctrl", "S"], gettext_noop("Save now")),
        (["Ctrl", "B"], gettext_noop("Bold")),
        (["Ctrl", "K"], gettext_noop("Link")),
        (["P"], gettext_noop("Preview")),
        (["D"], gettext_noop("Changes to the draft")),
        (["R"], gettext_noop("Back to the editor")),
    ],
}
COMMON_KEYS: list[tuple[list[str], str]] = [
    (["S"], gettext_noop("Skip with a reason")),
    (["U"], gettext_noop("Undo the last judgment")),
    (["G"], gettext_noop("Guidelines")),
    (["Esc"], gettext_noop("Close, or leave a field")),
    (["?"], gettext_noop("This list")),
]
