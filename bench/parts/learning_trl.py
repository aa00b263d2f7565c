"""One learning run of TRL's trainers on the demo's work: python -m bench.parts.learning_trl '{...}'

They get the settings of the demo's own runs: the same adapter, learning rate, batches and number of answers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
os.environ |= {"TOKENIZERS_PARALLELISM": "false"}

from bench.parts import learning_world
from bench.parts.learning_hone import start
from bench.parts.learning_world import Demo

GROUP = 8  # answers to one prompt, TRL's default


def main() -> None:
    order = json.loads(sys.argv[1])
    demo = learning_world.find(Path(order["data"]))
    Path(order["out"]).write_text(json.dumps(STUDIES[order["study"]](demo, order)))


def common(order: dict[str, Any], params: Any) -> dict[str, Any]:
    """What every trainer is told."""
    return {
        "output_dir": order["folder"],
        "learning_rate": order.get("learning_rate", params.learning_rate),
        "weight_decay": params.weight_decay,
        "max_grad_norm": params.max_grad_norm,
        "lr_scheduler_type": params.decay,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "seed": order["seed"],
    }


def lora(config: Any) -> Any:
    from peft import LoraConfig

    adapter = config.adapter
    return LoraConfig(task_type="CAUSAL_LM", r=adapter.r, lora_alpha=adapter.alpha, target_modules="all-linear")


@contextmanager
def calm(model: Any) -> Iterator[Any]:
    """The plain model inside, dropout off while it lasts."""
    was_training = model.training
    model.eval()
    try:
        yield model.get_base_model()
    finally:
        model.train(was_training)


@contextmanager
def bare(model: Any) -> Iterator[Any]:
    with calm(model) as lm, model.disable_adapter():
        yield lm


def look(model: Any, demo: Demo, order: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    prompts = demo.prompts(order["prompts"])
    return learning_world.measure(lambda: calm(model), lambda: bare(model), prompts, tokenizer, truth=demo.truth)


def online(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """GRPO or RLOO: true utility and KL of the policy before it learns and after every few batches of answers."""
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    from training import answers, data, models, prompts
    from training.policies import SharedBase, SharedScorer

    config = start(demo, order, "ppo", steps=order["steps"], **order.get("params", {}))[0]
    models.prepare(config.hardware, order["seed"])
    transformers.utils.logging.set_verbosity_error()
    tokenizer = models.load_tokenizer(config, Path(order["folder"]))
    params = config.params
    scorer = SharedScorer(SharedBase(demo.start, config.hardware), demo.reward)
    card = json.loads((demo.reward / "hone.json").read_text("utf-8"))  # rewards of one scale, as Hone's PPO has them

    def reward(prompts: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        answered = [(data.encode_prompt(tokenizer, p), ids) for p, ids in zip(prompts, completion_ids, strict=True)]
        scores = answers.scores(scorer, answered, params.minibatch, tokenizer.pad_token_id)
        cut = torch.tensor([ids[-1] != tokenizer.eos_token_id for ids in completion_ids])
        return ((scores - card["reward_mean"]) / card["reward_std"] - params.missing_eos_penalty * cut).tolist()

    kind = {"grpo": "GRPO", "rloo": "RLOO"}[order["method"]]
    updates = params.rollout_batch // params.minibatch * params.ppo_epochs  # of one batch of answers
    points: list[dict[str, Any]] = []

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **keys: Any) -> None:
            done, left = divmod(state.global_step, updates)
            if left == 0 and (done % order["every"] == 0 or done == order["steps"]):
                points.append(look(trainer.model, demo, order, tokenizer) | {"step": done})

    asked, _ = prompts.load(config, Path(order["folder"]), tokenizer, "train", context=None)
    trainer = getattr(trl, f"{kind}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(demo.start),
        reward_funcs=reward,
        args=getattr(trl, f"{kind}Config")(
            **common(order, params),
            per_device_train_batch_size=params.minibatch,
            steps_per_generation=params.rollout_batch // params.minibatch,
            num_iterations=params.ppo_epochs,
            num_generations=GROUP,
            max_completion_length=learning_world.ANSWER_TOKENS,
            max_steps=order["steps"] * updates,
            temperature=params.temperature,
            beta=params.beta,
            epsilon=params.clip,
            logging_steps=1000,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt.messages} for prompt in asked]),
        processing_class=tokenizer,
        peft_config=lora(config),
        callbacks=[Watch()],
    )
    points.append(look(trainer.model, demo, order, tokenizer) | {"step": 0})
    trainer.train()
    return {"points": points}


def dpo(demo: Demo, order: dict[str, Any]) -> dict[str, Any]:
    """True utility and KL of the policy that TRL's DPO ends with."""
    import trl
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM

    from training import models

    config = start(demo, order, "dpo", max_steps=order["steps"])[0]
    models.prepare(config.hardware, order["seed"])
    tokenizer = models.load_tokenizer(config, Path(order["folder"]))
    params, cache = config.params, str(Path(order["folder"]) / "hf")
    rows = load_dataset("parquet", data_files=str(demo.pairs / "train.parquet"), cache_dir=cache)["train"]
    trainer = trl.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(demo.start),
        args=trl.DPOConfig(
            **common(order, params),
            per_device_train_batch_size=params.batch_size,
            max_steps=order["steps"],
            warmup_steps=round(params.warmup_ratio * order["steps"]),
            max_length=params.max_length,
            beta=params.beta,
            logging_steps=1000,
        ),
        train_dataset=rows.select_columns(["prompt", "chosen", "rejected"]),
        processing_class=tokenizer,
        peft_config=lora(config),
    )
    trainer.train()
    return look(trainer.model, demo, order, tokenizer)


STUDIES = {"online": online, "dpo": dpo}

if __name__ == "__main__":
    main()
