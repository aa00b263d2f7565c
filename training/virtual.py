"""Trained positions in front of every row: prompt tuning, P-tuning and prefix tuning of PEFT, at the decoder's door.

PEFT prepends in the forward pass of its own wrapper, which the engine does not call. Here the decoder itself prepends,
so that every pass, and every answer written token by token, sees the same positions; what comes out has the length of
what went in. A text takes a row of its own then.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class VirtualTokens(nn.Module):
    """The trained positions of one PEFT adapter; active like a layer of LoRA, by `_active_adapter`."""

    def __init__(self, peft: Any, name: str) -> None:
        super().__init__()
        config = peft.peft_config[name]
        self.encoder = peft.prompt_encoder  # registered, so that the base finds what learns
        self.name, self.count = name, int(config.num_virtual_tokens)
        self.is_prefix = config.peft_type.value == "PREFIX_TUNING"
        self._active_adapter: list[str] = [name]
        self._prompt = peft.get_prompt

    def prompt(self, rows: int) -> Any:
        """(rows, count, D) embeddings, or a cache of keys and values for prefix tuning."""
        return self._prompt(batch_size=rows)

    @property
    def is_active(self) -> bool:
        return self.name in self._active_adapter


def install(peft: Any, name: str) -> VirtualTokens:
    """Let the decoder under `peft` put the adapter's positions in front of what it reads."""
    lm = peft.get_base_model()
    decoder = lm.base_model
    tokens = VirtualTokens(peft, name)
    lm.add_module("virtual", tokens)
    lm.hone_reads_trees = False  # a row of several texts would have the positions in front of the first one alone
    inner = decoder.forward

    def forward(
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        given = {"attention_mask": attention_mask, "position_ids": position_ids, "past_key_values": past_key_values}
        if not tokens.is_active:
            return inner(input_ids=input_ids, inputs_embeds=inputs_embeds, **given, **kwargs)
        embeds = decoder.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        rows, width = embeds.shape[:2]
        cached = past_key_values.get_seq_length() if past_key_values is not None else 0
        prompt = None if cached else tokens.prompt(rows)
        if prompt is not None and tokens.is_prefix:
            given["past_key_values"] = _filled(past_key_values, prompt)
        elif prompt is not None:
            embeds = torch.cat([prompt.to(embeds.dtype), embeds], dim=1)
        ahead = prompt is not None and not tokens.is_prefix
        if position_ids is not None or not ahead:
            start = max(cached, tokens.count) if position_ids is None else tokens.count
            own = torch.arange(width, device=embeds.device).expand(rows, -1) if position_ids is None else position_ids
            given["position_ids"] = _positions(own + start, tokens.count if ahead else 0)
        if attention_mask is not None:
            given["attention_mask"] = _seen(attention_mask, tokens.count, with_rows=ahead)
        out = inner(inputs_embeds=embeds, **given, **kwargs)
        if ahead:
            out.last_hidden_state = out.last_hidden_state[:, tokens.count :]
        return out

    decoder.forward = forward
    return tokens


def _filled(cache: Any, prefix: Any) -> Any:
    """The prefix as the beginning of the caller's own empty cache, or as a cache of its own."""
    if cache is None:
        return prefix
    for number, layer in enumerate(prefix.layers):
        cache.update(layer.keys, layer.values, number)
    return cache


def _positions(own: Tensor, count: int) -> Tensor:
    ahead = torch.arange(count, device=own.device).expand(len(own), -1)
    return torch.cat([ahead, own], dim=1)


def _seen(mask: Tensor, count: int, *, with_rows: bool) -> Tensor:
    """The mask with `count` positions in front that every token sees; `with_rows`: they are read in this pass.

    A mask is (B, L) of ones and zeros, or (B, 1, L, L): true or 0 where a token is seen, false or minus infinity else.
    """
    if mask.ndim == 2:
        return nn.functional.pad(mask, (count, 0), value=1)
    yes, no = (True, False) if mask.dtype == torch.bool else (0.0, torch.finfo(mask.dtype).min)
    wide = nn.functional.pad(mask, (count, 0), value=yes)
    if not with_rows:
        return wide
    tall = nn.functional.pad(wide, (0, 0, count, 0), value=no)
    above = torch.ones(count, count, dtype=torch.bool, device=mask.device).triu(1)
    tall[..., :count, :count] = torch.full((count, count), yes, dtype=mask.dtype, device=mask.device).masked_fill(
        above, no
    )
    return tall
