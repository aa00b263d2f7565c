"""Do people prefer it? Held-out answers become blind pairs, and their verdicts become a share with an interval."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from annotation import intervals, tasks
from annotation.cleaning import CleaningError
from annotation.models import Annotation, Purpose, Response
from rlhf import generation
from rlhf.models import Round, Run

NOTHING = {"value": None, "low": None, "high": None, "n": 0}
INTERVAL = (
    "95 % Wilson interval over prompts; ties and both bad count half, equal answers are ties that nobody was shown"
)


def prefix(round: Round, policy: str = "") -> str:
    """What the caller's ids of a round's comparisons begin with; of one policy's when it is named."""
    return f"round-{round.number}/vs/" + (f"{policy}/" if policy else "")


def make_comparisons(run: Run, *, against: str, policies: list[str], need: int = 1) -> dict[str, dict[str, int]]:
    """A task for every held-out prompt and policy: its answer beside `against`'s; asking twice adds nothing.

    Returns for each policy `{"prompts", "identical", "unreadable"}`: equal answers are ties and are not shown.
    """
    if run.round is None:
        raise ValueError("Comparisons belong to a round.")
    answers: dict[str, dict[str, Any]] = defaultdict(dict)
    prompts: dict[str, Any] = {}
    for row in generation.read(run.folder):
        prompts[row["id"]] = row["prompt"]
        answers[row["model"]][row["id"]] = row["responses"][0]
    counts = {policy: {"prompts": 0, "identical": 0, "unreadable": 0} for policy in policies}
    for policy in policies:
        records = []
        for identifier, response in answers[policy].items():
            counts[policy]["prompts"] += 1
            try:
                pair = [_side(response, policy), _side(answers[against][identifier], against)]
            except CleaningError:
                counts[policy]["unreadable"] += 1
                continue
            if pair[0]["text"].strip() == pair[1]["text"].strip():
                counts[policy]["identical"] += 1
                continue
            records.append(
                {"id": prefix(run.round, policy) + identifier, "prompt": prompts[identifier], "responses": pair}
            )
            records[-1] |= {"metadata": {"round": run.round.number}, "need": need, "priority": 1}
        tasks.add_tasks(run.project, records, purpose=Purpose.EVALUATION)
    return counts


def win_rates(round: Round) -> dict[str, dict[str, Any]]:
    """For each policy that people compared with the base model: how often they prefer it, as far as they have judged.

    `{"preferred": {"value", "low", "high", "n"}, "won", "tied", "lost", "identical", "judgements", "simulated_share"}`;
    won, tied and lost count judged prompts by the mean of their verdicts, `n` counts them and the identical ones.
    """
    compared = round.evaluation.get("compared") or {}
    return {policy: _rate(round, policy, counts["identical"]) for policy, counts in compared.items()}


def _side(response: dict[str, Any], model: str) -> dict[str, Any]:
    return generation.answer(response) | {"source": model}


def _rate(round: Round, policy: str, identical: int) -> dict[str, Any]:
    pairs = round.project.tasks.filter(purpose=Purpose.EVALUATION, external_id__startswith=prefix(round, policy))
    mine = set(Response.objects.filter(task__in=pairs, source=policy).values_list("pk", flat=True))
    verdicts: dict[int, list[float]] = defaultdict(list)
    simulated = 0
    rows = Annotation.objects.standing().filter(task__in=pairs)
    for task, body, is_simulated in rows.values_list("task_id", "body", "annotator__is_simulated"):
        verdicts[task].append(_score(body["choice"], mine))
        simulated += is_simulated
    means = [sum(scores) / len(scores) for scores in verdicts.values()]
    judgements = sum(map(len, verdicts.values()))
    return {
        "preferred": intervals.wilson(sum(means) + identical / 2, len(means) + identical) or NOTHING,
        "won": sum(mean > 0.5 for mean in means),
        "tied": sum(mean == 0.5 for mean in means),
        "lost": sum(mean < 0.5 for mean in means),
        "identical": identical,
        "judgements": judgements,
        "simulated_share": simulated / judgements if judgements else 0.0,
        "interval": INTERVAL,
    }


def _score(choice: Any, mine: set[int]) -> float:
    if choice in ("tie", "both_bad"):
        return 0.5
    return 1.0 if int(choice) in mine else 0.0
