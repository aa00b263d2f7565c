"""What the rounds of a project brought, policy by policy, and the line of models from the base to the present one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext, ngettext

from annotation.models import Project
from rlhf import figures
from rlhf.charts import Chart, Point, Series, plot
from rlhf.forests import Forest, forests
from rlhf.models import Model, Round, Run, Snapshot
from rlhf.scales import Axis, percent_words
from rlhf.stages import compared_so_far

RECENT, EARLIER = ("c1", "c2", "c3"), "c4"  # colors of what a KL is measured to; c5 is for rejected policies


@dataclass
class Row:
    """One policy of one round."""

    round: Round
    name: str
    method: str
    judgments: int
    accuracy: figures.Estimate | None
    kl: float | None  # to `reference`, which is not the same for every row
    preferred: figures.Estimate | None
    state: str
    state_label: str
    reference: str = ""
    is_withdrawn: bool = False  # judgements behind it were withdrawn since
    href: str = ""
    rate: dict[str, Any] = field(default_factory=dict)  # as evaluation.win_rates gives it
    forest: Forest | None = None

    @property
    def is_promoted(self) -> bool:
        return self.state == Model.State.PROMOTED


def rows_of(project: Project, withdrawn: Collection[int] = ()) -> list[Row]:
    """The newest round first; under the oldest one the policy it started from, when people compared that too.

    `withdrawn` are the models behind which judgements were withdrawn.
    """
    rounds = list(project.rounds.select_related("start_model", "base_model", "snapshot", "reward_model__run"))
    names = {name for round in rounds for name in compared_so_far(round)}
    models = {model.name: model for model in Model.objects.filter(name__in=names).select_related("run")}
    rows: list[Row] = []
    for round in rounds:
        rows += _rows_of_round(round, models, oldest=round is rounds[-1])
    for row, forest in zip(rows, forests([row.preferred for row in rows]), strict=True):
        row.forest = forest
        row.is_withdrawn = row.name in models and models[row.name].pk in withdrawn
    return rows


def _rows_of_round(round: Round, models: dict[str, Model], *, oldest: bool) -> list[Row]:
    judgments = (round.snapshot.counts.get("annotations") if round.snapshot else 0) or 0
    accuracy = figures.of(round.reward_model).accuracy if round.reward_model else None
    compared = compared_so_far(round)
    made = [name for name in compared if name != round.start_model.name]
    known = round.evaluation.get("policies") or {}
    rows = []
    for name in made:
        model, row = models.get(name), known.get(name) or {}
        kl = figures.estimate(row.get("kl"))
        rows.append(
            Row(
                round=round,
                name=name,
                method=gettext(model.run.get_kind_display()) if model and model.run else "",
                judgments=judgments,
                accuracy=accuracy,
                kl=kl["value"] if kl else None,
                preferred=figures.estimate(compared[name].get("preferred")),
                state=model.state if model else "",
                state_label=gettext(model.get_state_display()) if model else "",
                reference=round.start_model.name,
                href=model.get_absolute_url() if model else "",
                rate=compared[name],
            )
        )
    rows.sort(key=lambda row: -(row.preferred or {}).get("value", 0.0))
    if not rows:
        methods = gettext(" and ").join(entry["kind"].upper() for entry in round.plan.get("policies") or [])
        ended = {
            Round.State.PROMOTED: ("promoted", gettext("Promoted")),
            Round.State.REJECTED: ("rejected", gettext("Rejected")),
            Round.State.ABANDONED: ("rejected", gettext("Abandoned")),
        }
        state, label = ended.get(Round.State(round.state), ("running", gettext("Running")))
        rows = [Row(round, "", methods, judgments, accuracy, None, None, state, label)]
    start = compared.get(round.start_model.name)
    if oldest and start and round.start_model != round.base_model:
        rows.append(_start_row(round, start, known))
    return rows


def _start_row(round: Round, compared: dict[str, Any], known: dict[str, Any]) -> Row:
    start = round.start_model
    kl = figures.estimate((known.get(start.name) or {}).get("kl"))
    return Row(
        round=round,
        name=start.name,
        method=gettext(start.run.get_kind_display()) if start.run else "",
        judgments=0,
        accuracy=None,
        kl=kl["value"] if kl else None,
        preferred=figures.estimate(compared.get("preferred")),
        state=start.state,
        state_label=gettext("Start") if start.state == Model.State.CANDIDATE else gettext(start.get_state_display()),
        reference=round.base_model.name,
        href=start.get_absolute_url(),
        rate=compared,
    )


def bought(rows: list[Row]) -> Chart:
    """Win rate over the base against the KL it cost, one point a policy; those with a KL to the same model are joined.

    A KL says how far a policy is from what it was trained from, so those of different rounds do not lie on one line.
    """
    shown = [row for row in rows if row.kl is not None and row.preferred]
    colors = _colors(shown)
    points = [_point(row, colors[row.reference]) for row in shown]
    joined = {
        reference: sorted(
            (point.x, point.y) for row, point in zip(shown, points, strict=True) if _joins(row, reference)
        )
        for reference, color in colors.items()
        if color != EARLIER
    }
    best = max(points, key=lambda point: point.y, default=None)
    subtitle = gettext("Win rate against KL")
    if len(colors) == 1:
        subtitle = gettext("Win rate against KL to %(model)s") % {"model": next(iter(colors))}
    chart = plot(
        "bought",
        gettext("What each round bought"),
        x=Axis(low=0, words=lambda value: f"KL {value:g}" if value else "0", ticks=4),
        y=Axis(low=0.5, words=percent_words),
        series=[Series(reference, line, colors[reference], in_legend=False) for reference, line in joined.items()],
        points=points,
        finding=gettext("Win rate against the base by KL: best is %(best_title)s") % {"best_title": best.title}
        if best
        else gettext("No policy has been compared yet"),
        x_name=gettext("Policy"),
        subtitle=subtitle,
        height=226,
    )
    if len(colors) > 1:
        words = {
            color: gettext("earlier rounds: KL to what each started from")
            if color == EARLIER
            else gettext("KL to %(model)s") % {"model": reference}
            for reference, color in colors.items()
        }
        chart.legend = [{"label": label, "color": color, "area": False} for color, label in words.items()]
    chart.columns = [gettext("Policy"), gettext("Win rate, 95% interval"), "KL", gettext("KL to")]
    chart.rows = [
        [
            point.label,
            gettext("%(value)s, %(low)s to %(high)s")
            % {"value": f"{point.y:.1%}", "low": f"{point.low or 0:.1%}", "high": f"{point.high or 0:.1%}"},
            f"{point.x:.2f}",
            row.reference,
        ]
        for row, point in zip(shown, points, strict=True)
    ]
    return chart


def _colors(rows: list[Row]) -> dict[str, str]:
    """A color for each model that a KL was measured to: the newest first, and one for all that come behind three."""
    references = list(dict.fromkeys(row.reference for row in rows))
    return {reference: RECENT[place] if place < len(RECENT) else EARLIER for place, reference in enumerate(references)}


def _joins(row: Row, reference: str) -> bool:
    return row.reference == reference and row.state != Model.State.REJECTED


def _point(row: Row, color: str) -> Point:
    preferred = row.preferred or {}
    known = {"row": row.name, "value": f"{preferred['value']:.1%}", "kl": f"{row.kl:.2f}", "model": row.reference}
    return Point(
        row.kl or 0.0,
        preferred["value"],
        preferred.get("low"),
        preferred.get("high"),
        gettext("%(name)s, promoted") % {"name": row.name} if row.is_promoted else row.name,
        "c5" if row.state == Model.State.REJECTED else color,
        gettext("%(row)s: %(value)s at KL %(kl)s to %(model)s") % known,
    )


def lineage(project: Project, round: Round | None) -> list[dict[str, Any]]:
    """From the base to the promoted policy (or the newest), and the run that is making the next one."""
    policies = Model.objects.filter(project=project, role=Model.Role.POLICY).select_related("run__snapshot", "parent")
    now = policies.filter(state=Model.State.PROMOTED).first() or (round.start_model if round else policies.first())
    line: list[dict[str, Any]] = []
    model: Model | None = now
    while model is not None and len(line) < 20:
        line.append(_node(model, is_now=model == now))
        model = model.parent
    line.reverse()
    kinds = set(Run.TRAINS) - {Run.Kind.PRETRAIN, Run.Kind.REWARD}
    live = Run.objects.filter(project=project, kind__in=kinds)
    for run in live.exclude(state__in=Run.ENDED).select_related("snapshot")[:3]:
        words = f"{gettext(run.get_kind_display())}, {gettext(run.get_state_display()).lower()}"
        line.append({"name": run.name, "href": run.get_absolute_url(), "words": words, "css": "live", "data": ""})
    return line


def _node(model: Model, *, is_now: bool) -> dict[str, Any]:
    words = method_of(model)
    if model.state == Model.State.PROMOTED:
        words = gettext("%(name)s, promoted") % {"name": words}
    snapshot = model.run.snapshot if model.run else None
    data = _data(snapshot) if snapshot else ""
    css = "on" if is_now else ""
    return {"name": model.name, "href": model.get_absolute_url(), "words": words, "css": css, "data": data}


def _data(snapshot: Snapshot) -> str:
    rows = snapshot.counts.get("train") or 0
    return ngettext("%(name)s, %(rows)s row", "%(name)s, %(rows)s rows", rows) % {"name": snapshot, "rows": f"{rows:,}"}


def method_of(model: Model) -> str:
    """How a model came to be, in two words."""
    if model.run is None:
        return gettext("Base model") if not model.is_adapter else gettext("Registered adapter")
    full = gettext("full")
    return f"{gettext(model.run.get_kind_display())}, {'LoRA' if model.is_adapter else full}"


def behind(model: Model) -> str:
    """The judgements that a model rests on, in one sentence; empty when there are none."""
    snapshot = figures.snapshot_behind(model)
    if snapshot is None:
        return ""
    counts = snapshot.counts
    judgments, people = counts.get("annotations") or 0, counts.get("annotators") or 0
    made = ngettext("%(count)s judgment", "%(count)s judgments", judgments) % {"count": f"{judgments:,}"}
    by = ngettext("%(count)s annotator", "%(count)s annotators", people) % {"count": f"{people:,}"}
    text = gettext("%(judgments)s by %(annotators)s") % {"judgments": made, "annotators": by}
    return text if snapshot.simulated_share else gettext("%(text)s, all of them people") % {"text": text}
