"""One run of TRL's own trainer on the reference work, in a process of its own: python -m bench.parts.trl_run '{...}'"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}

from bench.parts import reference
from bench.parts.turns import Steps


def main() -> None:
    order = json.loads(sys.argv[1])
    import torch
    import transformers

    torch.set_num_threads(order["threads"])
    transformers.utils.logging.set_verbosity_error()
    folder = Path(order["work"])
    work = reference.load(folder)

    steps = Steps(order)

    class Watch(transformers.TrainerCallback):
        """When each step began and ended."""

        def on_step_begin(self, *args: Any, **keys: Any) -> None:
            steps.begin()

        def on_step_end(self, *args: Any, **keys: Any) -> None:
            steps.end()

    trainer = TRAINERS[order["method"]](folder, work, order, [Watch()])
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    found = steps.found() | {"losses": losses, "imports_mb": at_rest / 1024}
    Path(order["out"]).write_text(json.dumps(found))


def settings(folder: Path, work: reference.Work, order: dict[str, Any]) -> dict[str, Any]:
    """What every trainer is told: as shipped, except for the number format, the order of rows and the schedule."""
    found = {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": work.batch,
        "max_steps": order["steps"],
        "learning_rate": work.learning_rate,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "disable_tqdm": True,
        "seed": work.seed,
    }
    return found | ({} if order.get("checkpointing", True) else {"gradient_checkpointing": False})


def given(folder: Path, kind: str) -> tuple[Any, Any]:
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "causal")
    rows = load_dataset("parquet", data_files=str(folder / kind / "train.parquet"), cache_dir=str(folder / "hf"))
    return rows["train"], tokenizer


def ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    return tokenizer.encode(messages[0]["content"], add_special_tokens=False)


def adapter(work: reference.Work, task: str) -> Any:
    from peft import LoraConfig

    return LoraConfig(task_type=task, r=work.rank, lora_alpha=2 * work.rank, target_modules="all-linear")


def from_start(trainer: Any, folder: Path, name: str = "adapter") -> Any:
    """The trainer with the same first adapter as everybody."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(trainer.model, load_file(folder / name / "adapter_model.safetensors"))
    return trainer


def sft(folder: Path, work: reference.Work, order: dict[str, Any], callbacks: list[Any]) -> Any:
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows, tokenizer = given(folder, "sft")

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        prompt, answer = ids(tokenizer, row["prompt"]), [*ids(tokenizer, row["completion"]), tokenizer.eos_token_id]
        return {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}

    return from_start(
        SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder / "causal"),
            args=SFTConfig(**settings(folder, work, order), completion_only_loss=True),
            train_dataset=rows.map(encode, remove_columns=rows.column_names),
            processing_class=tokenizer,
            peft_config=adapter(work, "CAUSAL_LM"),
            callbacks=callbacks,
        ),
        folder,
    )


def reward(folder: Path, work: reference.Work, order: dict[str, Any], callbacks: list[Any]) -> Any:
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    rows, tokenizer = given(folder, "preference")
    end = tokenizer.eos_token_id

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        prompt = ids(tokenizer, row["prompt"])
        return {f"{name}_ids": [*prompt, *ids(tokenizer, row[name]), end] for name in ("chosen", "rejected")}

    return from_start(
        RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(folder / "classifier", num_labels=1),
            args=RewardConfig(**settings(folder, work, order)),
            train_dataset=rows.map(encode, remove_columns=rows.column_names),
            processing_class=tokenizer,
            peft_config=adapter(work, "SEQ_CLS"),
            callbacks=callbacks,
        ),
        folder,
        "reward_adapter",
    )


def dpo(folder: Path, work: reference.Work, order: dict[str, Any], callbacks: list[Any]) -> Any:
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    rows, tokenizer = given(folder, "preference")

    class Given(DPOTrainer):
        """The same token ids as everybody: its own way of tokenizing would write no EOS here."""

        def _prepare_dataset(self, dataset: Any, *args: Any, **keys: Any) -> Any:
            def encode(row: dict[str, Any]) -> dict[str, Any]:
                found = {f"{name}_ids": ids(tokenizer, row[name]) for name in ("prompt", "chosen", "rejected")}
                for name in ("chosen_ids", "rejected_ids"):
                    found[name].append(tokenizer.eos_token_id)
                return found

            return dataset.map(encode, remove_columns=dataset.column_names)

    return from_start(
        Given(
            model=AutoModelForCausalLM.from_pretrained(folder / "causal"),
            args=DPOConfig(**settings(folder, work, order), beta=0.1),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=adapter(work, "CAUSAL_LM"),
            callbacks=callbacks,
        ),
        folder,
    )


TRAINERS = {"sft": sft, "reward": reward, "dpo": dpo}

if __name__ == "__main__":
    main()
