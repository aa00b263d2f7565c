"""The demo from the first word to the promoted policy: each step does what is missing and keeps what is there."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from annotation import tasks
from annotation.models import Kind, Project, Purpose, User
from annotation.quality import reports
from rlhf import plans, registry, rounds, runner, runs, snapshots
from rlhf.demo import people, plan, world
from rlhf.demo.progress import Progress, Step
from rlhf.demo.raters import RATERS
from rlhf.models import Model, Round, Run, Snapshot
from training import rundir

POLL_SECONDS = 1.0  # each look costs some 30 ms, and both cores are busy
# Seconds on two idle cores; they only serve to guess the time left.
STEPS = {
    "base": Step("Base model", 140),
    "demonstrations": Step("Demonstrations", 1),
    "sft": Step("SFT", 15),
    "generate": Step("Answers to judge", 38),
    "label": Step("Judgements", 45),
    "reward": Step("Reward model", 150),  # with DPO beside it
    "dpo": Step("DPO", 1),
    "ppo": Step("PPO", 75),
    "evaluate": Step("Held-out answers", 22),
    "compare": Step("Blind comparison", 4),
    "next": Step("Next batch", 3),
}


STOPPED = (Run.State.FAILED, Run.State.CANCELLED, Run.State.LOST, Run.State.STOPPING)


class DemoFailed(Exception):
    """A step that did not succeed, in one sentence."""


def play(progress: Progress, *, by: User, model: str = "") -> Round:
    """The finished first round of the support desk; a second call keeps everything and returns at once."""
    answers, pairs = (_project(*each, by) for each in _PROJECTS)
    start = progress.start
    start()
    base = _base(pairs, progress, by, model)
    _require_same_start(pairs, base)
    start()
    snapshot = _demonstrations(answers, progress, by)
    start()
    sft = _run(
        pairs, "sft", f"{base.name}-sft", progress, by, start_model=base, snapshot=snapshot, **_sft_options(base)
    )
    round = pairs.rounds.order_by("number").first() or _start_round(
        pairs, base, sft, by, plan.PAIR_PROMPTS, judges=plan.JUDGES, seed=1
    )
    for part in ("generate", "label", "reward", "policy-0", "policy-1", "evaluate", "compare"):
        start()
        round = _part(round, part, progress)
    if round.state == Round.State.DECIDE:
        _decide(round, by)
    start()
    _next_batch(pairs, base, round, progress, by)
    for project in (answers, pairs):
        reports.make_ready(project)  # so that the first look at the site finds figures, not a request to wait
    return round


_PROJECTS = (
    (plan.DEMO_PROJECT, plan.DEMO_NAME, Kind.DEMONSTRATION, "What should the desk answer?"),
    (plan.LABEL_PROJECT, plan.LABEL_NAME, Kind.PREFERENCE, "Which answer is better?"),
)


def _project(slug: str, name: str, kind: str, question: str, by: User) -> Project:
    fields = {"name": name, "kind": kind, "question": question, "created_by": by}
    project, created = Project.objects.get_or_create(slug=slug, defaults=fields)
    if created:
        project.write_guidelines(world.GUIDELINES, by=by)
    return project


def _require_same_start(project: Project, base: Model) -> None:
    """One data folder tells one story: figures of an earlier one must not pass for those of another model."""
    first = project.rounds.select_related("base_model").order_by("number").first()
    if first is not None and first.base_model_id != base.pk:
        raise DemoFailed(
            f"This data folder holds a demo that began with {first.base_model}, not {base}. "
            "Set HONE_DATA to another folder and run it again."
        )


def _base(project: Project, progress: Progress, by: User, model: str) -> Model:
    """A model from a folder or the hub when one is named, else a small one trained from scratch."""
    if model:
        name = Path(model).name.lower().replace(".", "-").replace("_", "-")
        existing = Model.objects.filter(name=name).first()
        folder = Path(model).expanduser()
        if folder.is_dir():  # one of the same name and other weights is refused there
            made = registry.register_folder(name, folder, project=project)
        else:
            made = existing or registry.register_hub(name, model, project=project)
        if not made.template and not _has_template(made.folder):
            made.template = "plain"
            made.save(update_fields=["template"])
        progress.finish(f"{made.name} from {model}", reused=existing is not None)
        return made
    corpus = ""
    if not Run.objects.filter(project=project, name="desk").exists():
        corpus = "".join(json.dumps(row) + "\n" for row in world.corpus(plan.CORPUS_TEXTS, plan.SEED))
    return _run(
        project,
        "pretrain",
        "desk",
        progress,
        by,
        params=plan.PRETRAIN,
        adapter=None,
        extra_files={"corpus.jsonl": corpus},
    )


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and "chat_template" in json.loads(config.read_text("utf-8"))


def _settings(base: Model, judges: int = 1) -> plan.Settings:
    return plan.settings_for(base.size, ours=base.run is not None, judges=judges)


def _sft_options(base: Model) -> dict[str, Any]:
    """All weights of a small model, LoRA on a large one."""
    settings = _settings(base)
    return {"adapter": settings.sft_adapter, "params": settings.sft}


def _demonstrations(project: Project, progress: Progress, by: User) -> Snapshot:
    if existing := project.snapshots.filter(name="answers").first():
        progress.finish(str(existing), reused=True)
        return existing
    asked = world.prompts(plan.DEMONSTRATIONS, plan.SEED + 1, "train")
    tasks.add_tasks(project, [{"id": f"ask-{n}", "prompt": prompt} for n, prompt in enumerate(asked)])
    _watch(
        people.write_demonstrations(project, people.join(project, RATERS), seed=plan.SEED),
        plan.DEMONSTRATIONS,
        progress,
    )
    snapshot = snapshots.cut(project, name="answers", type=Snapshot.Type.SFT, recipe={}, by=by)
    progress.finish(f"{plan.DEMONSTRATIONS:,} written by {len(RATERS)} simulated people, frozen as {snapshot}")
    return snapshot


def _run(project: Project, kind: str, name: str, progress: Progress, by: User, **options: Any) -> Model:
    """The model of this run: the one there is, or one trained now."""
    run = Run.objects.filter(project=project, name=name).first()
    reused = run is not None and run.state == Run.State.SUCCEEDED
    if run is None:
        run = runs.create(project, kind, name=name, seed=plan.SEED, by=by, **options)
    _wait(run, progress)
    model = Model.objects.get(run=run)
    progress.finish(f"{model.name}, {model.size / 1e6:.1f} MB", reused=reused)
    return model


def _wait(run: Run, progress: Progress, places: int | None = None) -> None:
    """Supervise until the run has succeeded; one that was stopped before goes on from its last checkpoint.

    Where there are more `places` than one, what is queued behind it trains beside it.
    """
    was_stopped = run.state in STOPPED
    begun = None  # what was done of it before this step, beside an earlier one
    while True:
        runner.tick(places)
        run.refresh_from_db()
        if run.state == Run.State.SUCCEEDED:
            return
        if run.is_ended:
            if not was_stopped:
                raise DemoFailed(_why_not(run))
            runs.resume(run)
            was_stopped = False
            continue
        share, where = _standing(run)
        begun = share if begun is None else begun
        progress.update((share - begun) / (1 - begun) if begun < 1 else 1.0, where)
        time.sleep(POLL_SECONDS)


def _why_not(run: Run) -> str:
    error = run.error or {}
    return f"{run.name} did not finish: {error.get('message', run.state)} {error.get('hint', '')}".strip()


def _standing(run: Run) -> tuple[float, str]:
    """How much of the run is done, as a share and in words."""
    status = rundir.read_status(run.folder) or {}
    step, total = status.get("step") or 0, status.get("total") or 0
    where = status.get("phase") or run.get_state_display().lower()
    return step / total if total else 0.0, where + (f", step {step} of {total}" if total else "")


def stop() -> None:
    """Stop what the demo trains, each run with a checkpoint from which it goes on when it gets its turn again."""
    mine = list(Run.objects.live().filter(project__slug__in=[slug for slug, *_ in _PROJECTS]))
    for run in mine:
        with suppress(runs.CannotCancel):  # it has just ended
            runs.cancel(run)
    for run in mine:
        while not run.is_ended:
            time.sleep(POLL_SECONDS)
            runner.look(run)
            run.refresh_from_db()
        if run.state == Run.State.CANCELLED:
            runs.resume(run)


def _start_round(
    project: Project, base: Model, start: Model, by: User, prompts: int, *, judges: int, seed: int
) -> Round:
    """A round on fresh prompts; the held-out ones come from cases that no training text has seen."""
    settings = _settings(base, judges)
    label = _numbered(f"ask-{seed}", world.prompts(prompts, plan.SEED + 10 * seed, "train"))
    held_out = _numbered("held-out", world.prompts(plan.EVAL_PROMPTS, plan.SEED, "eval"))
    return rounds.start_round(
        project,
        plans.Plan(
            prompts=prompts,
            responses_per_prompt=2,
            overlap=judges,
            generation=settings.generate,
            snapshot=plan.SNAPSHOT,
            reward={"params": settings.reward, "adapter": plan.REWARD_LORA, "hardware": settings.shared},
            policies=[
                {"kind": "dpo", "params": settings.dpo, "adapter": plan.LORA, "hardware": settings.shared},
                {"kind": "ppo", "params": settings.ppo, "adapter": plan.LORA},
            ],
            eval_prompts=plan.EVAL_PROMPTS,
            evaluation=settings.evaluate,
            gate=plan.GATE,
            seed=plan.SEED,
        ),
        start_model=start,
        base_model=base,
        prompts_to_label=label,
        eval_prompts=held_out,
        by=by,
    )


def _numbered(prefix: str, prompts: list[Any]) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}-{number}", "prompt": prompt} for number, prompt in enumerate(prompts)]


def _part(round: Round, part: str, progress: Progress) -> Round:
    """Take the round past one of its parts, judging where people are asked."""
    round = rounds.advance(round)
    run = round.runs.filter(part=part).first()
    reused = (run is not None and run.state == Run.State.SUCCEEDED) or round.is_ended
    if part in ("label", "compare"):
        reused = not _judge(round, part, progress)
    elif not reused:
        if run is None:
            raise DemoFailed(
                round.problem or f"The round is at {round.get_state_display().lower()} and has no run for {part}."
            )
        _wait(run, progress, _settings(round.base_model).at_once)
    round = rounds.advance(round)
    if round.problem:
        raise DemoFailed(round.problem)
    progress.finish(_outcome(round, part), reused=reused)
    return round


def _judge(round: Round, part: str, progress: Progress) -> bool:
    """Whether anything was left to judge at this part of the round; it is judged now."""
    if round.state != part:
        return False
    wanted = rounds.progress(round)[part]["wanted"]
    workers = people.join(round.project, RATERS)
    return _watch(people.judge_pairs(round.project, workers, seed=plan.SEED), wanted, progress) > 0


def _watch(work: Iterator[int], total: int, progress: Progress) -> int:
    done = 0
    for done in work:
        progress.update(min(done / max(total, 1), 1.0), f"{done:,} of {total:,}")
    return done


def _outcome(round: Round, part: str) -> str:
    """One line on what came of a part."""
    judged = rounds.progress(round)
    run = round.runs.filter(part=part).first()
    said: dict[str, Callable[[], str]] = {
        "generate": lambda: f"{judged['label']['tasks']:,} pairs from {round.start_model.name}",
        "label": lambda: f"{judged['label']['done']:,} by {len(RATERS)} simulated people, frozen as {round.snapshot}",
        "compare": lambda: f"{judged['compare']['done']:,} by {len(RATERS)} simulated people",
        "evaluate": lambda: f"{plan.EVAL_PROMPTS} prompts, answered by {len(round.evaluation['policies'])} models",
    }
    return said[part]() if part in said else f"{run.name if run else part} trained"


def _decide(round: Round, by: User) -> None:
    if winner := rounds.best(round):
        rounds.promote(
            round, Model.objects.get(name=winner), by=by, reason="Preferred most of those that meet the gate."
        )
    else:
        rounds.reject(round, by=by, reason="No policy met the gate.")


def _next_batch(project: Project, base: Model, round: Round, progress: Progress, by: User) -> None:
    """Answers of the promoted policy, waiting for a person."""
    start = round.promoted_model or round.start_model
    following = project.rounds.filter(number=round.number + 1).first()
    reused = following is not None and following.state != Round.State.GENERATE
    if following is None:
        following = _start_round(project, base, start, by, plan.NEXT_PROMPTS, judges=1, seed=2)
    following = rounds.advance(following)
    if (run := following.runs.filter(part="generate").first()) and run.state != Run.State.SUCCEEDED:
        _wait(run, progress)
        following = rounds.advance(following)
    waiting = project.tasks.filter(purpose=Purpose.LABEL).open().count()
    progress.finish(f"{waiting} pairs from {start.name} wait for you", reused=reused)
