"""A round as seven steps, each with its number, its state and one action: what the loop page draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

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
    pill: str = "Later"
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
        if place < PLACE[State(round.state)]:
            stage.css = "done"
            if stage.tone not in ("ok", "bad"):
                stage.tone, stage.pill = "ok", "Done"
        elif place == PLACE[State(round.state)]:
            stage.css = "running"
            if round.problem:
                stage.tone, stage.pill = "bad", "Stopped"
        stages.append(stage)
    return [*stages, _next(round)]


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
    stage.pill = done if run.state == Run.State.SUCCEEDED else run.get_state_display()
    stage.link, stage.href = f"Open {run.name}", run.get_absolute_url()
    status = status_of(run)
    if not run.is_ended:
        stage.share = share_of(status)
        if status.get("eta_seconds") is not None:
            stage.aside = f"{seconds(status['eta_seconds'])} left"
    elif run.started_at and run.finished_at:
        stage.aside = seconds((run.finished_at - run.started_at).total_seconds())


def _generate(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("generate", "spark", "Generate")
    plan, run = round.plan, runs.get("generate")
    stage.number, stage.unit = compact(plan.get("prompts")), "prompts"
    if tasks := done["label"]["tasks"]:
        stage.number, stage.unit = compact(tasks), "pairs"
    temperature = (plan.get("generation") or {}).get("temperature", 1.0)
    stage.lines = [
        f"{plan.get('responses_per_prompt', 2)} answers for each prompt",
        f"From {round.start_model.name}, temperature {temperature:g}",
    ]
    _pill(stage, run, "Done")
    return stage


def _label(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    label = done["label"]
    stage = Stage("label", "label", "Label", pill="Needs people", link="Open labeling")
    stage.href = reverse("annotation:project", args=[round.project.slug])
    if round.state == State.GENERATE:
        stage.lines, stage.link = ["People compare the answers, blind"], ""
        return stage
    stage.number, stage.unit = compact(label["done"]), f"of {compact(label['wanted'])} judgments"
    stage.lines = [f"{compact(label['tasks'])} pairs"]
    stage.simulated = figures.simulated_words(_simulated_share(round))
    if round.state == State.LABEL:
        stage.tone, stage.share = "warn", label["done"] / label["wanted"] if label["wanted"] else None
    else:
        stage.pill, stage.unit = "Done", "judgments"
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
    stage = Stage("dataset", "data", "Dataset", pill="Starts by itself")
    snapshot = round.snapshot
    if snapshot is None:
        stage.lines = ["Frozen when the judgments are in"]
        return stage
    counts = snapshot.counts
    train, held = counts.get("train") or 0, counts.get("eval") or 0
    left_out = sum((counts.get("left_out") or {}).values())
    stage.number, stage.unit, stage.pill, stage.tone = compact(train + held), "pairs", "Frozen", "ok"
    stage.lines = [f"{snapshot}: {compact(train)} train, {compact(held)} held out"]
    stage.lines += [f"{compact(left_out)} left out"] if left_out else ["Nothing left out"]
    stage.link, stage.href, stage.aside = "View snapshot", snapshot.get_absolute_url(), snapshot.content_hash[:6]
    stage.simulated = figures.simulated_words(snapshot.simulated_share)
    return stage


def _reward(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("reward", "scale", "Reward model", pill="Starts by itself")
    stage.lines = ["Learns what people prefer"]
    run = runs.get("reward")
    _pill(stage, run, "Trained")
    if run and not run.is_ended and stage.share is not None:
        stage.number, stage.unit = percent(stage.share), "of its steps"
    if round.reward_model is None:
        return stage
    found = figures.of(round.reward_model)
    stage.link, stage.href = f"Inspect {round.reward_model.name}", round.reward_model.get_absolute_url()
    if accuracy := found.accuracy:
        stage.number, stage.unit = percent(accuracy["value"], 1), "accuracy"
        rule = max((found.shorter or {"value": 0})["value"], (found.longer or {"value": 0})["value"])
        stage.lines = [f"Held out, {interval_words(accuracy)}"]
        stage.lines += [f"Length alone: {percent(rule, 1)}"] if rule else []
        if rule and accuracy["value"] < rule:
            stage.tone, stage.pill = "bad", "Loses to length"
    return stage


def _policy(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("policy", "policy", "Policy", pill="Starts by itself")
    planned = [entry["kind"].upper() for entry in round.plan.get("policies") or []]
    stage.lines = [" and ".join(planned) + f", from {round.start_model.name}"]
    made = [runs[part] for part in sorted(runs) if part.startswith("policy-")]
    if not made:
        return stage
    now = next((run for run in made if not run.is_ended), made[-1])
    _pill(stage, now, "Trained")
    stage.lines = [_run_line(run) for run in made]
    if now.is_ended:
        good = sum(run.state == Run.State.SUCCEEDED for run in made)
        stage.number, stage.unit = str(good), f"of {len(planned)} trained"
    elif stage.share is not None:
        stage.number, stage.unit = percent(stage.share), f"of {compact(status_of(now).get('total'))} steps"
    return stage


def _run_line(run: Run) -> str:
    """One run in a few words: what it measures now, or how it ended."""
    if run.is_ended:
        return f"{run.get_kind_display()}: {run.get_state_display().lower()}"
    rows = rundir.read_metrics(run.folder)
    last = rows[-1] if rows else {}
    named = (("reward", "reward"), ("kl", "KL"), ("accuracy", "accuracy"), ("loss", "loss"))
    words = [f"{word} {last[name]:.3g}" for name, word in named if isinstance(last.get(name), int | float)]
    return f"{run.get_kind_display()}: " + (", ".join(words[:2]) or run.get_state_display().lower())


def _evaluate(round: Round, runs: dict[str, Run], done: dict[str, dict[str, int]]) -> Stage:
    stage = Stage("evaluate", "target", "Evaluate", pill="Starts by itself")
    stage.number, stage.unit = compact(round.plan.get("eval_prompts")), "prompts"
    stage.lines = [f"Held out, against {round.base_model.name}", "Compared by people, blind"]
    stage.lines += [round.plan["warning"]] if "warning" in round.plan else []
    _pill(stage, runs.get("evaluate"), "Done")
    compare = done["compare"]
    if round.state == State.COMPARE:
        stage.tone, stage.pill = "warn", "Needs people"
        stage.number, stage.unit = compact(compare["done"]), f"of {compact(compare['wanted'])} comparisons"
        stage.share = compare["done"] / compare["wanted"] if compare["wanted"] else None
        stage.link, stage.href = "Open labeling", reverse("annotation:project", args=[round.project.slug])
    rates = round.evaluation.get("policies") or {}
    shares = [row["simulated_share"] for row in rates.values() if row.get("simulated_share")]
    stage.simulated = figures.simulated_words(max(shares, default=0.0))
    if PLACE[State(round.state)] > 5 and (best := best_policy(round)):
        name, preferred = best
        stage.number, stage.unit = percent(preferred["value"], 1), f"prefer {name}"
        stage.lines = [f"To {round.base_model.name}, {interval_words(preferred)}"]
        stage.lines += [f"{compact(compare['done'])} comparisons"]
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
    stage = Stage("promote", "promote", "Promote", pill="Needs you, later")
    gate = round.plan.get("gate") or {}
    low, kl = gate.get("win_rate_low"), gate.get("kl_max")
    if round.plan.get("promote_automatically"):
        stage.pill = "Starts by itself"
    if low is not None:
        stage.number, stage.unit = f"> {percent(low)}", "preferred, lower bound"
    stage.lines = [f"Over {round.base_model.name}, judged by people"] if low is not None else []
    stage.lines += [f"KL at most {kl:g} nats"] if kl is not None else []
    if round.state == State.DECIDE:
        stage.tone, stage.pill = "warn", "Needs you"
        stage.link, stage.href = "Decide", "#decision"
    elif round.state == State.PROMOTED and round.promoted_model:
        stage.tone, stage.pill = "ok", "Promoted"
        stage.number, stage.unit = round.promoted_model.name, "serves now"
        stage.link, stage.href = "Open the model", round.promoted_model.get_absolute_url()
        stage.lines = [round.decision.get("reason") or ""]
    elif round.state == State.REJECTED:
        stage.tone, stage.pill = "bad", "Rejected"
        stage.number, stage.unit = "None", "promoted"
        stage.lines = [round.decision.get("reason") or ""]
    return stage


def _next(round: Round) -> Stage:
    stage = Stage("next", "loop", f"Round {round.number + 1}", css="next", pill="")
    waiting = round.project.tasks.filter(purpose=Purpose.LABEL, open_slots__gt=0)
    waiting = waiting.exclude(external_id__startswith=generation.label_prefix(round))
    stage.lines = ["Starts when this one is decided"]
    if count := waiting.count():
        stage.number, stage.unit = compact(count), "other tasks wait"
    if round.is_ended:
        promoted = Model.objects.filter(project=round.project, role=Model.Role.POLICY, state=Model.State.PROMOTED)
        start = promoted.first() or round.start_model
        stage.lines = [f"Would start from {start.name}"]
    return stage


def interval_words(estimate: dict[str, Any]) -> str:
    """`54.1% to 63.0%`, or how many were counted when there is no interval."""
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"n = {compact(estimate['n'])}" if estimate.get("n") else ""
    return f"{percent(estimate['low'], 1)} to {percent(estimate['high'], 1)}"


def compared_so_far(round: Round) -> dict[str, dict[str, Any]]:
    """The verdicts so far, while people still compare; the stored ones after that."""
    if round.state == State.COMPARE:
        return evaluation.win_rates(round)
    return {name: row for name, row in (round.evaluation.get("policies") or {}).items() if row.get("preferred")}
