"""A project's models in order: policies by what people prefer, reward models by how well they order held-out pairs."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.utils.translation import gettext

from annotation.models import Project
from rlhf import figures
from rlhf.charts import Chart, Point, plot
from rlhf.forests import Forest, forests
from rlhf.history import method_of
from rlhf.models import Model
from rlhf.scales import Axis, percent_words


@dataclass
class Ranked:
    """One model with its figures and its place; models whose intervals overlap share a range of places."""

    model: Model
    figures: figures.Figures
    method: str
    rank: str = ""
    forest: Forest | None = None


def policies_of(project: Project) -> list[Ranked]:
    """Policies of the project and the bases they stand on: those that people compared first, best on top."""
    own = Q(project=project)
    bases = Q(project=None, role=Model.Role.POLICY) & (
        Q(children__project=project) | Q(rounds_started__project=project)
    )
    rows = Model.objects.policies().filter(own | bases).select_related("run__round", "parent").distinct()
    ranked = [Ranked(model, figures.of(model), method_of(model)) for model in rows]
    ranked.sort(key=lambda row: -((row.figures.preferred or {}).get("value", -1.0)))
    compared = [row for row in ranked if row.figures.preferred]
    for row in compared:
        row.rank = _rank(row, compared)
    for row, forest in zip(ranked, forests([row.figures.preferred for row in ranked]), strict=True):
        row.forest = forest
    return ranked


def reward_models_of(project: Project) -> list[Ranked]:
    """Reward models, newest first, each drawn on the scale that holds one half."""
    rows = Model.objects.reward_models().filter(project=project).select_related("run__snapshot", "run__round", "parent")
    ranked = [Ranked(model, figures.of(model), method_of(model)) for model in rows]
    for row, forest in zip(ranked, forests([row.figures.accuracy for row in ranked]), strict=True):
        row.forest = forest
    return ranked


def reward_against_utility(rows: list[Ranked]) -> Chart:
    """The reward model's score beside what people really want: the proxy may rise when the thing itself does not.

    Where raters are simulated the true utility is known; elsewhere the share of people who prefer the policy stands in.
    """
    known = any(row.figures.utility for row in rows)
    points = []
    for row in rows:
        reward, truth = row.figures.reward, row.figures.utility if known else row.figures.preferred
        if not reward or not truth:
            continue
        shown = f"{truth['value']:.3g}" if known else f"{truth['value']:.1%}"
        text = gettext("%(model)s: reward %(reward)s, utility %(truth)s")
        if not known:
            text = gettext("%(model)s: reward %(reward)s, preferred %(truth)s")
        title = text % {"model": row.model.name, "reward": f"{reward['value']:.2f}", "truth": shown}
        color = "c5" if row.model.run_id is None else "c1"
        points.append(
            Point(reward["value"], truth["value"], truth.get("low"), truth.get("high"), row.model.name, color, title)
        )
    words = None if known else percent_words
    chart = plot(
        "parting",
        gettext("Reward beside true utility") if known else gettext("Reward beside people"),
        x=Axis(ticks=4),
        y=Axis(words=words),
        points=points,
        finding=_parting_words(points, known),
        x_name=gettext("Policy"),
        subtitle=gettext("Up: what people really want. Right: what the reward model says")
        if known
        else gettext("Up: preferred over the base. Right: reward"),
        height=258,
    )
    chart.columns = [gettext("Policy"), gettext("Reward"), gettext("True utility") if known else gettext("Preferred")]
    chart.rows = [[point.label, f"{point.x:.2f}", f"{point.y:.3f}" if known else f"{point.y:.1%}"] for point in points]
    return chart


def _parting_words(points: list[Point], known: bool) -> str:
    if len(points) < 2:
        return gettext("Not enough policies have both figures yet")
    by_reward, by_truth = max(points, key=lambda point: point.x), max(points, key=lambda point: point.y)
    what = gettext("true utility") if known else gettext("people")
    if by_reward.label == by_truth.label:
        return gettext("Reward and %(what)s agree on the best policy: %(by_reward)s") % {
            "what": what,
            "by_reward": by_reward.label,
        }
    return gettext("They part: the reward model puts %(by_reward)s first, %(what)s %(by_truth)s") % {
        "by_reward": by_reward.label,
        "what": what,
        "by_truth": by_truth.label,
    }


def _rank(row: Ranked, compared: list[Ranked]) -> str:
    """`2 to 4`: one place below all that are surely better, down to those that are surely worse."""
    low, high = _ends(row)
    others = [_ends(other) for other in compared if other is not row]
    better, worse = sum(other[0] > high for other in others), sum(other[1] < low for other in others)
    first, last = better + 1, len(compared) - worse
    return str(first) if first == last else gettext("%(first)s to %(last)s") % {"first": first, "last": last}


def _ends(row: Ranked) -> tuple[float, float]:
    """The ends of a compared model's interval; the estimate itself where it has none."""
    found: figures.Estimate = row.figures.preferred or {"value": 0.0}
    value = float(found["value"])
    return float(found.get("low", value)), float(found.get("high", value))
