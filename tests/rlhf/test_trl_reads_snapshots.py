"""TRL's own trainers take a step on the files of a snapshot and of an export, without any rewriting."""

from pathlib import Path
from typing import Any

import pytest

from annotation import exporting
from annotation.importing import import_records
from rlhf import snapshots
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.usefixtures("data_folder")]

RECORDS = 12


def judged() -> Any:
    project = factories.project()
    vote = {"annotator": "ann", "choice": "a", "strength": 2}
    rows = [
        {"id": str(n), "prompt": f"What is {n}?", "responses": [f"It is {n}.", "No idea."], "annotations": [vote]}
        for n in range(RECORDS)
    ]
    assert import_records(project, rows).applied
    return project


def written() -> Any:
    project = factories.project("demonstration")
    rows = [{"id": str(n), "prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(RECORDS)]
    assert import_records(project, rows).applied
    return project


@pytest.mark.filterwarnings("default")  # TRL's and its dependencies' own deprecations are not ours to fix
@pytest.mark.parametrize("source", ["snapshot", "jsonl", "parquet", "datasets"])
@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "kto"])
def test_a_trainer_takes_one_step(method: str, source: str, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    type = {"sft": "sft", "reward": "preference", "dpo": "preference", "kto": "binary"}[method]
    project = written() if method == "sft" else judged()
    rows = loaded(project, type, source, tmp_path)
    step = STEPS[method](rows, tmp_path / "out")
    assert step.global_step == 1
    assert step.training_loss == step.training_loss  # a number


def loaded(project: Any, type: str, source: str, folder: Path) -> Any:
    import datasets

    if source == "snapshot":
        cut = snapshots.cut(project, name="s", type=type, recipe={"split": {"eval_share": 0}})
        return datasets.load_dataset(str(cut.folder), split="train", cache_dir=str(folder / "cache"))
    path = folder / f"rows.{source}"
    exporting.write(project, type, source, path)
    if source == "datasets":
        return datasets.load_from_disk(str(path))
    kind = "json" if source == "jsonl" else "parquet"
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(folder / "cache"))


def _parts(out: Path) -> tuple[Any, Any]:
    """From disk: DPO and KTO load their reference from where the policy came from."""
    from transformers import AutoModelForCausalLM

    from tests.training.conftest import tiny_llama, tiny_tokenizer

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    tiny_llama(tokenizer).save_pretrained(out / "tiny")
    return tokenizer, AutoModelForCausalLM.from_pretrained(out / "tiny")


def _options(out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out), "max_steps": 1, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True,
        "save_strategy": "no", "bf16": False, "disable_tqdm": True, "max_length": 64,
    }  # fmt: skip


def _sft(rows: Any, out: Path) -> Any:
    from trl import SFTConfig, SFTTrainer

    tokenizer, model = _parts(out)
    return SFTTrainer(model, SFTConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


def _dpo(rows: Any, out: Path) -> Any:
    from trl import DPOConfig, DPOTrainer

    tokenizer, model = _parts(out)
    return DPOTrainer(model, args=DPOConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


def _kto(rows: Any, out: Path) -> Any:
    try:
        from trl import KTOConfig, KTOTrainer
    except ImportError:
        from trl.experimental.kto import KTOConfig, KTOTrainer

    tokenizer, model = _parts(out)
    return KTOTrainer(model, args=KTOConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


def _reward(rows: Any, out: Path) -> Any:
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    tokenizer, model = _parts(out)
    config = model.config
    config.num_labels = 1
    judge = LlamaForSequenceClassification(config)
    return RewardTrainer(judge, RewardConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


STEPS = {"sft": _sft, "reward": _reward, "dpo": _dpo, "kto": _kto}
