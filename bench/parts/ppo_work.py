"""PPO's part of the reference work: the same model, with an end token about as likely as real answers end."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.parts import reference

LIFT = 0.2  # what every word's vector holds in its first place, so that the states hold something there


@dataclass(frozen=True)
class PPOWork:
    """What both sides are told."""

    rollout: int = 32  # answers of one step
    minibatch: int = 8
    epochs: int = 4
    longest: int = 256  # tokens of an answer
    learning_rate: float = 3e-5
    kl: float = 0.05
    temperature: float = 1.0


def build(folder: Path, work: reference.Work, ppo: PPOWork) -> None:
    """The models of `reference.build`, changed in place so that answers end, and a reward adapter on the very base."""
    import torch
    from safetensors.torch import load_file, save_file

    reference.build(folder, work)
    path = folder / "causal" / "model.safetensors"
    weights = load_file(path)
    words = weights["model.embed_tokens.weight"]
    words[:, 0] = LIFT
    save_file(weights, path, metadata={"format": "pt"})
    words[1, 0] += ending_lift(folder, work)
    save_file(weights, path, metadata={"format": "pt"})
    classifier = load_file(folder / "classifier" / "model.safetensors")
    # A score that answers differ in: a new head's scores are all but equal.
    classifier["score.weight"] = torch.randn(classifier["score.weight"].shape) / work.hidden**0.5
    save_file(classifier | {k: v for k, v in weights.items() if k in classifier}, folder / "classifier" / path.name,
              metadata={"format": "pt"})  # fmt: skip
    adapter = folder / "reward_adapter"
    known = load_file(adapter / "adapter_model.safetensors")
    known |= {key: classifier["score.weight"] for key in known if key.endswith("score.weight")}
    save_file(known, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(folder / "causal")})
    )
    (folder / "ppo.json").write_text(json.dumps(asdict(ppo)))
    (folder / "prompts.jsonl").write_text(
        "".join(
            json.dumps({"id": str(n), "prompt": [{"role": "user", "content": " ".join(f"w{w}" for w in prompt)}]})
            + "\n"
            for n, (prompt, _, _) in enumerate(reference.texts(work))
        )
    )


def ending_lift(folder: Path, work: reference.Work) -> float:
    """How much more of the first place the end token needs, to come about once in an answer."""
    import math

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "causal").eval()
    with torch.no_grad():
        state = model.model(torch.randint(4, work.vocabulary, (4, 32))).last_hidden_state[..., 0].mean().item()
    return math.log(work.vocabulary / work.answer) / state


def load(folder: Path) -> PPOWork:
    return PPOWork(**json.loads((folder / "ppo.json").read_text()))
