"""What a reward model learns from, one class per kind of row: pairs, rankings and ratings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from training import reward_figures as figures
from training.heads import Heads, aspect_weights
from training.learning_params import Reward
from training.loop import Metrics
from training.reward_losses import all_pairs_loss, plackett_luce_loss, preference_loss, rating_losses
from training.reward_rows import Pair, Ranking, Rated
from training.runfile import RunFile, RunFileError

Judged = tuple[dict[str, Any], list[str]]  # figures, warnings
# Settings that mean something to some kinds of rows alone.
MEANT_FOR = {
    "ranking_loss": ("ranking",),
    "rating_loss": ("rating",),
    "aspect_weights": ("rating",),
    "per_prompt": ("preference",),
    "off_topic": ("preference",),
    "margin": ("preference",),
    "labels": ("preference", "ranking"),
    "label_smoothing": ("preference", "ranking"),
    "center_coefficient": ("preference", "ranking"),
}


class Objective:
    """The rows that are learnt from, and by how much each member of the ensemble minds each of them."""

    kind, noun = "", "rows"

    def __init__(self, config: RunFile, rows: Sequence[Any], aspects: Sequence[str]) -> None:
        self.params, self.rows = config.params, list(rows)
        self.require_meaning(config.params)
        self.heads = self.shape(aspects)
        weights = torch.tensor([row.weight * self.lessons(row) for row in self.rows])
        self.minds = weights[:, None] * self.heads.own_weights(len(self.rows), config.seed)

    def lessons(self, row: Any) -> int:
        """How many times a row is learnt from, each of which weighs what the row does."""
        return 1

    @classmethod
    def require_meaning(cls, params: Any) -> None:
        """Refuse settings that would be ignored with such rows."""
        for name, kinds in MEANT_FOR.items():
            if cls.kind not in kinds and getattr(params, name) != getattr(Reward, name):
                raise RunFileError(f"params.{name}", f"has no meaning for {cls.noun}; leave it out")

    def shape(self, aspects: Sequence[str]) -> Heads:
        """The outputs that the rows ask for."""
        return Heads(members=self.params.members, apart=self.apart)

    @property
    def apart(self) -> bool:
        return self.params.members > 1 and self.params.ensemble == "adapters"

    def share(self, part: Sequence[int], batch: Sequence[int], device: torch.device) -> Tensor:
        """(P, M) what each row of a part weighs in the mean over its batch, for each member."""
        return (self.minds[list(part)] / self.minds[list(batch)].sum(dim=0)).to(device)

    def center(self, scores: Tensor, count: int) -> Tensor:
        """The price of (B, M) sums of two scores that are not zero, over a batch of `count` rows."""
        return self.params.center_coefficient * (scores**2).mean(dim=1).sum() / count

    def loss(self, outputs: Tensor, part: Sequence[int], batch: Sequence[int]) -> tuple[Tensor, list[float]]:
        """(what a part adds to the loss of its batch, by how much the better answer leads in each of its pairs).

        `outputs` are those of the part's answers, row by row.
        """
        raise NotImplementedError

    def judge(self, rows: Sequence[Any], outputs: Sequence[Tensor]) -> Judged:
        """Held-out figures; `outputs` are those of each row's answers."""
        raise NotImplementedError

    def brief(self, found: dict[str, Any]) -> Metrics:
        """What the metrics say of held-out figures."""
        if not found:
            return {}
        right = found.get("accuracy")
        return {"eval_loss": found["loss"]} | ({"eval_accuracy": right["value"]} if right else {})

    def _ensemble(self, leads: list[list[float]]) -> dict[str, Any]:
        return {"ensemble": figures.agreement(leads)} if self.heads.members > 1 else {}


class Pairs(Objective):
    """Bradley-Terry: of two answers one was preferred."""

    kind, noun = "preference", "pairs"
    rows: list[Pair]

    def loss(self, outputs: Tensor, part: Sequence[int], batch: Sequence[int]) -> tuple[Tensor, list[float]]:
        better, worse, places, margins, doubts = zip(*self.comparisons(part), strict=True)
        scores, of = self.heads.member_scores(outputs), list(places)
        chosen, rejected = scores[list(better)], scores[list(worse)]
        times = outputs.new_tensor([[self.lessons(self.rows[row])] for row in part])
        share = (self.share(part, batch, outputs.device) / times)[of]
        margin, smoothing = outputs.new_tensor(margins), outputs.new_tensor(doubts)
        loss = self.center(chosen + rejected, sum(self.lessons(self.rows[row]) for row in batch))
        for member in range(self.heads.members):
            mean = preference_loss(
                chosen[:, member], rejected[:, member], margin=margin, weight=share[:, member],
                label_smoothing=smoothing, center=0.0,
            )  # fmt: skip
            loss = loss + share[:, member].sum() * mean / self.heads.members
        return loss, (chosen - rejected).mean(dim=1).tolist()

    def lessons(self, row: Pair) -> int:
        return 1 if row.elsewhere is None else 2

    def comparisons(self, part: Sequence[int]) -> list[tuple[int, int, int, float, float]]:
        """(better, worse, place of the row in the part, margin, chance of being wrong) among the answers of a part."""
        found, first = [], 0
        for place, row in enumerate(self.rows[number] for number in part):
            margin = row.margin * self.params.margin
            found.append((first, first + 1, place, margin, smoothed(row.doubt, self.params)))
            if row.elsewhere is not None:
                found.append((first, first + 2, place, 0.0, smoothed(0.0, self.params)))
            first += 1 + self.lessons(row)
        return found

    def judge(self, rows: Sequence[Pair], outputs: Sequence[Tensor]) -> Judged:
        if not rows:
            return {}, [figures.NOTHING_HELD_OUT]
        leads = [(each[0] - each[1]).tolist() for each in map(self.heads.member_scores, outputs)]
        shorter = [row.letters[1] - row.letters[0] for row in rows]
        shown = [row.shown for row in rows]
        found, warnings = figures.judged([math.fsum(each) / len(each) for each in leads], shorter, shown)
        return found | self._ensemble(leads), warnings


class Rankings(Objective):
    """K-wise: a whole ranking of answers is one element of the batch."""

    kind, noun = "ranking", "rankings"
    rows: list[Ranking]

    def __init__(self, config: RunFile, rows: Sequence[Any], aspects: Sequence[str]) -> None:
        params = config.params
        if params.ranking_loss == "plackett_luce" and (params.labels != "hard" or params.label_smoothing):
            name = "labels" if params.labels != "hard" else "label_smoothing"
            raise RunFileError(f"params.{name}", "has no meaning for plackett_luce; take all_pairs or leave it out")
        super().__init__(config, rows, aspects)

    def loss(self, outputs: Tensor, part: Sequence[int], batch: Sequence[int]) -> tuple[Tensor, list[float]]:
        share, leads, sums = self.share(part, batch, outputs.device), [], []
        total = outputs.new_zeros(())
        rows = [self.rows[row] for row in part]
        for place, scores in enumerate(self.heads.member_scores(outputs).split([len(row.ranks) for row in rows])):
            for member in range(self.heads.members):
                loss = self._of(scores[:, member], rows[place])
                total = total + share[place, member] * loss / self.heads.members
            sums.append(2 * scores.mean(dim=0))
            leads += [lead for lead, _ in _leads(scores.mean(dim=1).tolist(), rows[place])]
        return total + self.center(torch.stack(sums), len(batch)), leads

    def judge(self, rows: Sequence[Ranking], outputs: Sequence[Tensor]) -> Judged:
        leads, shorter, groups = [], [], []
        for number, (row, scores) in enumerate(zip(rows, map(self.heads.member_scores, outputs), strict=True)):
            pairs = [_leads(member, row) for member in scores.T.tolist()]
            leads += [[lead for lead, _ in each] for each in zip(*pairs, strict=True)]
            shorter += [letters for _, letters in pairs[0]]
            groups += [number] * len(pairs[0])
        if not leads:
            return {}, [figures.NOTHING_HELD_OUT]
        found, warnings = figures.judged([math.fsum(each) / len(each) for each in leads], shorter, groups)
        losses = [self._of(self.heads.scores(each), row).item() for each, row in zip(outputs, rows, strict=True)]
        return found | {"loss": sum(losses) / len(losses)} | self._ensemble(leads), warnings

    def _of(self, scores: Tensor, row: Ranking) -> Tensor:
        ranks = scores.new_tensor(row.ranks)
        if self.params.ranking_loss == "plackett_luce":
            return plackett_luce_loss(scores, ranks)
        return all_pairs_loss(scores, ranks, label_smoothing=smoothed(row.doubt, self.params))


class Ratings(Objective):
    """Regression: one output per aspect that people rated, weighed into one score."""

    kind, noun = "rating", "rated answers"
    rows: list[Rated]

    def shape(self, aspects: Sequence[str]) -> Heads:
        given = torch.tensor([row.ratings for row in self.rows], dtype=torch.float64)
        known = [column[~column.isnan()] for column in given.T]
        if empty := [name for name, column in zip(aspects, known, strict=True) if not len(column)]:
            raise RunFileError("snapshot", f"has no usable rating of {empty[0]} to learn from")
        self.middle = tuple(column.mean().item() for column in known)
        self.low = torch.tensor([column.min().item() for column in known])
        self.high = torch.tensor([column.max().item() for column in known])
        weights = aspect_weights(self.params.aspect_weights, aspects)
        if self.params.rating_loss == "bce":
            plain = (0.0,) * len(aspects), (1.0,) * len(aspects)
            return Heads(self.params.members, tuple(aspects), weights, *plain, self.apart)
        spread = tuple(max(column.std(correction=0).item(), 1e-6) for column in known)
        return Heads(self.params.members, tuple(aspects), weights, self.middle, spread, self.apart)

    def targets(self, rows: Sequence[Rated]) -> Tensor:
        """(N, A) what the outputs should be: deviations from the mean, or shares of the scale."""
        given = torch.tensor([row.ratings for row in rows])
        if self.params.rating_loss == "bce":
            return ((given - self.low) / (self.high - self.low).clamp(min=1e-6)).clamp(0, 1)
        return (given - torch.tensor(self.heads.offsets)) / torch.tensor(self.heads.scales)

    def loss(self, outputs: Tensor, part: Sequence[int], batch: Sequence[int]) -> tuple[Tensor, list[float]]:
        targets = self.targets([self.rows[row] for row in part]).to(outputs.device)
        losses = self._losses(outputs, targets)
        return (self.share(part, batch, outputs.device) * losses).sum() / self.heads.members, []

    def judge(self, rows: Sequence[Rated], outputs: Sequence[Tensor]) -> Judged:
        if not rows:
            return {}, [figures.NOTHING_HELD_OUT]
        together = torch.cat(list(outputs))
        given = torch.tensor([row.ratings for row in rows])
        values = self.heads.values(together).mean(dim=1)
        if self.params.rating_loss == "bce":
            values = self.low + (self.high - self.low) * values.sigmoid()
        loss = self._losses(together, self.targets(rows)).mean().item()
        found = figures.rated(values, given, self.middle, self.heads.aspects)
        worse = [name for name, each in found.items() if each["squared_error"] >= each["of_the_mean"]]
        warnings = [f"Saying the mean is as good as this model for {', '.join(worse)}."] if worse else []
        pairs, more = self._pairs(rows, together)
        return pairs | {"loss": loss, "aspects": found}, warnings + more

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(N, M): the mean over the aspects that were rated."""
        each = rating_losses(
            outputs.view(len(targets), self.heads.members, -1), targets[:, None], kind=self.params.rating_loss
        )
        return each.sum(dim=2) / (~targets.isnan()).sum(dim=1, keepdim=True)

    def _pairs(self, rows: Sequence[Rated], outputs: Tensor) -> Judged:
        """The same on pairs of answers to one prompt whose weighted ratings differ, where the snapshot has such."""
        weights = torch.tensor(self.heads.weights)
        truth = (torch.tensor([row.ratings for row in rows]).nan_to_num() * weights).sum(dim=1).tolist()
        members = self.heads.member_scores(outputs).tolist()
        leads, shorter, groups = [], [], []
        prompts: dict[Any, list[int]] = {}
        for number, row in enumerate(rows):
            prompts.setdefault((row.task, tuple(map(math.isnan, row.ratings))), []).append(number)
        for one, two in (pair for alike in prompts.values() for pair in combinations(alike, 2)):
            if truth[one] == truth[two]:
                continue
            better, worse = (one, two) if truth[one] > truth[two] else (two, one)
            leads.append([a - b for a, b in zip(members[better], members[worse], strict=True)])
            shorter.append(rows[worse].letters[0] - rows[better].letters[0])
            groups.append(rows[one].task)
        if not leads:
            return {}, []
        found, warnings = figures.judged([math.fsum(each) / len(each) for each in leads], shorter, groups)
        return found | self._ensemble(leads), warnings


def smoothed(doubt: float, params: Any) -> float:
    """How likely a verdict is wrong, when one that is right is still turned round with the chance `label_smoothing`."""
    return params.label_smoothing + (1 - 2 * params.label_smoothing) * doubt


def _leads(scores: Sequence[float], row: Ranking) -> list[tuple[float, int]]:
    """(by how much the better answer leads, by how many letters it is shorter) of each pair that does not tie."""
    found = []
    for one, two in combinations(range(len(scores)), 2):
        if row.ranks[one] != row.ranks[two]:
            better, worse = (one, two) if row.ranks[one] < row.ranks[two] else (two, one)
            found.append((scores[better] - scores[worse], row.letters[worse] - row.letters[better]))
    return found


OBJECTIVES: dict[str, type[Objective]] = {each.kind: each for each in (Pairs, Rankings, Ratings)}
