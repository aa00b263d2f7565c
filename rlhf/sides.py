"""Which prompts a round labels and which it evaluates on: none is on both sides, and none ever changes sides."""

from __future__ import annotations

from annotation.leaks import Leaks
from annotation.models import Project, Purpose
from rlhf import prompts
from rlhf.plans import Plan
from rlhf.prompts import Prompt

COMPARED = 100_000  # prompts, at some forty microseconds each

Sides = tuple[list[Prompt], list[Prompt]]


def divide(project: Project, plan: Plan, pool: list[Prompt], given: list[Prompt] | None) -> Sides:
    """Prompts to label and prompts to evaluate on; either is empty where none is left.

    Those for evaluation are `given`, else those of `pool` that nobody was asked to label, else the ones that earlier
    rounds of the project were evaluated on.
    """
    labeled, evaluated = prompts.judged_in(project, Purpose.LABEL), prompts.judged_in(project, Purpose.EVALUATION)
    pool = [row for row in prompts.distinct(pool) if prompts.key(row["prompt"]) not in evaluated]
    known = pool if given is None else prompts.distinct(given)
    unseen = [row for row in known if prompts.key(row["prompt"]) not in labeled]
    if given is None and not unseen:
        unseen = [row for row in prompts.held_out_in(project) if prompts.key(row["prompt"]) not in labeled]
    _, held_out = prompts.hold_out(unseen, plan.eval_prompts, plan.seed)
    apart = {prompts.key(row["prompt"]) for row in held_out}
    rest = [row for row in pool if prompts.key(row["prompt"]) not in apart]
    _, label = prompts.hold_out(rest, plan.prompts, plan.seed + 1)
    return label, held_out


def warning(project: Project, label: list[Prompt], held_out: list[Prompt]) -> str:
    """One sentence on prompts held out that are, or nearly are, prompts that people label; "" where none is.

    Of those labeled before, the latest are compared: somebody waits for the answer.
    """
    leaks, before = Leaks(), project.tasks.filter(purpose=Purpose.LABEL).order_by("-pk")
    leaks.add(before.values_list("prompt", flat=True)[:COMPARED].iterator(), held_out=False)
    for asked, is_apart in ((label, False), (held_out, True)):
        leaks.add([row["prompt"] for row in asked], held_out=is_apart)
    leak = leaks.found()
    return str(leak) if leak else ""
