"""What a snapshot counts while its rows pass by: judgements, people, what was left out, agreement and biases."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations, repeat
from statistics import median
from typing import Any

from annotation import reliability
from annotation.aggregation import scores
from annotation.judged import JudgedTask, Selection
from annotation.leaks import Leak, Leaks
from annotation.models import Kind
from annotation.outcomes import Outcome
from annotation.pair_verdicts import LeftOut, choice_lead, rank_lead
from annotation.splitting import EVAL, PARTS, TRAIN

MOST_TASKS_TOLD = 100_000  # tasks that a manifest names under one reason


class Tally:
    """Counts of one draft, a few bytes a row whatever their number."""

    def __init__(self, kind: str, selection: Selection, leaks: Leaks | None = None) -> None:
        self.kind, self.selection, self.leaks = kind, selection, leaks
        self.tasks = {part: array("q") for part in PARTS}  # of each row
        self.ids, self.revisions = array("q"), array("i")  # of each judgement used
        self.rulings: list[int] = []
        self.left_out: Counter[str] = Counter()
        self.tasks_left_out: dict[str, array[int]] = {}
        self.people: Counter[int] = Counter()
        self.simulated = 0
        self.units: Counter[tuple[Any, ...]] = Counter()  # labels of one thing, as often as they occur
        self.agreement = 0.0
        self.first_won = self.sided = self.longer_won = self.uneven = self.characters = self.answers = 0

    def leave_out(self, task: int, reason: str) -> None:
        self.left_out[reason] += 1
        tasks = self.tasks_left_out.setdefault(reason, array("q"))
        if len(tasks) < MOST_TASKS_TOLD:
            tasks.append(task)

    def take(self, part: str, outcome: Outcome) -> None:
        """Count one outcome's rows and the judgements behind them."""
        self.tasks[part].extend(row.get("task_id", outcome.task_id) for row in outcome.rows)
        self.rulings += outcome.rulings
        if self.leaks is not None and outcome.rows:
            self.leaks.add([outcome.prompt], held_out=part == EVAL)
        for pk, revision in outcome.used:
            self.ids.append(pk)
            self.revisions.append(revision)
        for task in outcome.tasks:
            for vote in task.given:
                self.people[vote.annotator] += 1
                self.simulated += vote.simulated
            self._look_at_votes(task)
        for row in outcome.rows:
            self._look_at_row(row)

    def _look_at_votes(self, task: JudgedTask) -> None:
        if self.kind == Kind.PREFERENCE:
            first, _ = task.responses
            self.units[tuple(sorted(choice_lead(vote.body, first)[0] for vote in task.given))] += 1
            for vote in task.given:
                if vote.shown and isinstance(vote.body["choice"], int):
                    self.sided += 1
                    self.first_won += vote.body["choice"] == vote.shown[0]
        elif self.kind == Kind.RANKING and len(task.given) > 1:
            for first, second in combinations(task.responses, 2):
                self.units[tuple(sorted(rank_lead(vote.body, first, second)[0] for vote in task.given))] += 1
        elif self.kind == Kind.RATING and len(task.given) > 1:
            try:
                self.units[tuple(sorted(scores(task._replace(votes=task.given), self.selection)))] += 1
            except LeftOut:
                return

    def _look_at_row(self, row: dict[str, Any]) -> None:
        if "chosen" in row:
            chosen, rejected = len(row["chosen"][0]["content"]), len(row["rejected"][0]["content"])
            self.agreement += row["agreement"]
            self.uneven += chosen != rejected
            self.longer_won += chosen > rejected
            self.characters += chosen + rejected
            self.answers += 2
        elif "responses" in row:
            self.agreement += row["agreement"]
            lengths = [len(text) for text in row["responses"]]
            ordered = sorted(zip(row["ranks"], lengths, strict=True))
            told_apart = [(x, y) for (a, x), (b, y) in combinations(ordered, 2) if a != b and x != y]
            self.uneven += len(told_apart)
            self.longer_won += sum(better > worse for better, worse in told_apart)
            self.characters += sum(lengths)
            self.answers += len(lengths)
        elif "completion" in row:
            self.characters += len(row["completion"][0]["content"])
            self.answers += 1

    @property
    def leak(self) -> Leak:
        """How many of the prompts held out are, or nearly are, prompts to train on; of none where nothing can be."""
        return self.leaks.found() if self.leaks is not None else Leak(0, 0, 0)

    @property
    def simulated_share(self) -> float:
        return self.simulated / len(self.ids) if self.ids else 0.0

    def counts(self) -> dict[str, Any]:
        """`{"train", "eval", "annotations", "annotators", "left_out": {reason: tasks}}`."""
        rows = {TRAIN: len(self.tasks[TRAIN]), EVAL: len(self.tasks[EVAL])}
        left_out = dict(sorted(self.left_out.items()))
        return {**rows, "annotations": len(self.ids), "annotators": len(self.people), "left_out": left_out}

    def statistics(self) -> dict[str, Any]:
        """What the card tells about agreement, the judges and biases; nobody's name, and nothing about who they are."""
        rows = len(self.tasks[TRAIN]) + len(self.tasks[EVAL])
        found: dict[str, Any] = {"alpha": self._alpha()}
        if leak := self.leak:
            found["leak"] = asdict(leak)
        if self.people:
            each = sorted(self.people.values())
            found["judgements_per_annotator"] = {"least": each[0], "median": median(each), "most": each[-1]}
            found["most_by_one"] = each[-1] / sum(each)
        if self.answers > rows:
            found["mean_agreement"] = self.agreement / rows
            found["longer_wins"] = _share(self.longer_won, self.uneven)
        found["first_shown_wins"] = _share(self.first_won, self.sided)
        found["mean_characters"] = self.characters / self.answers if self.answers else None
        return found

    def _alpha(self) -> float | None:
        distance = reliability.interval if self.kind == Kind.RATING else reliability.nominal
        units: Iterator[tuple[Any, ...]] = (
            unit for labels, number in self.units.items() if len(labels) > 1 for unit in repeat(labels, number)
        )
        return reliability.krippendorff_alpha(units, distance)


def _share(part: int, whole: int) -> dict[str, Any] | None:
    return {"share": part / whole, "n": whole} if whole else None
