"""One frozen base model in memory that answers as itself or as any adapter on it, and what judges the answers."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import AutoTokenizer

from training import adapters, data, ensembles, forward, fused, models
from training.advantages import ScoreScale
from training.compatibility import LAYERS
from training.forward import Answered
from training.heads import Heads, require_members
from training.inputs import trained_on
from training.runfile import Adapter, Hardware, RunFileError

# PEFT writes the adapter of this name straight into the folder and any other one into a folder below.
POLICY = "default"


class SharedBase:
    """A causal model with frozen weights and named adapters on it, one of them active at a time.

    PEFT's own `set_adapter` walks every module and thaws what it activates. Here the adapted layers are listed once
    and only their active name moves; what learns is decided when an adapter is added, and never again. Adapters of
    one base are of one family: those of LoRA share it freely, one of trained positions stands alone.
    """

    def __init__(
        self, folder: Path, hardware: Hardware, *, learns: bool = False, adapter: Adapter | None = None
    ) -> None:
        """`learns` is for full fine-tuning: there are no adapters then, and the bare model is the policy.

        `adapter` is what will be trained, where that decides how the weights are kept (QLoRA).
        """
        self.lm = models.load_causal(folder, hardware, training=learns, adapter=adapter)
        self.lm.eval().requires_grad_(learns)
        self.wrapper: Any = None  # what PEFT, or our own module, wraps the model in
        # What may still stand on it; on weights that learn, nothing.
        self.family: str | None = "all weights" if learns else None
        self._layers: list[Any] = []

    @property
    def device(self) -> torch.device:
        return self.lm.device

    @property
    def context(self) -> int | None:
        """How many tokens the model can hold, where it says so."""
        return getattr(self.lm.config.get_text_config(), "max_position_embeddings", None)

    @property
    def names(self) -> set[str]:
        """The adapters on the base."""
        return {name for layer in self._layers for name in adapters.names_on(layer)}

    def holds(self, folder: Path) -> bool:
        """Whether the adapter in `folder` can stand beside those that are here."""
        return self.family is None or self.family == adapters.family(folder) == "LORA"

    def add(self, name: str, adapter: Adapter, *, start: Path | None = None) -> None:
        """A new adapter that learns, a copy of the one in `start` where that is given."""
        self.wrapper = adapters.attach(self.wrapper or self.lm, adapter, task="causal", name=name, start=start)
        self.family = "LORA" if adapter.method in LAYERS else adapter.method
        self._added(name, learns=True)

    def load(self, name: str, folder: Path, *, learns: bool = False) -> dict[str, Tensor]:
        """The trained adapter in `folder`; returns what was saved beside it (a score head), by name."""
        self.wrapper = adapters.load(self.wrapper or self.lm, folder, name, learns=learns, head=False)
        self.family = adapters.family(folder)
        self._added(name, learns=learns)
        return adapters.beside(folder)

    def _added(self, name: str, *, learns: bool) -> None:
        fused.merge_lora(self.lm)
        self._layers = adapters.layers_of(self.lm)
        thawed = {each: self._learns(each) for each in self.names - {name}} | {name: learns}
        self.lm.requires_grad_(False)
        for each, wanted in thawed.items():
            for weight in self.weights(each).values():
                weight.requires_grad_(wanted)
        self.lm.eval()
        self._activate(None)

    def weights(self, name: str) -> dict[str, nn.Parameter]:
        """The weights of one adapter, by a name that does not depend on how the adapter is called."""
        return adapters.weights_of(self.lm, name)

    def learning(self, name: str | None) -> dict[str, Tensor]:
        """What learns under this name: an adapter's weights, or those of the bare model (None)."""
        return dict(self.weights(name)) if name else models.learning(self.lm)

    def _learns(self, name: str) -> bool:
        return any(weight.requires_grad for weight in self.weights(name).values())

    def _activate(self, name: str | None) -> None:
        active = [] if name is None else [name]
        for layer in self._layers:
            layer._active_adapter = active

    @contextmanager
    def speaking_as(self, name: str | None, *, dropout: bool = False) -> Iterator[Any]:
        """The model as adapter `name`, or as the bare base (None). A backward pass belongs inside as well.

        `dropout` switches on the adapter's own; that of the base model is always off, for log-probabilities with
        another mask in each pass cannot be compared.
        """
        previous = [layer._active_adapter for layer in self._layers]
        self._activate(name)
        if name is not None and dropout:
            self._let_dropout(name, True)
        try:
            yield self.lm
        finally:
            if name is not None and dropout:
                self._let_dropout(name, False)
            for layer, active in zip(self._layers, previous, strict=True):
                layer._active_adapter = active

    @contextmanager
    def answering_as(self, name: str | None) -> Iterator[Any]:
        """For passes without gradients: in float32 the adapter is folded into the weights while they last, a third
        faster on a small model, and the weights are put back bit for bit. Nobody else may speak inside.
        """
        if name is None or not self._can_fold(name):
            with self.speaking_as(name):
                yield self.lm
            return
        kept = []
        for layer in self._layers:
            if name in adapters.names_on(layer):
                weight = layer.get_base_layer().weight
                kept.append((weight, weight.data))
                with torch.no_grad():
                    weight.data = weight.data + layer.get_delta_weight(name)
        try:
            with self.speaking_as(None):
                yield self.lm
        finally:
            for weight, original in kept:
                weight.data = original

    def _can_fold(self, name: str) -> bool:
        # bfloat16 would round the adapter away; a tied head must not follow its embedding; DoRA is not a sum.
        tied = self.lm.get_output_embeddings().weight
        return self.lm.dtype == torch.float32 and all(
            isinstance(layer, LoraLinear) and name not in layer.lora_variant and layer.weight is not tied
            for layer in self._layers
        )

    def _let_dropout(self, name: str, on: bool) -> None:
        for layer in self._layers:
            for dropouts in (getattr(layer, "lora_dropout", {}), getattr(layer, "dropouts", {})):
                if name in dropouts:
                    dropouts[name].train(on)

    def save_pretrained(self, folder: Path) -> None:
        """Write the policy as plain transformers and PEFT read it: its adapter alone, or the whole model."""
        if self.wrapper is None:
            self.lm.save_pretrained(str(folder))
            return
        self.wrapper.save_pretrained(str(folder), selected_adapters=[POLICY])


class SharedScorer:
    """A reward adapter and its score head, or those of each member, on a base that other adapters share."""

    def __init__(self, base: SharedBase, folder: Path, name: str = "reward", caution: float = 0.0) -> None:
        self.base, self.name, self.heads, self.caution = base, name, Heads.of(folder), caution
        self.members: dict[str, tuple[Tensor, Tensor]] = {}  # each adapter's head
        for number, place in enumerate(ensembles.folders(folder, self.heads.adapters), start=1):
            named = name if number == 1 else f"{name}-{number}"
            self.members[named] = score_head(base.load(named, place), base.device, self.heads.each)

    @torch.no_grad()
    def score(self, answered: Sequence[Answered], pad_id: int) -> Tensor:
        """(N,) raw scores, read at the last token of each answer."""
        batch = forward.pack_answers(answered, pad_id, self.base.device)
        found = []
        for name, (weight, bias) in self.members.items():
            with self.base.answering_as(name) as lm:
                hidden = forward.hidden_states(lm, batch, batch.ends)
            found.append(hidden.float() @ weight.T + bias)
        return self.heads.scores(torch.cat(found, dim=1), self.caution)


class SeparateScorer:
    """A reward model of its own: a whole classifier, or an adapter on another base."""

    def __init__(self, model: Any, heads: Heads | None = None, caution: float = 0.0) -> None:
        self.model = model.eval().requires_grad_(False)
        self.heads, self.caution = heads or Heads(), caution

    @torch.no_grad()
    def score(self, answered: Sequence[Answered], pad_id: int) -> Tensor:
        """(N,) raw scores; the classifier itself looks for the last token that is not padding."""
        ids, real = (t.to(self.model.device) for t in data.pad([p + a for p, a in answered], pad_id))
        asked = {"input_ids": ids, "attention_mask": real, "use_cache": False}
        found = ensembles.outputs(self.model, lambda: self.model(**asked).logits.float())
        return self.heads.scores(found, self.caution)

    def whole(self) -> Any:
        """A classifier of the same scores that needs no adapter, and may learn; None where that cannot be folded in."""
        if not isinstance(self.model, PeftModel):
            return copy.deepcopy(self.model)
        if self.model.active_peft_config.is_prompt_learning:
            return None
        with adapters.quiet_peft():
            model: Any = copy.deepcopy(self.model)
            return model.merge_and_unload(safe_merge=True)


class Scorer(Protocol):
    """Whatever says what answers are worth."""

    def score(self, answered: Sequence[Answered], pad_id: int) -> Tensor: ...


def score_head(saved: dict[str, Tensor], device: torch.device, outputs: int = 1) -> tuple[Tensor, Tensor]:
    """The (O, D) weight and (O,) bias of the head that was saved with a reward adapter."""
    weights = [t for key, t in saved.items() if key.endswith("weight") and t.ndim == 2 and t.shape[0] == outputs]
    biases = [t for key, t in saved.items() if key.endswith("bias")]
    if len(weights) != 1 or len(saved) != len(weights) + len(biases):
        raise RunFileError("reward_model.path", "is an adapter without one score head; train it as a reward run")
    weight = weights[0].to(device, torch.float32)
    return weight, biases[0].to(device, torch.float32) if biases else weight.new_zeros(outputs)


def load_scorer(
    folder: Path, base: SharedBase, base_folder: Path, hardware: Hardware, tokenizer: Any, caution: float = 0.0
) -> Scorer:
    """The reward model in `folder`: on `base` when it was trained there, else in memory by itself.

    With `caution` an ensemble's doubt lowers its score.
    """
    heads = Heads.of(folder)
    require_members(heads, caution)
    if models.is_adapter(folder) and base.holds(folder):
        there = trained_on(folder, base_folder)
        if there is None:
            message = f"is an adapter on {models.base_of(folder)}, which is not there to compare"
            raise RunFileError("reward_model.path", message)
        if there:
            return SharedScorer(base, folder, caution=caution)
    if (folder / "tokenizer_config.json").is_file():
        theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
        ours = tokenizer.get_vocab()
        if any(theirs.get(token) != number for token, number in ours.items() if number != tokenizer.pad_token_id):
            raise RunFileError("reward_model.path", "reads another vocabulary than the policy writes")
    return SeparateScorer(models.load_reward(folder, None, hardware, tokenizer.pad_token_id), heads, caution)


class ValueModel:
    """What the policy can expect from here on: the reward model and its head, learning to look ahead.

    So Ouyang et al. (2022, appendix C.4) begin. With a reward model of another base, or another shape, there is nothing
    to start from but the policy's own first state and zero.
    """

    def __init__(
        self, base: SharedBase, adapter: Adapter | None, scorer: Scorer, reward: Path, start: Path | None
    ) -> None:
        """On `base`, as an adapter beside others; without an `adapter` the base itself learns, and is nobody else's."""
        self.base = base
        self.name = "value" if adapter else None
        self.head = nn.Linear(base.lm.config.get_text_config().hidden_size, 1, device=base.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if adapter is None or self.name is None:
            self._follow(scorer)
        elif isinstance(scorer, SharedScorer) and scorer.base is base:
            base.load(self.name, reward, learns=True)
            with torch.no_grad():
                weight, bias = scorer.heads.linear(*scorer.members[scorer.name])
                self.head.weight.copy_(weight)
                self.head.bias.copy_(bias)
        else:
            base.add(self.name, adapter, start=start)

    @torch.no_grad()
    def _follow(self, scorer: Scorer) -> None:
        """Take all weights of a reward model over, where it is of the base's shape."""
        if not isinstance(scorer, SeparateScorer) or (found := scorer.whole()) is None:
            return
        own, theirs = self.base.lm.base_model, found.base_model.state_dict()
        if {key: weight.shape for key, weight in own.state_dict().items()} != {
            key: weight.shape for key, weight in theirs.items()
        }:
            return
        own.load_state_dict(theirs)
        head = found.score.weight.float()
        weight, bias = scorer.heads.linear(head, head.new_zeros(len(head)))
        self.head.weight.copy_(weight)
        self.head.bias.copy_(bias)

    def rescale(self, scale: ScoreScale) -> None:
        """Speak in normalised scores, as the rewards do."""
        with torch.no_grad():
            self.head.weight /= scale.std
            self.head.bias.copy_((self.head.bias - scale.mean) / scale.std)

    def __call__(self, batch: forward.Batch) -> Tensor:
        """(A, T) expected return before each answer token, zero past the end."""
        speaking = self.base.speaking_as if torch.is_grad_enabled() else self.base.answering_as
        with speaking(self.name) as lm:
            hidden = forward.hidden_states(lm, batch, batch.sources)
        return batch.per_answer(self.head(hidden.float())[:, 0])

    def weights(self) -> dict[str, Tensor]:
        return self.base.learning(self.name) | {f"head.{key}": w for key, w in self.head.named_parameters()}
