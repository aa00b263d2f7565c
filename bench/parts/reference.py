"""The reference work: a small Llama with a large vocabulary, and texts whose lengths vary as people's do."""

import hashlib
import json
import math
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TEMPLATE = "{% for message in messages %}{{ message['content'] + ' ' }}{% endfor %}"
LONGEST = 512  # tokens of one prompt or answer


@dataclass(frozen=True)
class Work:
    """What both sides are given."""

    vocabulary: int = 32_000
    hidden: int = 384
    layers: int = 7
    heads: int = 6
    feed_forward: int = 1024
    rank: int = 16
    prompt: float = 80.0  # tokens, on average
    answer: float = 130.0
    spread: float = 0.5  # deviation of the logarithm
    rows: int = 160
    batch: int = 8
    learning_rate: float = 2e-4
    seed: int = 0

    @property
    def layer_weights(self) -> int:
        """Weights in the linear layers of all blocks."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.feed_forward)

    @property
    def adapter_weights(self) -> int:
        attention, feed_forward = 4 * 2 * self.hidden, 3 * (self.hidden + self.feed_forward)
        return self.layers * self.rank * (attention + feed_forward)

    @property
    def parameters(self) -> int:
        return self.layer_weights + self.vocabulary * self.hidden


Texts = list[tuple[list[int], list[int], list[int]]]  # prompt, chosen, rejected, without EOS


def texts(work: Work) -> Texts:
    """Word numbers of every row."""
    chance = random.Random(work.seed)

    def draw(mean: float) -> list[int]:
        length = chance.lognormvariate(math.log(mean) - work.spread**2 / 2, work.spread)
        return [chance.randrange(4, work.vocabulary) for _ in range(min(LONGEST, max(4, round(length))))]

    return [(draw(work.prompt), draw(work.answer), draw(work.answer)) for _ in range(work.rows)]


def build(folder: Path, work: Work) -> None:
    """Models, a fresh adapter, snapshots and the settings, all under `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    tokenizer = word_tokenizer(work.vocabulary)
    shape = LlamaConfig(
        vocab_size=work.vocabulary,
        hidden_size=work.hidden,
        intermediate_size=work.feed_forward,
        num_hidden_layers=work.layers,
        num_attention_heads=work.heads,
        num_key_value_heads=work.heads,
        max_position_embeddings=2 * LONGEST,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    torch.manual_seed(work.seed)
    model = LlamaForCausalLM(shape)
    classifier = LlamaForSequenceClassification(LlamaConfig(**shape.to_dict() | {"id2label": {0: "score"}}))
    classifier.model.load_state_dict(model.model.state_dict())
    for name, each in (("causal", model), ("classifier", classifier)):
        each.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    first: dict[str, Any] = {}
    for name, each, task in (("adapter", model, "CAUSAL_LM"), ("reward_adapter", classifier, "SEQ_CLS")):
        lora = LoraConfig(task_type=task, r=work.rank, lora_alpha=2 * work.rank, target_modules="all-linear")
        adapted = get_peft_model(each, lora)
        first = first or {key: weight for key, weight in adapted.state_dict().items() if "lora_" in key}
        adapted.load_state_dict(first, strict=False)  # the same adapter for everybody
        adapted.save_pretrained(folder / name)
    write_snapshots(folder, texts(work))
    (folder / "work.json").write_text(json.dumps(asdict(work)))


def word_tokenizer(words: int) -> Any:
    """One token a word, so that lengths in tokens are what the reference work says."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "<spare>": 3} | {f"w{n}": n for n in range(4, words)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def write_snapshots(folder: Path, words: Texts) -> None:
    """Demonstrations and pairs of these words, as the engine reads them."""
    import pyarrow
    import pyarrow.parquet

    def said(role: str, words: list[int]) -> list[dict[str, str]]:
        return [{"role": role, "content": " ".join(f"w{n}" for n in words)}]

    rows = [(said("user", p), said("assistant", c), said("assistant", r)) for p, c, r in words]
    kinds = {
        "sft": [{"prompt": p, "completion": c} for p, c, _ in rows],
        "preference": [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in rows],
    }
    for kind, found in kinds.items():
        snapshot = folder / kind
        snapshot.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), snapshot / "train.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found[:0] or found[:1]), snapshot / "eval.parquet")
        files = {
            path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in snapshot.glob("*.parquet")
        }
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        (snapshot / "manifest.json").write_text(json.dumps({"kind": kind, "files": files, "content_hash": digest}))


def load(folder: Path) -> Work:
    return Work(**json.loads((folder / "work.json").read_text()))
