"""The keys of the judging page: which letter does what, and the list that `?` opens."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from annotation.models import Kind, Project
from annotation.questions import aspect_keys, flag_keys


def key_list(project: Project, questions: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the key list for this kind of project."""
    rows = list(KEYS[Kind(project.kind)])
    if project.kind == Kind.PREFERENCE:
        keys = aspect_keys(questions)
        rows += [
            ([keys[a["name"]].upper()], f"{a['label']}: A, same, B, none")
            for a in questions["aspects"]
            if a["name"] in keys
        ]
        rows += [(["Z"], "Both bad")] if questions["both_bad"] else []
        rows += [(["I"], "Improve the winner")] if questions["improve"] else []
    if project.kind == Kind.RATING and any(aspect.get("answer") == "thumbs" for aspect in questions["aspects"]):
        rows += [(["Y"], "Thumbs up"), (["N"], "Thumbs down")]
    if questions["rationale"] != "off" or questions["reasons"]:
        rows += [(["R"], "Say why, then a digit" if questions["reasons"] else "Write a comment")]
    if questions["reasons"] and questions["rationale"] != "off":
        rows += [(["R", "R"], "Write why")]
    if questions["highlights"]:
        rows += [(["H"], "Highlight the selection, or words by arrows; then a digit")]
    if project.kind != Kind.DEMONSTRATION:
        rows += [(["M"], "Text as it was sent, without formatting")]
    labels = {flag["name"]: flag["label"] for flag in questions["flags"]}
    rows += [([key.upper()], labels[name]) for name, key in free_flag_keys(project.kind, questions).items()]
    return [{"caps": caps, "what": what} for caps, what in rows + COMMON_KEYS]


KEYS: dict[Kind, list[tuple[list[str], str]]] = {
    Kind.PREFERENCE: [
        (["1", "…", "7"], "Judge: A much better … B much better"),
        (["Enter"], "Submit"),
        (["D"], "Show differences"),
        (["["], "Go to response A"),
        (["]"], "Go to response B"),
    ],
    Kind.RATING: [
        (["1", "…", "9"], "Rate the active aspect, go to the next"),
        (["↑", "↓"], "Move between aspects"),
        (["Enter"], "Submit"),
    ],
    Kind.RANKING: [
        (["A", "…", "H"], "Pick up a response"),
        (["1", "…", "8"], "Put it in that place"),
        (["←", "→"], "Move it"),
        (["T"], "Tie with the place before"),
        (["Enter"], "Submit"),
    ],
    Kind.DEMONSTRATION: [
        (["Ctrl", "Enter"], "Submit"),
        (["Ctrl", "S"], "Save now"),
        (["Ctrl", "B"], "Bold"),
        (["Ctrl", "K"], "Link"),
        (["P"], "Preview"),
        (["D"], "Changes to the draft"),
        (["R"], "Back to the editor"),
    ],
}
COMMON_KEYS: list[tuple[list[str], str]] = [
    (["S"], "Skip with a reason"),
    (["U"], "Undo the last judgment"),
    (["G"], "Guidelines"),
    (["Esc"], "Close, or leave a field"),
    (["?"], "This list"),
]


def free_flag_keys(kind: str, questions: dict[str, Any]) -> dict[str, str]:
    """The flags' keys, without those that pick up a response where responses are ranked."""
    taken = ascii_lowercase[:8] if kind == Kind.RANKING else ""
    return {name: key for name, key in flag_keys(questions).items() if key not in taken}
