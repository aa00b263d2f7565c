"""The prompts that a policy is asked to answer: a file in the run directory, or those of the snapshot."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import data
from training.data import DataError, Messages, RowAccount
from training.runfile import RunFile


@dataclass(frozen=True)
class Prompt:
    id: str
    messages: Messages
    ids: list[int]


def load(
    config: RunFile, run_path: Path, tokenizer: Any, split: str, *, context: int | None
) -> tuple[list[Prompt], RowAccount]:
    """The usable prompts of the file in the run directory, or else of one split of the snapshot."""
    found = from_file(run_path / config.prompts) if config.prompts else from_snapshot(config, split)
    prompts, account = usable(found, split, tokenizer, config.params, context=context)
    _require(account, config.params, context)
    return prompts, account


def usable(
    found: Iterable[tuple[str, Messages]], split: str, tokenizer: Any, params: Any, *, context: int | None
) -> tuple[list[Prompt], RowAccount]:
    """The prompts that can be answered, each once, and what became of the others.

    `context` is how many tokens the model can hold; an answer of `max_new_tokens` must still fit behind the prompt.
    """
    if context and params.max_new_tokens >= context:
        raise DataError(
            f"No prompt fits: the model holds {context} tokens, and params.max_new_tokens keeps"
            f" {params.max_new_tokens} of them for the answer.",
            f"Set params.max_new_tokens to less than {context}; {context // 2} is a good try.",
        )
    longest = min(params.max_prompt_length, context - params.max_new_tokens if context else params.max_prompt_length)
    account, prompts, seen, names = RowAccount(split), [], set(), set()
    for name, messages in found:
        key = json.dumps(messages, sort_keys=True)
        reason = "repeated_prompt" if key in seen else data.unusable(tokenizer, messages)
        seen.add(key)
        ids = [] if reason else data.encode_prompt(tokenizer, messages)
        if not reason and len(ids) > longest:
            reason = "too_long"
        if reason:
            account.drop(reason)
            continue
        if name in names:  # their answers could not be told apart
            raise DataError(f"The id {name} stands for two different prompts.", "Give each prompt an id of its own.")
        account.use()
        names.add(name)
        prompts.append(Prompt(name, messages, ids))
    return prompts, account


def from_file(path: Path) -> Iterable[tuple[str, Messages]]:
    """(id, messages) of each line; a prompt that is plain text is one message of the user."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            prompt = row["prompt"]
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            yield (
                str(row.get("id", number)),
                [{"role": str(m["role"]), "content": str(m["content"])} for m in messages],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            hint = 'Each line must be {"id": …, "prompt": [{"role": …, "content": …}, …]}.'
            raise DataError(f"{path.name} line {number} holds no prompt.", hint) from error


def from_snapshot(config: RunFile, split: str) -> Iterable[tuple[str, Messages]]:
    """(id, messages) of each row of a snapshot of any kind: all of them have prompts."""
    rows = data.rows(config, split)
    data.require_columns(rows, "prompt")
    for number, row in enumerate(rows, start=1):
        yield str(number if row.get("task_id") is None else row["task_id"]), row["prompt"]


def _require(account: RowAccount, params: Any, context: int | None) -> None:
    # A prompt with several judgements stands in several rows; leaving the copies out loses nothing.
    repeated = account.dropped.pop("repeated_prompt", 0)
    account.read -= repeated
    try:
        bound = context is not None and context - params.max_new_tokens < params.max_prompt_length
        remedy = (
            "Lower params.max_new_tokens, which the prompt leaves room for"
            if bound
            else "Raise params.max_prompt_length"
        )
        account.require(params.max_dropped_share, remedy=remedy)
    finally:
        account.read += repeated
        if repeated:
            account.dropped["repeated_prompt"] = repeated
