"""What people said about answers, as token ids: pairs, rankings and ratings, every row that was read accounted for."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from training import data, forward, models
from training.data import DataError, Messages, RowAccount
from training.runfile import RunFile

STRONGEST = 3.0  # margin of the ends of a seven-point scale
# Columns of numbers that a snapshot of ratings may hold beside the aspects.
NO_ASPECTS = ("margin", "agreement", "weight", "posterior", "task_id", "label", "id", "__index_level_0__")
HINT = "A reward run reads preference rows (chosen, rejected), ranking rows (responses, ranks) or rating rows."


@dataclass(frozen=True)
class Pair:
    """One judgement: token ids, and what the judges said beside the choice itself."""

    tokens: forward.Pair  # prompt, chosen, rejected
    margin: float
    weight: float
    letters: tuple[int, int]  # characters of the chosen and of the rejected answer
    truncated: bool  # the prompt has lost its beginning
    task: str  # whose answers these are
    doubt: float = 0.0  # how likely the verdict is the wrong way round; one half is a tie
    elsewhere: list[int] | None = None  # what was preferred for another prompt, and is worse here than the chosen one

    @property
    def tree(self) -> tuple[list[int], list[list[int]]]:
        prompt, *answers = self.tokens
        return prompt, answers if self.elsewhere is None else [*answers, self.elsewhere]

    @property
    def shown(self) -> Hashable:
        """The prompt and both answers, whichever was preferred: the same for all who judged them."""
        prompt, *answers = self.tokens
        return tuple(prompt), *sorted(map(tuple, answers))


@dataclass(frozen=True)
class Ranking:
    """Several answers to one prompt and the place of each, the lowest being the best."""

    tree: tuple[list[int], list[list[int]]]
    ranks: tuple[float, ...]
    weight: float
    letters: tuple[int, ...]
    truncated: bool
    task: str
    doubt: float = 0.0


@dataclass(frozen=True)
class Rated:
    """One answer and its ratings, NaN where an aspect was not rated."""

    tree: tuple[list[int], list[list[int]]]
    ratings: tuple[float, ...]
    weight: float
    letters: tuple[int, ...]
    truncated: bool
    task: str


def kind_of(found: Sequence[dict[str, Any]]) -> str:
    """preference, ranking or rating, by the columns of the rows; DataError for any other."""
    columns = set(found[0]) if found else {"chosen", "rejected"}
    if {"chosen", "rejected"} <= columns:
        return "preference"
    if {"responses", "ranks"} <= columns:
        return "ranking"
    if "completion" in columns and aspects_of(found):
        return "rating"
    raise DataError(
        f"The snapshot's columns are {', '.join(sorted(columns))}: no reward can be learnt from them.", HINT
    )


def aspects_of(found: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The aspects that rating rows speak of: every column of numbers that is none of ours."""
    names = [name for name in (found[0] if found else ()) if name not in NO_ASPECTS]
    return tuple(name for name in names if any(type(row.get(name)) in (int, float) for row in found))


def encoded(
    config: RunFile, tokenizer: Any, split: str, kind: str, aspects: Sequence[str] = ()
) -> tuple[RowAccount, list[Any]]:
    """(account, usable rows) of one split."""
    account, kept = RowAccount(split), []
    found = data.rows(config, split)
    data.require_columns(found, *COLUMNS[kind], *aspects, *wanted_columns(config.params))
    limit, raisable = models.longest(config)
    encoder = data.Encoder(tokenizer)
    for number, row in enumerate(found):
        row["task_id"] = row.get("task_id") if row.get("task_id") is not None else f"row {number}"
        made, reason = READERS[kind](encoder, row, limit, config.params, aspects)
        if made is None:
            account.drop(reason)
            continue
        account.use(truncated=made.truncated)
        kept.append(made)
    if found or split == "train":
        account.require(config.params.max_dropped_share, raisable=raisable)
    assert all(answer[-1] == tokenizer.eos_token_id for each in kept for answer in each.tree[1])
    if kind == "preference" and config.params.per_prompt:
        kept = prompts_alike(kept)
    if kind == "preference" and split == "train":
        kept = kept if config.params.margin else judged_together(kept)
        kept = off_topic(kept, config.params.off_topic, limit, config.seed)
    return account, kept


def wanted_columns(params: Any) -> list[str]:
    """What the settings ask of the snapshot besides the answers."""
    found = ["margin"] if params.margin or params.labels == "strength" else []
    found += [params.labels] if params.labels in ("agreement", "posterior") else []
    return found + (["task_id"] if params.per_prompt else [])


def prompts_alike(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with weights that sum to one mean pair for each task, however many answers it ranked.

    K answers make K (K - 1) / 2 pairs, which Ouyang et al. (2022), section 3.5, average so that no prompt outweighs.
    """
    counts = Counter(pair.task for pair in pairs)
    return [dataclasses.replace(pair, weight=pair.weight / counts[pair.task]) for pair in pairs]


def judged_together(pairs: Sequence[Pair]) -> list[Pair]:
    """The same two answers to one prompt, judged several times, as one pair whose loss is the mean of theirs.

    Cross-entropy is linear in the label, so the mean over the judgements is the loss of their mean label, computed
    once. The pair weighs what they weigh together, and its better answer is the one that most of this weight is for.
    """
    found: dict[Hashable, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.shown, []).append(pair)
    return [_mean(same) if len(same) > 1 else same[0] for same in found.values()]


def _mean(same: Sequence[Pair]) -> Pair:
    (prompt, chosen, rejected), letters = same[0].tokens, same[0].letters
    weight = math.fsum(pair.weight for pair in same)
    doubts = (pair.weight * (pair.doubt if pair.tokens[1] == chosen else 1 - pair.doubt) for pair in same)
    mean = dataclasses.replace(same[0], weight=weight, doubt=math.fsum(doubts) / weight, margin=0.0)
    if mean.doubt <= 0.5:
        return mean
    return dataclasses.replace(
        mean, tokens=(prompt, rejected, chosen), letters=(letters[1], letters[0]), doubt=1 - mean.doubt
    )


def off_topic(pairs: Sequence[Pair], share: float, limit: int, seed: int) -> list[Pair]:
    """The pairs, that share of them with an answer beside theirs which was preferred for another prompt.

    What was said to somebody else is the worse answer, however well it reads, which judged pairs seldom show because
    both their answers mean to fit: the non-contextual pairs of Liu et al. (2024), Robust Reward Model Training. Here
    the preferred answer is read once for both comparisons. What would exceed `limit` tokens is left out.
    """
    draw, found = random.Random(seed), list(pairs)
    for place in draw.sample(range(len(pairs)), round(share * len(pairs))):
        other = pairs[draw.randrange(len(pairs))]
        (prompt, good, _), (elsewhere, bad, _) = pairs[place].tokens, other.tokens
        if elsewhere != prompt and bad != good and len(prompt) + len(bad) <= limit:
            found[place] = dataclasses.replace(pairs[place], elsewhere=bad)
    return found


def belief(value: Any) -> float:
    """A verdict's likelihood as the snapshot tells it: 1 where it says nothing, kept between 0 and 1."""
    return 1.0 if value is None else min(1.0, max(0.0, float(value)))


def _answers(
    encoder: data.Encoder, row: dict[str, Any], completions: Sequence[Messages], limit: int, params: Any
) -> tuple[tuple[list[int], list[list[int]], bool] | None, str]:
    """((prompt, answers, whether the prompt was cut), "") or (None, why not)."""
    if reason := data.unusable(encoder.tokenizer, row["prompt"], *completions):
        return None, reason
    if row.get("weight") is not None and not float(row["weight"]) > 0:
        return None, "weight_not_above_zero"
    both = [encoder.pair(row["prompt"], completion) for completion in completions]
    prompt, answers = both[0][0], [answer for _, answer in both]
    room = limit - max(map(len, answers))
    given = data.cut_prompt(encoder.tokenizer, prompt, room) if params.long_prompts == "cut" else prompt
    if given is None or len(given) > room:
        return None, "too_long"
    return (given, answers, len(given) < len(prompt)), ""


def _weight(row: dict[str, Any]) -> float:
    return 1.0 if row.get("weight") is None else float(row["weight"])


def _doubt(row: dict[str, Any], params: Any) -> float:
    """How likely the verdict is the wrong way round.

    By its strength: a tie is even, and the strongest verdict certain, in even steps (Liu et al. 2024, Reward Modeling
    with Ordinal Feedback).
    """
    if params.labels == "strength":
        return 0.5 - 0.5 * belief(float(row["margin"] or 0.0) / STRONGEST)
    return 0.0 if params.labels == "hard" else 1.0 - belief(row[params.labels])


def _letters(completions: Sequence[Messages]) -> tuple[int, ...]:
    return tuple(sum(len(message["content"]) for message in completion) for completion in completions)


def _pair(encoder: data.Encoder, row: dict[str, Any], limit: int, params: Any, _: Any) -> tuple[Pair | None, str]:
    completions = [row["chosen"], row["rejected"]]
    found, reason = _answers(encoder, row, completions, limit, params)
    if found is None:
        return None, reason
    prompt, (chosen, rejected), cut = found
    if chosen == rejected:
        return None, "answers_equal"
    shorter, longer = _letters(completions)
    margin, doubt = float(row.get("margin") or 0.0), _doubt(row, params)
    return Pair(
        (prompt, chosen, rejected), margin, _weight(row), (shorter, longer), cut, str(row["task_id"]), doubt
    ), ""


def _ranking(encoder: data.Encoder, row: dict[str, Any], limit: int, params: Any, _: Any) -> tuple[Ranking | None, str]:
    texts, ranks = row["responses"] or [], row["ranks"] or []
    if len(texts) < 2 or len(texts) != len(ranks) or any(rank is None for rank in ranks):
        return None, "fewer_than_two_placed_answers"
    if len(set(ranks)) == 1 and params.ranking_loss == "all_pairs":
        return None, "all_answers_tie"
    completions = [[{"role": "assistant", "content": text}] if isinstance(text, str) else text for text in texts]
    found, reason = _answers(encoder, row, completions, limit, params)
    if found is None:
        return None, reason
    prompt, answers, cut = found
    places, letters = tuple(map(float, ranks)), _letters(completions)
    return Ranking((prompt, answers), places, _weight(row), letters, cut, str(row["task_id"]), _doubt(row, params)), ""


def _rated(
    encoder: data.Encoder, row: dict[str, Any], limit: int, params: Any, aspects: Sequence[str]
) -> tuple[Rated | None, str]:
    ratings = tuple(math.nan if row[name] is None else float(row[name]) for name in aspects)
    if all(map(math.isnan, ratings)):
        return None, "not_rated"
    found, reason = _answers(encoder, row, [row["completion"]], limit, params)
    if found is None:
        return None, reason
    prompt, answers, cut = found
    return Rated((prompt, answers), ratings, _weight(row), _letters([row["completion"]]), cut, str(prompt)), ""


COLUMNS = {
    "preference": ("prompt", "chosen", "rejected"),
    "ranking": ("prompt", "responses", "ranks"),
    "rating": ("prompt", "completion"),
}
READERS: dict[str, Callable[..., tuple[Any, str]]] = {"preference": _pair, "ranking": _ranking, "rating": _rated}
