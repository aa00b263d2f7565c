"""One run of the last PPO that TRL shipped, from a folder of its own: python -m bench.parts.ppo_trl_run '{...}'"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}

from bench.parts import ppo_work, reference
from bench.parts.turns import Steps


def main() -> None:
    order = json.loads(sys.argv[1])
    sys.path.insert(0, order["peer"])
    import torch
    import transformers
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.ppo import PPOTrainer

    torch.set_num_threads(order["threads"])
    transformers.utils.logging.set_verbosity_error()
    folder = Path(order["work"])
    work, ppo = reference.load(folder), ppo_work.load(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder / "causal", padding_side="left")
    prompts = Dataset.from_dict({"input_ids": [prompt for prompt, _, _ in reference.texts(work)]})
    steps = Steps(order)
    scores: list[float] = []

    class Watched(PPOTrainer):
        def log(self, logs: dict[str, float], *args: Any, **keys: Any) -> None:
            scores.append(logs["objective/scores"])
            steps.end()
            steps.begin()

    lora: dict[str, Any] = {"r": work.rank, "lora_alpha": 2 * work.rank, "target_modules": "all-linear"}
    value = AutoModelForSequenceClassification.from_pretrained(folder / "classifier", num_labels=1)
    trainer = Watched(
        args=settings_of(order, folder, work, ppo),
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(folder / "causal"),
        ref_model=None,
        reward_model=AutoModelForSequenceClassification.from_pretrained(folder / "classifier", num_labels=1),
        value_model=get_peft_model(value, LoraConfig(task_type="SEQ_CLS", **lora)) if order["lean"] else value,
        train_dataset=prompts,
        eval_dataset=prompts,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
    )
    steps.begin()
    trainer.train()
    found = steps.found() | {
        "scores": scores,
        "adapter": str(folder / f"trl-policy-{order['number']}"),
    }
    trainer.save_model(found["adapter"])
    Path(order["out"]).write_text(json.dumps(found))


def settings_of(order: dict[str, Any], folder: Path, work: Any, ppo: Any) -> Any:
    """The same work in TRL's words."""
    from trl.experimental.ppo import PPOConfig

    return PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=ppo.minibatch,
        gradient_accumulation_steps=ppo.rollout // ppo.minibatch,
        num_mini_batches=ppo.rollout // ppo.minibatch,
        num_ppo_epochs=ppo.epochs,
        total_episodes=ppo.rollout * order["steps"],
        learning_rate=ppo.learning_rate,
        response_length=ppo.longest,
        temperature=ppo.temperature,
        kl_coef=ppo.kl,
        stop_token="eos",
        num_sample_generations=0,
        report_to="none",
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        seed=work.seed,
    )


if __name__ == "__main__":
    main()
