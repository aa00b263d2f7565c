"""Where a model or a snapshot comes from and what it made, as columns of boxes with the lines between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from annotation.templatetags.hone import compact
from rlhf import figures
from rlhf.forests import connectors
from rlhf.models import Model, Run, Snapshot


@dataclass(frozen=True)
class Node:
    name: str
    words: str
    href: str = ""
    css: str = ""  # on: the thing itself; later: not there yet


@dataclass
class Column:
    """Boxes under a heading, and the lines to the next column as pairs of places."""

    title: str
    nodes: list[Node]
    links: list[tuple[int, int]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def family_of(model: Model) -> list[Column]:
    """Judgements, snapshots, what went in, the run, the model, and what it made since; empty columns are left out."""
    run = model.run
    columns: list[Column] = []
    if run:
        data = figures.snapshot_behind(model)
        inputs = _inputs(run)
        if data:
            columns.append(_judgments(data))
        if data and run.reward_model:
            columns.append(Column(gettext("Snapshot"), [_snapshot(data)], links=[(0, 0)]))
        elif data:
            inputs.insert(0, _snapshot(data))
            columns[-1].links = [(0, 0)]
        if inputs:
            columns.append(Column(gettext("Went in"), inputs))
        columns.append(
            Column(
                gettext("Run"),
                [Node(run.name, f"{gettext(run.get_kind_display())}, {_steps(run.step)}", run.get_absolute_url())],
            )
        )
    weights = gettext("Adapter") if model.is_adapter else gettext("Full weights")
    words = f"{weights}, {model.sha256[:6]}"
    columns.append(Column(gettext("This model"), [Node(model.name, words, css="on")]))
    made = [*model.children.all()[:3]]
    rewarded = [run.model for run in model.runs_rewarded.select_related("model")[:6] if hasattr(run, "model")][:3]
    since = [Node(one.name, gettext("Starts from it"), one.get_absolute_url()) for one in made]
    since += [
        Node(one.name, gettext("Learned from its scores"), one.get_absolute_url())
        for one in rewarded
        if one not in made
    ]
    if since:
        columns.append(Column(gettext("Made since"), since[:4]))
    return joined(columns)


def family_of_snapshot(snapshot: Snapshot) -> list[Column]:
    """The judgements behind a snapshot, what was trained on it, and what that guides."""
    columns = [_judgments(snapshot), Column(gettext("This snapshot"), [_snapshot(snapshot, css="on")])]
    runs = list(snapshot.runs.select_related("model", "project").order_by("pk")[:4])
    if runs:
        columns.append(Column(gettext("Trained"), [_run(run) for run in runs]))
        guided = [
            (place, guide)
            for place, run in enumerate(runs)
            if hasattr(run, "model")
            for guide in run.model.runs_rewarded.select_related("project")[:2]
        ]
        if guided:
            columns[-1].links = [(place, index) for index, (place, _) in enumerate(guided)]
            columns.append(Column(gettext("Guides"), [_run(run) for _, run in guided]))
    return joined(columns)


def joined(columns: list[Column]) -> list[Column]:
    """The columns with their lines: every box to every box of the next column unless the column says which."""
    for left, right in itertools.pairwise(columns):
        every = [(i, j) for i in range(len(left.nodes)) for j in range(len(right.nodes))]
        left.paths = connectors(left.links or every, len(left.nodes), len(right.nodes))
    return columns


def _judgments(snapshot: Snapshot) -> Column:
    counts = snapshot.counts
    people, judgments = counts.get("annotators") or 0, counts.get("annotations") or 0
    words = ngettext("%(count)s annotator", "%(count)s annotators", people) % {"count": compact(people)}
    if snapshot.simulated_share:
        words = figures.simulated_words(snapshot.simulated_share)
    href = reverse("annotation:project", args=[snapshot.project.slug])
    title = ngettext("%(count)s judgment", "%(count)s judgments", judgments) % {"count": compact(judgments)}
    return Column(gettext("Judgments"), [Node(title, words, href)])


def _steps(number: int | None) -> str:
    return ngettext("%(count)s step", "%(count)s steps", number or 0) % {"count": compact(number)}


def _rows(number: int) -> str:
    return ngettext("%(count)s row", "%(count)s rows", number) % {"count": compact(number)}


def _snapshot(snapshot: Snapshot, css: str = "") -> Node:
    rows = (snapshot.counts.get("train") or 0) + (snapshot.counts.get("eval") or 0)
    href = "" if css else snapshot.get_absolute_url()
    return Node(str(snapshot), f"{_rows(rows)}, {snapshot.content_hash[:6]}", href, css)


def _run(run: Run) -> Node:
    if run.is_ended and hasattr(run, "model"):
        return Node(run.model.name, gettext(run.get_kind_display()), run.model.get_absolute_url())
    return Node(
        run.name,
        f"{gettext(run.get_kind_display())}, {gettext(run.get_state_display()).lower()}",
        run.get_absolute_url(),
        "later",
    )


def _inputs(run: Run) -> list[Node]:
    """Models that went in, the reward first because the line from the judgements ends there; then prompts."""
    found = []
    if run.reward_model:
        found.append(Node(run.reward_model.name, gettext("The reward"), run.reward_model.get_absolute_url()))
    if run.start_model:
        found.append(Node(run.start_model.name, gettext("The start"), run.start_model.get_absolute_url()))
    if run.reward_model and run.snapshot:
        found.append(Node(str(run.snapshot), gettext("The prompts"), run.snapshot.get_absolute_url()))
    return found
