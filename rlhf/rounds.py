"""One turn of the loop as a state machine: each step looks at what stands, does what is missing, and moves on.

`advance` can be called at any time, by anyone, any number of times; runs are unique by round and part, tasks by their
ids, and a state changes by an UPDATE guarded by the state before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.db.models import F, Max, Sum
from django.db.models.functions import Least
from django.utils import timezone
from django.utils.translation import gettext

from annotation import requeueing
from annotation.models import Project, Purpose, Task, User
from annotation.writes import write_transaction
from rlhf import evaluation, generation, plans, prompts, registry, runs, sides, snapshots
from rlhf.locks import sole
from rlhf.models import Model, Round, Run, Snapshot
from rlhf.plans import Plan
from rlhf.prompts import Prompt
from training.runfile import RunFileError

State = Round.State
NOTED = ("eval_judgements", "warning")  # written beside a round's plan, which has no such keys


class RoundError(ValueError):
    """A round that cannot be started or decided, in one sentence; `field` is what to change, where that is one."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def start_round(
    project: Project,
    plan: Plan,
    *,
    start_model: Model,
    base_model: Model | None = None,
    prompts_to_label: Iterable[Prompt] | None = None,
    eval_prompts: Iterable[Prompt] | None = None,
    by: User | None = None,
) -> Round:
    """A round that the worker (or `advance`) takes from here; PlanError or RoundError and nothing stored otherwise.

    Prompts come from the project's tasks when none are given. Those for evaluation are drawn from the same prompts
    unless given, or are those of earlier rounds where people label all of them; a prompt that was ever judged for one
    purpose is never used for the other. Without `base_model` it is what `usual_base` says.
    A project has one open round: the next starts when that one is decided or abandoned.
    """
    plan = plans.from_dict(plan.as_dict())
    plans.check_runs(plan, start_model)
    if project.kind != "preference":
        raise RoundError(
            gettext("A round needs a preference project: its reward model learns from comparisons."), "project"
        )
    refuse_a_second(project)
    base_model = base_model or usual_base(project, start_model)
    pool = list(prompts_to_label) if prompts_to_label is not None else prompts.from_project(project)
    label, held_out = sides.divide(project, plan, pool, None if eval_prompts is None else list(eval_prompts))
    if not held_out:
        raise RoundError(
            gettext("No prompt is left for evaluation: give prompts that nobody has labeled."), "eval_prompts"
        )
    if not label:
        raise RoundError(gettext("No prompt is left to label: give prompts that no evaluation has used."), "prompts")
    noted = plan.as_dict() | ({"warning": warning} if (warning := sides.warning(project, label, held_out)) else {})
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)  # of two rounds started at once one is refused
        refuse_a_second(project)
        number = (project.rounds.aggregate(last=Max("number"))["last"] or 0) + 1
        fields = {"start_model": start_model, "base_model": base_model, "plan": noted, "created_by": by}
        round = Round.objects.create(project=project, number=number, **fields)
        prompts.write(round.folder / "prompts.jsonl", label)
        prompts.write(round.folder / "eval_prompts.jsonl", held_out)
    return round


def refuse_a_second(project: Project) -> None:
    """RoundError while a round of this project is open."""
    if (one := project.rounds.open().first()) is not None:
        said = gettext("%(round)s is still open (%(state)s): decide or abandon it before the next one starts.")
        raise RoundError(said % {"round": one, "state": gettext(one.get_state_display()).lower()})


def usual_base(project: Project, start: Model) -> Model:
    """What policies are compared with unless somebody says otherwise: the same as in the round before, so that win
    rates can be compared; in a first round the weights that the start model stands on."""
    last = project.rounds.exclude(state=State.ABANDONED).select_related("base_model").first()
    return last.base_model if last else start.base


def usual_plan(project: Project) -> dict[str, Any]:
    """What a plan holds unless somebody says otherwise: the plan of the round before with another seed, in a first
    round the plan's own defaults."""
    usual, last = Plan().as_dict(), project.rounds.exclude(state=State.ABANDONED).first()
    if last is not None:
        usual |= {name: value for name, value in last.plan.items() if name in usual}
        usual |= {"judgements": None, "seed": usual["seed"] + 1}  # how many were enough is told to a round at work
    return usual


def advance(round: Round) -> Round:
    """Take the round as far as it can go now, and return it fresh; does nothing while another process is at it."""
    with sole(round.folder / ".lock") as alone:
        round.refresh_from_db()
        was_open = not round.is_ended
        while alone and not round.is_ended and not round.problem and STEPS[State(round.state)](round):
            round.refresh_from_db()
        if (
            alone and was_open and round.state == State.ABANDONED
        ):  # while a step was being done, which may have begun a run
            _call_off(round)
    round.refresh_from_db()
    return round


def progress(round: Round) -> dict[str, dict[str, int]]:
    """Judgements that stand and that are wanted: `{"label": {"done", "wanted", "tasks"}, "compare": {…}}`."""
    label = _judged(round, Purpose.LABEL, generation.label_prefix(round))
    if enough := round.plan.get("judgements"):
        label["wanted"] = min(enough, label["wanted"])
    return {"label": label, "compare": _judged(round, Purpose.EVALUATION, evaluation.prefix(round))}


def gate(round: Round) -> dict[str, list[dict[str, Any]]]:
    """For each policy the conditions of the plan's gate: `{"name", "label", "value", "limit", "met"}`."""
    limits = round.plan["gate"]
    checked: dict[str, list[dict[str, Any]]] = {}
    for name in candidates(round):
        figures = round.evaluation["policies"][name]
        low, kl = figures["preferred"]["low"], figures.get("kl")
        checked[name] = []
        if (limit := limits.get("win_rate_low")) is not None:
            met = low is not None and low > limit
            checked[name].append(_condition("win_rate_low", gettext("People prefer it, lower bound"), low, limit, met))
        if (limit := limits.get("kl_max")) is not None:
            checked[name].append(
                _condition("kl_max", gettext("KL to the start model"), kl, limit, kl is not None and kl <= limit)
            )
    return checked


def candidates(round: Round) -> list[str]:
    """The names of the policies that this round trained, in the plan's order."""
    return [run.model.name for run in _policy_runs(round) if hasattr(run, "model")]


def best(round: Round) -> str | None:
    """The policy that passes the gate and is preferred most, or None."""
    passed = [name for name, conditions in gate(round).items() if all(each["met"] for each in conditions)]
    return max(passed, key=lambda name: round.evaluation["policies"][name]["preferred"]["value"], default=None)


def promote(round: Round, model: Model, *, by: User | None, reason: str = "") -> Round:
    """Make `model` the project's promoted policy and end the round; a person may overrule the gate with a reason."""
    if model.name not in candidates(round):
        raise RoundError(gettext("%(model)s was not trained in this round.") % {"model": model.name}, "model")
    met = all(condition["met"] for condition in gate(round)[model.name]) if round.state == State.DECIDE else False
    if not met and not reason:
        raise RoundError(
            gettext("%(model)s does not meet the gate: give a reason to promote it all the same.")
            % {"model": model.name},
            "reason",
        )
    fields = {"promoted_model": model, "decision": _decision(by, reason, model=model.name, gate_met=met)}
    with transaction.atomic():
        _decide(round, State.PROMOTED, **fields)
        registry.promote(model, by=by, reason=reason)
    round.refresh_from_db()
    return round


def reject(round: Round, *, by: User | None, reason: str) -> Round:
    """Decide for none of the round's policies; the promoted one stays."""
    with transaction.atomic():
        _decide(round, State.REJECTED, decision=_decision(by, reason))
        for model in Model.objects.filter(name__in=candidates(round)):
            registry.reject(model, by=by, reason=reason)
    round.refresh_from_db()
    return round


def abandon(round: Round, *, by: User | None, reason: str) -> Round:
    """End a round before its decision: its runs stop, its open tasks are offered to nobody, and nothing is promoted.

    What it made stays: answers, judgements, snapshot, models, and the checkpoints of the runs that stop.
    """
    if not reason.strip():
        raise RoundError(gettext("Give the reason: it is kept with the round."), "reason")
    round.refresh_from_db()
    if round.is_ended:
        said = gettext("%(round)s has ended already: %(state)s.")
        raise RoundError(said % {"round": round, "state": gettext(round.get_state_display()).lower()})
    fields = {"problem": "", "finished_at": timezone.now(), "decision": _decision(by, reason, step=round.state)}
    with write_transaction():
        moved = _move(round, round.state, State.ABANDONED, **fields)
        if moved:
            _call_off(round)
    if not moved:
        raise RoundError(gettext("%(round)s went on at this moment; look again.") % {"round": round})
    round.refresh_from_db()
    return round


def finish_step(round: Round) -> Round:
    """Stop waiting for people: go on with the judgements that stand now."""
    if round.state not in (State.LABEL, State.COMPARE):
        raise RoundError(gettext("%(round)s is not waiting for people.") % {"round": round})
    done = progress(round)[round.state]["done"]
    if done == 0:
        raise RoundError(gettext("%(round)s has no judgements yet.") % {"round": round})
    key = "judgements" if round.state == State.LABEL else "eval_judgements"
    Round.objects.filter(pk=round.pk, state=round.state).update(plan={**round.plan, key: done})
    return advance(round)


def retry(round: Round, changes: dict[str, Any] | None = None) -> Round:
    """Make the failed runs of this round anew, by the plan with `changes`; finished ones stay."""
    if round.is_ended:
        said = gettext("%(round)s has ended already: %(state)s.")
        raise RoundError(said % {"round": round, "state": gettext(round.get_state_display()).lower()})
    if changes:
        plan = plans.from_dict(_plan(round).as_dict() | changes)
        plans.check_runs(plan, round.start_model)
        round.plan = {**round.plan, **plan.as_dict()}
    bad = [Run.State.FAILED, Run.State.CANCELLED, Run.State.LOST]
    round.runs.filter(state__in=bad).update(part="")  # they stay in the round's history
    Round.objects.filter(pk=round.pk).update(problem="", plan=round.plan)
    return advance(round)


def _generate(round: Round) -> bool:
    plan = _plan(round)
    params = plan.generation | {"responses_per_prompt": plan.responses_per_prompt}
    asked = prompts.read(round.folder / "prompts.jsonl")
    run = _run(round, "generate", "generate", start_model=round.start_model, params=params, prompts=asked)
    if not _succeeded(round, run):
        return False
    if not _judged(round, Purpose.LABEL, generation.label_prefix(round))["tasks"]:
        return _stop(round, gettext("Every pair of answers was identical: raise generation.temperature and try again."))
    return _move(round, State.GENERATE, State.LABEL)


def _label(round: Round) -> bool:
    label = progress(round)["label"]
    return label["done"] >= label["wanted"] and _move(round, State.LABEL, State.SNAPSHOT)


def _snapshot(round: Round) -> bool:
    try:
        snapshot = snapshots.cut(
            round.project,
            name=f"prefs-r{round.number}",
            type=Snapshot.Type.PREFERENCE,
            recipe=_plan(round).snapshot,
            by=round.created_by,
        )
    except snapshots.SnapshotError as error:
        return _stop(round, gettext("The snapshot could not be cut: %(error)s") % {"error": error})
    return _move(round, State.SNAPSHOT, State.REWARD, snapshot=snapshot)


def _reward(round: Round) -> bool:
    """The reward model; policies that need none wait behind it, for a place of their own."""
    options = _plan(round).reward
    run = _run(round, "reward", "reward", start_model=round.start_model, snapshot=round.snapshot, **options)
    if run is None or _policies(round, rolls_out=False) is None or not _succeeded(round, run):
        return False
    return _move(round, State.REWARD, State.POLICY, reward_model=run.model)


def _policy(round: Round) -> bool:
    made = _policies(round)
    if made is None:
        return False
    succeeded = [_succeeded(round, run) for run in made]  # looks at all of them: each may have a problem to tell
    return all(succeeded) and _move(round, State.POLICY, State.EVALUATE)


def _policies(round: Round, *, rolls_out: bool | None = None) -> list[Run] | None:
    """The runs of the policies, of all or of those that answer prompts (or do not); None where one is refused."""
    made = []
    for index, method in enumerate(_plan(round).policies):
        with_reward = method["kind"] in Run.ROLLS_OUT
        if rolls_out not in (None, with_reward):
            continue
        options = {key: value for key, value in method.items() if key != "kind"}
        options |= {"start_model": round.start_model, "snapshot": round.snapshot}
        options |= {"reward_model": round.reward_model} if with_reward else {}
        run = _run(round, f"policy-{index}", method["kind"], **options)
        if run is None:
            return None
        made.append(run)
    return made


def _evaluate(round: Round) -> bool:
    trained = [run.model for run in _policy_runs(round)]
    start, base = round.start_model, round.base_model
    everyone = list({model.pk: model for model in (base, start, *trained)}.values())
    references = {model.name: start.name for model in trained} | ({start.name: base.name} if start != base else {})
    run = _run(
        round,
        "evaluate",
        "evaluate",
        policies=everyone,
        references=references,
        reward_model=round.reward_model,
        params=_plan(round).evaluation,
        prompts=prompts.read(round.folder / "eval_prompts.jsonl"),
    )
    if run is None or not _succeeded(round, run):
        return False
    compared = [model.name for model in everyone if model != base]
    counts = evaluation.make_comparisons(run, against=base.name, policies=compared, need=_plan(round).eval_overlap)
    figures = {"run": run.name, "against": base.name, "compared": counts, "policies": run.outcome["eval"]["policies"]}
    return _move(round, State.EVALUATE, State.COMPARE, evaluation=figures)


def _compare(round: Round) -> bool:
    compared = progress(round)["compare"]
    if compared["done"] < min(round.plan.get("eval_judgements") or compared["wanted"], compared["wanted"]):
        return False
    policies = dict(round.evaluation["policies"])
    for name, rate in evaluation.win_rates(round).items():
        policies[name] = {**policies[name], **rate}
        registry.note_comparison(name, rate)
    with write_transaction():
        moved = _move(round, State.COMPARE, State.DECIDE, evaluation={**round.evaluation, "policies": policies})
        if moved:  # what nobody compared until now would count for nothing
            _ask_no_more(round, evaluation.prefix(round))
    return moved


def _wait_for_decision(round: Round) -> bool:
    """Somebody decides, or the plan does: the best policy through the gate, or none."""
    if not _plan(round).promote_automatically:
        return False
    if winner := best(round):
        promote(
            round,
            Model.objects.get(name=winner),
            by=None,
            reason=gettext("Best of those through the gate, as planned."),
        )
    else:
        reject(round, by=None, reason=gettext("None met the gate."))
    return False


STEPS: dict[State, Callable[[Round], bool]] = {
    State.GENERATE: _generate,
    State.LABEL: _label,
    State.SNAPSHOT: _snapshot,
    State.REWARD: _reward,
    State.POLICY: _policy,
    State.EVALUATE: _evaluate,
    State.COMPARE: _compare,
    State.DECIDE: _wait_for_decision,
}


def _run(round: Round, part: str, kind: str, **options: Any) -> Run | None:
    """The run that carries out this part of the plan, made when there is none; None when the plan is at fault."""
    if run := round.runs.filter(part=part).select_related("model").first():
        return run
    plan = _plan(round)
    options |= {"round": round, "part": part, "by": round.created_by, "seed": plan.seed}
    options["hardware"] = plan.hardware | options.get("hardware", {})
    label = {"reward": "rm", "generate": "answers", "evaluate": "eval"}.get(kind, kind)
    for name in (
        f"{label}-r{round.number}",
        f"{label}-r{round.number}-{part}",
        f"{round.project.slug[:40]}-{label}-{round.pk}",
    ):
        if not Run.objects.filter(name=name).exists():
            break
    else:
        name = f"{label}-{round.pk}-{part}-{round.runs.count()}"
    try:
        return runs.create(round.project, kind, name=name, **options)
    except RunFileError as error:
        _stop(round, gettext("The %(kind)s run is refused: %(error)s.") % {"kind": kind, "error": error})
        return None


def _succeeded(round: Round, run: Run | None) -> bool:
    """Whether the run is done; a run that stopped early becomes the round's problem."""
    if run is None or run.state == Run.State.SUCCEEDED:
        return run is not None
    if run.state in Run.ENDED:
        told = " ".join(filter(None, [(run.error or {}).get("message"), (run.error or {}).get("hint")]))
        message = told or gettext("It was %(state)s.") % {"state": gettext(run.get_state_display()).lower()}
        _stop(round, gettext("%(run)s did not finish. %(message)s") % {"run": run.name, "message": message})
    return False


def _policy_runs(round: Round) -> list[Run]:
    made = list(round.runs.filter(part__startswith="policy-").select_related("model"))
    return sorted(made, key=lambda run: int(run.part.removeprefix("policy-")))


def _judged(round: Round, purpose: str, prefix: str) -> dict[str, int]:
    tasks = round.project.tasks.filter(purpose=purpose, external_id__startswith=prefix)
    sums = tasks.aggregate(done=Sum(Least(F("done"), F("need"))), wanted=Sum("need"))
    return {"done": sums["done"] or 0, "wanted": sums["wanted"] or 0, "tasks": tasks.count()}


def _move(round: Round, old: str, new: str, **fields: Any) -> bool:
    return bool(Round.objects.filter(pk=round.pk, state=old).update(state=new, **fields))


def _stop(round: Round, problem: str) -> bool:
    Round.objects.open().filter(pk=round.pk).update(problem=problem)
    return False


def _call_off(round: Round) -> None:
    """Stop the runs of a round and offer its tasks to nobody."""
    runs.cancel_all(Run.objects.filter(round=round))
    for prefix in (generation.label_prefix(round), evaluation.prefix(round)):
        _ask_no_more(round, prefix)


def _ask_no_more(round: Round, prefix: str) -> None:
    requeueing.close(Task.objects.filter(project=round.project, external_id__startswith=prefix))


def _decide(round: Round, state: str, **fields: Any) -> None:
    if not _move(round, State.DECIDE, state, finished_at=timezone.now(), **fields):
        round.refresh_from_db()
        said = gettext("%(round)s does not wait for a decision; to end it before that, abandon it.")
        if round.is_ended:
            said = gettext("%(round)s does not wait for a decision.")
        raise RoundError(said % {"round": round})


def _decision(by: User | None, reason: str, **more: Any) -> dict[str, Any]:
    return {"by": by.username if by else "", "at": timezone.now().isoformat(), "reason": reason} | more


def _condition(name: str, label: str, value: float | None, limit: float, met: bool) -> dict[str, Any]:
    return {"name": name, "label": label, "value": value, "limit": limit, "met": met}


def _plan(round: Round) -> Plan:
    return Plan(**{key: value for key, value in round.plan.items() if key not in NOTED})
