"""TRL's own trainers take a step on the files of a snapshot and of an export, without any rewriting."""

from pathlib import Path
from typing import Any

import pytest

from annotation import exporting
from annotation.importing import import_records
from rlhf import snapshots
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.usefixtures("data_folder")]

RECORDS = 4
SOURCES = ("snapshot", "jsonl", "parquet", "datasets")
# Each trainer with the rows it reads and the kind of file that it takes its step on: all four are loaded for good.
TRAINERS = {
    "sft": ("sft", "jsonl"),
    "reward": ("preference", "snapshot"),
    "dpo": ("preference", "parquet"),
    "kto": ("binary", "datasets"),
}


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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on disk, because DPO and KTO load their reference from where the policy came from."""
    pytest.importorskip("trl")
    from tests.training.conftest import tiny_llama, tiny_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama(tiny_tokenizer()).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("default")  # TRL's and its dependencies' own deprecations are not ours to fix
@pytest.mark.parametrize("method", TRAINERS)
def test_a_trainer_takes_one_step_on_the_rows_that_every_kind_of_file_holds(
    method: str, tiny: Path, tmp_path: Path
) -> None:
    type, loaded = TRAINERS[method]
    project = written() if method == "sft" else judged()
    files = {source: file(project, type, source, tmp_path) for source in SOURCES}
    rows = load(files[loaded], loaded, tmp_path)
    if method != "dpo":  # the reward model's rows are the same
        for source, path in files.items():
            assert list(load(path, source, tmp_path, streaming=source != "datasets")) == list(rows), source
    step = STEPS[method](rows, tiny, tmp_path / "out")
    assert step.global_step == 1
    assert step.training_loss == step.training_loss  # a number


def file(project: Any, type: str, source: str, folder: Path) -> Path:
    if source == "snapshot":
        return snapshots.cut(project, name="s", type=type, recipe={"split": {"eval_share": 0}}).folder
    path = folder / f"rows.{source}"
    exporting.write(project, type, source, path)
    return path


def load(path: Path, source: str, folder: Path, **options: Any) -> Any:
    """As their users load them; streamed ones are only read, which skips the library's copy into its cache."""
    import datasets

    if source == "datasets":
        return datasets.load_from_disk(str(path))
    options |= {"split": "train", "cache_dir": str(folder / "cache")}
    if source == "snapshot":
        return datasets.load_dataset(str(path), **options)
    return datasets.load_dataset("json" if source == "jsonl" else "parquet", data_files=str(path), **options)


def _parts(tiny: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    from tests.training.conftest import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return tokenizer, AutoModelForCausalLM.from_pretrained(tiny)


def _options(out: Path) -> dict[str, Any]:
    return {
        "output_dir": str(out), "max_steps": 1, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True,
        "save_strategy": "no", "bf16": False, "disable_tqdm": True, "max_length": 64,
    }  # fmt: skip


def _sft(rows: Any, tiny: Path, out: Path) -> Any:
    from trl import SFTConfig, SFTTrainer

    tokenizer, model = _parts(tiny)
    return SFTTrainer(model, SFTConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


def _dpo(rows: Any, tiny: Path, out: Path) -> Any:
    from trl import DPOConfig, DPOTrainer

    tokenizer, model = _parts(tiny)
    return DPOTrainer(model, args=DPOConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


def _kto(rows: Any, tiny: Path, out: Path) -> Any:
    try:
        from trl import KTOConfig, KTOTrainer
    except ImportError:
        from trl.experimental.kto import KTOConfig, KTOTrainer

    tokenizer, model = _parts(tiny)
    return KTOTrainer(model, args=KTOConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


def _reward(rows: Any, tiny: Path, out: Path) -> Any:
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    tokenizer, model = _parts(tiny)
    config = model.config
    config.num_labels = 1
    judge = LlamaForSequenceClassification(config)
    return RewardTrainer(judge, RewardConfig(**_options(out)), train_dataset=rows, processing_class=tokenizer).train()


STEPS = {"sft": _sft, "reward": _reward, "dpo": _dpo, "kto": _kto}
