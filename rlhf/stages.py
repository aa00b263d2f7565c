"""A round as seven steps, each with its number, its state and one action: what the loop page draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from annotation.models import Annotation, Purpose
from annotation.templatetags.hone import compact, percent, seconds
from rlhf import evaluation, figures, generation, rounds
from rlhf.models import Model, Round, Run
from training import rundir

State = Round.State
# Which step of the page each state of a round belongs to.
PLACE = {
    State.GENERATE: 0,
    State.LABEL: 1,
    State.SNAPSHOT: 2,
    State.REWARD: 3,
    State.POLICY: 4,
    State.EVALUATE: 5,
    State.COMPARE: 5,
    State.DECIDE: 6,
    State.PROMOTED: 7,
    State.REJECTED: 7,
}


@dataclass
class Stage:
    """One card. `tone` colors the pill, `css` the card; `share` draws a bar."""

    key: str
    icon: str
    title: str
    css: str = "waiting"  # done, running, waiting, next
    tone: str = "wait"
    pill: str = field(default_factory=lambda: gettext("Later"))
    number: str = ""
    unit: str = ""
    lines: list[str] = field(default_factory=list)
    share: float | None = None
    link: str = ""
    href: str = ""
    aside: str = ""
    simulated: str = ""


def stages_of(round: Round) -> list[Stage]:
    """The seven steps of `round` and what comes after it."""
    runs = {run.part: run for run in round.runs.exclude(part="").select_related("model")}
    done = rounds.progress(round)
    makers = (_generate, _label, _dataset, _reward, _policy, _evaluate, _promote)
    stages = []
    for place, make in enumerate(makers):
        stage = make(round, runs, done)
        if place < PLACE[round.step]:
            stage.css = "done"
            if stage.tone not in ("ok", "bad"):
                stage.tone, stage.pill = "ok", gettext("Done")
        elif round.state == State.ABANDONED:
            _abandon(stage, round, is_last=place == PLACE[round.step])
        elif place == PLACE[round.step]:
            stage.css = "running"
            if round.problem:
                stage.tone, stage.pill = "bad", gettext("Stopped")
        stages.append(stage)
    return [*stages, _next(round)]


def _abandon(stage: Stage, round: Round, *, is_last: bool) -> None:
    """The step at which a round was abandoned says why; those behind it, how far their runs came."""
    stage.share = None
    if is_last:
        stage.tone, stage.pill = "warn", gettext("Abandoned")
        stage.lines = [*stage.lines, round.decision.get("reason") or ""]
    elif stage.tone in ("wait", "warn"):
        stage.tone, stage.pill, stage.link = "", gettext("Not reached"), ""


def status_of(run: Run | None) -> dict[str, Any]:
    """Where a live run is, from its directory; what its row says once it ended."""
    if run is None:
        return {}
    if run.is_ended:
        return {"step": run.step, "total": run.total, "state": run.state}
    return rundir.read_status(run.folder) | {"state": run.state}


def share_of(status: dict[str, Any]) -> float | None:
    step, total = status.get("step"), status.get("total")
    return min(step / total, 1.0) if step is not None and total else None


def _pill(stage: Stage, run: Run | None, done: str) -> None:
    """The pill of a step that is one run."""
    if run is None:
        return
    tones = {Run.State.SUCCEEDED: "ok", Run.State.FAILED: "bad", Run.State.LOST: "bad", Run.State.CANCELLED: "warn"}
    stage.tone = tones.get(Run.State(run.state), "wait" if run.state == Run.State.QUEUED else "run")
    stage.pill = done if run.state == Run.State.SUCCEEDED else gettext(run.get_state_display())
    stage.link, stage.href = gettext("Open %(name)s") % {"name": run.name}, run.get_absolute_url()
    status = status_of(run)
    if not run.is_ended:
        stage.share = share_of(status)
        if status.get("eta_seconds") is not None:
            stage.aside = gettext("%(time)s left") % {"time": seconds(status["eta_seconds"])}
    elif run.started_at and run.finished_at:
        stage.aside = seconds((run.finished_at - run.started_at).total_seconds())


def _generate(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("generate", "spark", gettext("Generate"))
    plan, run = round.plan, runs.get("generate")
    stage.number, stage.unit = compact(plan.get("prompts")), gettext("prompts")
    if tasks := done["label"]["tasks"]:
        stage.number, stage.unit = compact(tasks), gettext("pairs")
    temperature = (plan.get("generation") or {}).get("temperature", 1.0)
    stage.lines = [
        gettext("%(responses_per_prompt)s answers for each prompt")
        % {"responses_per_prompt": plan.get("responses_per_prompt", 2)},
        gettext("From %(start_model)s, temperature %(temperature)s")
        % {"start_model": round.start_model.name, "temperature": f"{temperature:g}"},
    ]
    _pill(stage, run, gettext("Done"))
    return stage


def _label(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    label = done["label"]
    stage = Stage("label", "label", gettext("Label"), pill=gettext("Needs people"), link=gettext("Open labeling"))
    stage.href = reverse("annotation:project", args=[round.project.slug])
    if round.state == State.GENERATE:
        stage.lines, stage.link = [gettext("People compare the answers, blind")], ""
        return stage
    stage.number, stage.unit = (
        compact(label["done"]),
        gettext("of %(wanted)s judgments") % {"wanted": compact(label["wanted"])},
    )
    stage.lines = [ngettext("%(count)s pair", "%(count)s pairs", label["tasks"]) % {"count": compact(label["tasks"])}]
    stage.simulated = figures.simulated_words(_simulated_share(round))
    if round.state == State.LABEL:
        stage.tone, stage.share = "warn", label["done"] / label["wanted"] if label["wanted"] else None
    else:
        stage.pill, stage.unit = gettext("Done"), gettext("judgments")
    return stage


def _simulated_share(round: Round) -> float:
    """The share of a round's judgements that simulated raters made."""
    rows = Annotation.objects.standing().filter(
        task__project=round.project,
        task__purpose=Purpose.LABEL,
        task__external_id__startswith=generation.label_prefix(round),
    )
    total = rows.count()
    return rows.filter(annotator__is_simulated=True).count() / total if total else 0.0


def _dataset(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("dataset", "data", gettext("Dataset"), pill=gettext("Starts by itself"))
    snapshot = round.snapshot
    if snapshot is None:
        stage.lines = [gettext("Frozen when the judgments are in")]
        return stage
    counts = snapshot.counts
    train, held = counts.get("train") or 0, counts.get("eval") or 0
    left_out = sum((counts.get("left_out") or {}).values())
    stage.number, stage.unit, stage.pill, stage.tone = compact(train + held), gettext("pairs"), gettext("Frozen"), "ok"
    stage.lines = [
        gettext("%(snapshot)s: %(train)s train, %(held)s held out")
        % {"snapshot": snapshot, "train": compact(train), "held": compact(held)}
    ]
    stage.lines += (
        [gettext("%(left_out)s left out") % {"left_out": compact(left_out)}]
        if left_out
        else [gettext("Nothing left out")]
    )
    stage.link, stage.href, stage.aside = (
        gettext("View snapshot"),
        snapshot.get_absolute_url(),
        snapshot.content_hash[:6],
    )
    stage.simulated = figures.simulated_words(snapshot.simulated_share)
    return stage


def _reward(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("reward", "scale", gettext("Reward model"), pill=gettext("Starts by itself"))
    stage.lines = [gettext("Learns what people prefer")]
    run = runs.get("reward")
    _pill(stage, run, gettext("Trained"))
    if run and not run.is_ended and stage.share is not None:
        stage.number, stage.unit = percent(stage.share), gettext("of its steps")
    if round.reward_model is None:
        return stage
    found = figures.of(round.reward_model)
    stage.link, stage.href = (
        gettext("Inspect %(name)s") % {"name": round.reward_model.name},
        round.reward_model.get_absolute_url(),
    )
    if accuracy := found.accuracy:
        stage.number, stage.unit = percent(accuracy["value"], 1), gettext("accuracy")
        rule = max((found.shorter or {"value": 0})["value"], (found.longer or {"value": 0})["value"])
        stage.lines = [gettext("Held out, %(accuracy)s") % {"accuracy": interval_words(accuracy)}]
        stage.lines += [gettext("Length alone: %(rule)s") % {"rule": percent(rule, 1)}] if rule else []
        if rule and accuracy["value"] < rule:
            stage.tone, stage.pill = "bad", gettext("Loses to length")
    return stage


def _policy(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("policy", "policy", gettext("Policy"), pill=gettext("Starts by itself"))
    planned = [entry["kind"].upper() for entry in round.plan.get("policies") or []]
    stage.lines = [
        gettext("%(methods)s, from %(model)s")
        % {"methods": gettext(" and ").join(planned), "model": round.start_model.name}
    ]
    made = [runs[part] for part in sorted(runs) if part.startswith("policy-")]
    if not made:
        return stage
    now = next((run for run in made if not run.is_ended), made[-1])
    if not now.is_ended or len(made) == len(planned):  # else some wait for the reward model
        _pill(stage, now, gettext("Trained"))
    stage.lines = [_run_line(run) for run in made]
    if now.is_ended:
        good = sum(run.state == Run.State.SUCCEEDED for run in made)
        stage.number, stage.unit = str(good), gettext("of %(number)s trained") % {"number": len(planned)}
    elif stage.share is not None:
        stage.number, stage.unit = (
            percent(stage.share),
            gettext("of %(total)s steps") % {"total": compact(status_of(now).get("total"))},
        )
    return stage


def _run_line(run: Run) -> str:
    """One run in a few words: what it measures now, or how it ended."""
    if run.is_ended:
        return f"{gettext(run.get_kind_display())}: {gettext(run.get_state_display()).lower()}"
    rows = rundir.read_metrics(run.folder)
    last = rows[-1] if rows else {}
    named = (("reward", gettext("reward")), ("kl", "KL"), ("accuracy", gettext("accuracy")), ("loss", gettext("loss")))
    words = [f"{word} {last[name]:.3g}" for name, word in named if isinstance(last.get(name), int | float)]
    return f"{gettext(run.get_kind_display())}: " + (", ".join(words[:2]) or gettext(run.get_state_display()).lower())


def _evaluate(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("evaluate", "target", gettext("Evaluate"), pill=gettext("Starts by itself"))
    stage.number, stage.unit = compact(round.plan.get("eval_prompts")), gettext("prompts")
    stage.lines = [
        gettext("Held out, against %(base_model)s") % {"base_model": round.base_model.name},
        gettext("Compared by people, blind"),
    ]
    stage.lines += [round.plan["warning"]] if "warning" in round.plan else []
    _pill(stage, runs.get("evaluate"), gettext("Done"))
    compare = done["compare"]
    if round.state == State.COMPARE:
        stage.tone, stage.pill = "warn", gettext("Needs people")
        stage.number, stage.unit = (
            compact(compare["done"]),
            gettext("of %(wanted)s comparisons") % {"wanted": compact(compare["wanted"])},
        )
        stage.share = compare["done"] / compare["wanted"] if compare["wanted"] else None
        stage.link, stage.href = gettext("Open labeling"), reverse("annotation:project", args=[round.project.slug])
    rates = round.evaluation.get("policies") or {}
    stage.simulated = figures.simulated_words(figures.simulated_share(rates.values()))
    if PLACE[round.step] > 5 and (best := best_policy(round)):
        name, preferred = best
        stage.number, stage.unit = percent(preferred["value"], 1), gettext("prefer %(name)s") % {"name": name}
        stage.lines = [
            gettext("To %(model)s, %(interval)s")
            % {"model": round.base_model.name, "interval": interval_words(preferred)}
        ]
        stage.lines += [
            ngettext("%(count)s comparison", "%(count)s comparisons", compare["done"])
            % {"count": compact(compare["done"])}
        ]
    return stage


def best_policy(round: Round) -> tuple[str, dict[str, Any]] | None:
    """The trained policy that people prefer most, whatever the gate says."""
    rated = [
        (name, found)
        for name, row in (round.evaluation.get("policies") or {}).items()
        if name not in (round.base_model.name, round.start_model.name)
        and (found := figures.estimate(row.get("preferred")))
    ]
    return max(rated, key=lambda pair: pair[1]["value"], default=None)


def _promote(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("promote", "promote", gettext("Promote"), pill=gettext("Needs you, later"))
    gate = round.plan.get("gate") or {}
    low, kl = gate.get("win_rate_low"), gate.get("kl_max")
    if round.plan.get("promote_automatically"):
        stage.pill = gettext("Starts by itself")
    if low is not None:
        stage.number, stage.unit = f"> {percent(low)}", gettext("preferred, lower bound")
    stage.lines = (
        [gettext("Over %(base_model)s, judged by people") % {"base_model": round.base_model.name}]
        if low is not None
        else []
    )
    stage.lines += [gettext("KL at most %(kl)s nats") % {"kl": f"{kl:g}"}] if kl is not None else []
    if round.state == State.DECIDE:
        stage.tone, stage.pill = "warn", gettext("Needs you")
        stage.link, stage.href = gettext("Decide"), "#decision"
    elif round.state == State.PROMOTED and round.promoted_model:
        stage.tone, stage.pill = "ok", gettext("Promoted")
        stage.number, stage.unit = round.promoted_model.name, gettext("serves now")
        stage.link, stage.href = gettext("Open the model"), round.promoted_model.get_absolute_url()
        stage.lines = [round.decision.get("reason") or ""]
    elif round.state == State.REJECTED:
        stage.tone, stage.pill = "bad", gettext("Rejected")
        stage.number, stage.unit = gettext("None"), gettext("promoted")
        stage.lines = [round.decision.get("reason") or ""]
    return stage


def _next(round: Round) -> Stage:
    stage = Stage("next", "loop", gettext("Round %(number)s") % {"number": round.number + 1}, css="next", pill="")
    waiting = round.project.tasks.open().filter(purpose=Purpose.LABEL)
    waiting = waiting.exclude(external_id__startswith=generation.label_prefix(round))
    stage.lines = [gettext("Starts when this one is decided")]
    if count := waiting.count():
        stage.number, stage.unit = compact(count), gettext("other tasks wait")
    if round.is_ended:
        promoted = Model.objects.filter(project=round.project, role=Model.Role.POLICY, state=Model.State.PROMOTED)
        start = promoted.first() or round.start_model
        stage.lines = [gettext("Would start from %(start)s") % {"start": start.name}]
    return stage


def interval_words(estimate: dict[str, Any]) -> str:
    """`54.1% to 63.0%`, or how many were counted when there is no interval."""
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"n = {compact(estimate['n'])}" if estimate.get("n") else ""
    return gettext("%(low)s to %(high)s") % {"low": percent(estimate["low"], 1), "high": percent(estimate["high"], 1)}


def compared_so_far(round: Round) -> dict[str, dict[str, Any]]:
    """The verdicts so far, while people still compare; the stored ones after that."""
    if round.state == State.COMPARE:
        return evaluation.win_rates(round)
    return {name: row for name, row in (round.evaluation.get("policies") or {}).items() if row.get("preferred")}
