import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import inputs, manual, runfile
from training.__main__ import main
from training.runfile import PARAMS, RunFileError

SFT = {"kind": "sft", "base_model": {"path": "models/base"}, "snapshot": {"path": "snapshots/1"}}


def refused(data: object, root: Path | None = Path("/registry")) -> RunFileError:
    with pytest.raises(RunFileError) as caught:
        runfile.check(data, root=root)
    return caught.value


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"kind": "train"}, "kind", "must be one of pretrain, sft"),
        ({"schema": 2}, "schema", "must be 1"),
        ({"colour": 1}, "colour", "is not a key of run.json"),
        ({"base_model": None}, "base_model", "is required"),
        ({"base_model": {"path": "../elsewhere"}}, "base_model.path", "outside the registry"),
        ({"base_model": {"path": "/etc"}}, "base_model.path", "outside the registry"),
        ({"base_model": {"path": "models/../../etc"}}, "base_model.path", "outside the registry"),
        ({"base_model": {"path": "a\0b"}}, "base_model.path", "NUL"),
        ({"base_model": {"path": "m", "revision": "x"}}, "base_model.revision", "is not a key"),
        ({"base_model": {"path": "m", "trust_remote_code": False}}, "base_model.trust_remote_code", "refused"),
        ({"params": {"deep": [{"trust_remote_code": True}]}}, "params.deep.0.trust_remote_code", "refused"),
        ({"snapshot": {"path": "../s"}}, "snapshot.path", "outside the registry"),
        ({"params": {"lr": 1}}, "params.lr", "is not a setting"),
        ({"params": {"learning_rate": 0}}, "params.learning_rate", "at least"),
        ({"params": {"learning_rate": "fast"}}, "params.learning_rate", "must be of type float"),
        ({"params": {"learning_rate": float("nan")}}, "params.learning_rate", "finite"),
        ({"params": {"batch_size": True}}, "params.batch_size", "must be of type int"),
        ({"params": {"batch_size": 1.5}}, "params.batch_size", "must be of type int"),
        ({"params": {"decay": "step"}}, "params.decay", "must be one of"),
        ({"params": [1]}, "params", "must be an object"),
        ({"adapter": {"method": "magic"}}, "adapter.method", "must be one of lora"),
        ({"adapter": {"targets": []}}, "adapter.targets", "all-linear or a list"),
        ({"hardware": {"device": "tpu"}}, "hardware.device", "must be one of"),
        ({"hardware": {"dtype": "bfloat16"}}, "hardware.dtype", "round small updates away"),
        ({"template": "../x.jinja"}, "template", "inside the run directory"),
        ({"reward_model": {"path": "m"}}, "reward_model", "no meaning in a sft run"),
        ({"start_adapter": {"path": "m"}}, "adapter", "is required with start_adapter"),
        ({"seed": -1}, "seed", "whole number"),
    ],
)
def test_a_bad_key_is_refused_by_name(change: dict, field: str, words: str) -> None:
    error = refused(SFT | change)
    assert error.field == field
    assert words in str(error)
    assert str(error).startswith(field)


def test_the_reference_of_dpo_is_never_guessed() -> None:
    assert refused(SFT | {"kind": "dpo", "adapter": {}}).field == "reference"
    assert refused(SFT | {"kind": "dpo", "adapter": {}, "reference": "start_adapter"}).field == "start_adapter"
    asked = SFT | {"kind": "dpo", "adapter": {}, "reference": "base"}
    assert runfile.check(asked).reference == "base"
    assert refused(asked | {"params": {"simpo_gamma": 2.0}}).field == "params.simpo_gamma"


def test_prompts_come_from_one_place() -> None:
    asked = {"kind": "generate", "base_model": {"path": "m"}, "prompts": "p.jsonl", "snapshot": {"path": "s"}}
    assert refused(asked).field == "snapshot"
    assert refused(asked | {"prompts": None, "snapshot": None}).field == "prompts"
    greedy = {"snapshot": None, "params": {"temperature": 0.0}}  # all answers would be alike
    assert refused(asked | greedy).field == "params.responses_per_prompt"


def test_paths_start_at_the_registry() -> None:
    assert runfile.check(SFT, root=Path("/registry")).base_model.path == Path("/registry/models/base")


def test_without_a_registry_any_local_path_is_fine() -> None:
    assert runfile.check(SFT | {"base_model": {"path": "/anywhere/m"}}).base_model.path == Path("/anywhere/m")


def test_the_registry_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_DATA", "/data")
    assert runfile.check(SFT).snapshot.path == Path("/data/snapshots/1")
    assert refused(SFT | {"base_model": {"path": "/datasets/m"}}, root=None).field == "base_model.path"


def test_all_weights_learn_more_slowly_than_an_adapter() -> None:
    assert runfile.check(SFT).params.learning_rate == 2e-5
    assert runfile.check(SFT | {"adapter": {"r": 8}}).params.learning_rate == 2e-4
    assert runfile.defaults("sft", None)["learning_rate"] == 2e-5


@pytest.mark.parametrize("kind", PARAMS)
def test_every_setting_can_be_asked_for_in_a_form_and_its_default_is_allowed(kind: str) -> None:
    for field in dataclasses.fields(PARAMS[kind]):
        assert field.metadata["label"] and field.metadata["help"] and field.metadata["group"]
    values = runfile.defaults(kind)
    if kind != "evaluate":
        assert PARAMS[kind](**values)


def test_policies_of_an_evaluation_are_checked_one_by_one() -> None:
    policy = {"name": "base", "base_model": {"path": "m"}, "adapter": None, "reference": None}
    data = {"kind": "evaluate", "prompts": "prompts.jsonl", "params": {"policies": [policy]}}
    assert runfile.check(data).params.policies[0].name == "base"
    for change, field in (
        ({"name": ""}, "params.policies[0].name"),
        ({"base_model": None}, "params.policies[0].base_model"),
        ({"reference": "nobody"}, "params.policies[0].reference"),
        ({"weight": 1}, "params.policies[0].weight"),
    ):
        assert refused(data | {"params": {"policies": [policy | change]}}).field == field
    assert refused(data | {"params": {"policies": [policy, policy]}}).field == "params.policies"
    assert refused(data | {"params": {}}).field == "params.policies"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "sft", "kind": "dpo"}', '{"seed": NaN}', "[" * 100_000])
def test_a_file_that_is_not_one_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFileError):
        runfile.read(tmp_path / "run.json")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_no_value_of_any_key_does_worse_than_be_refused(value: object) -> None:
    for key in (*SFT, "params", "adapter", "seed", "name", "hardware", "template"):
        try:
            runfile.check(SFT | {key: value})
        except RunFileError as error:
            assert error.field


def test_overrides_are_json_or_plain_text() -> None:
    data = runfile.with_overrides(SFT, ["params.batch_size=4", "adapter.r=8", "name=one two", "params.decay=linear"])
    assert data["params"] == {"batch_size": 4, "decay": "linear"}
    assert data["adapter"] == {"r": 8}
    assert data["name"] == "one two"
    assert "params" not in SFT
    with pytest.raises(RunFileError, match="must look like"):
        runfile.with_overrides(SFT, ["params.beta"])
    with pytest.raises(RunFileError, match="holds a single value"):
        runfile.with_overrides(SFT, ["kind.x=1"])


def test_what_is_written_is_checked_first_and_read_back(tmp_path: Path) -> None:
    written = runfile.write(tmp_path / "run.json", SFT)
    assert runfile.read(tmp_path / "run.json") == written
    with pytest.raises(RunFileError):
        runfile.write(tmp_path / "run.json", SFT | {"kind": "x"})
    assert runfile.read(tmp_path / "run.json") == written


def test_a_models_hash_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"two")
    (tmp_path / "a.safetensors").write_bytes(b"one")
    (tmp_path / "notes.txt").write_text("not weights")
    listing = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}.safetensors\n" for name, data in (("a", b"one"), ("b", b"two"))
    )
    assert runfile.model_hash(tmp_path) == hashlib.sha256(listing.encode()).hexdigest()


def test_inputs_must_be_the_ones_that_the_run_names(tmp_path: Path) -> None:
    model, snapshot = tmp_path / "m", tmp_path / "s"
    model.mkdir()
    snapshot.mkdir()
    data = SFT | {
        "base_model": {"path": str(model), "sha256": "0" * 64},
        "snapshot": {"path": str(snapshot), "hash": "h"},
    }

    def complaint() -> str:
        with pytest.raises(RunFileError) as caught:
            inputs.check_inputs(runfile.check(data), tmp_path)
        return caught.value.field

    assert complaint() == "base_model.path"
    (model / "model.safetensors").write_bytes(b"weights")
    assert complaint() == "base_model.sha256"
    data["base_model"]["sha256"] = runfile.model_hash(model)
    assert complaint() == "snapshot.path"
    manifest = {"content_hash": "other", "files": {"train.parquet": {"sha256": hashlib.sha256(b"rows").hexdigest()}}}
    (snapshot / "manifest.json").write_text(json.dumps(manifest))
    assert complaint() == "snapshot.hash"
    (snapshot / "manifest.json").write_text(json.dumps(manifest | {"content_hash": "h"}))
    assert complaint() == "snapshot.path"
    (snapshot / "train.parquet").write_bytes(b"rows")
    inputs.check_inputs(runfile.check(data), tmp_path)
    del data["base_model"]["sha256"]
    assert complaint() == "base_model.path"  # seven bytes are no whole file
    header = b'{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}'
    whole = len(header).to_bytes(8, "little") + header + b"abc"
    (model / "model.safetensors").write_bytes(whole[:-1])
    assert complaint() == "base_model.path"
    (model / "model.safetensors").write_bytes(whole)
    inputs.check_inputs(runfile.check(data), tmp_path)
    data["template"] = "mine.jinja"
    assert complaint() == "template"


def test_every_setting_is_told_and_a_run_can_be_checked_alone(tmp_path: Path, capsys) -> None:
    for topic in manual.TOPICS:
        assert main(["--settings", topic]) == 0
    told = capsys.readouterr().out
    assert "learning_rate = 0.0002 (2e-05 where all weights train)   [1e-08 to 1]\n    Peak step size of AdamW." in told
    assert "decay = cosine   [cosine | linear | constant]" in told
    (tmp_path / "run.json").write_text(json.dumps(SFT | {"base_model": str(tmp_path / "m")}))
    assert main(["--check", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("base_model.path has no safetensors weights in it")
    (tmp_path / "run.json").write_text(json.dumps({"kind": "pretrain"}))
    assert main(["--check", str(tmp_path)]) == 0 and not (tmp_path / "status.json").exists()


BLOCKED = """
import sys, runpy
class Blocker:
    def find_spec(self, name, *rest):
        if name.split('.')[0] in ('torch', 'numpy', 'transformers', 'peft', 'pyarrow', 'django'):
            raise SystemExit(f'{name} was imported')
sys.meta_path.insert(0, Blocker())
sys.argv = ['training', sys.argv[1]]
runpy.run_module('training', run_name='__main__')
"""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"params": {"lr": 1}}, "params.lr"),
        ({"base_model": {"path": "../outside"}}, "base_model.path"),
        ({"base_model": {"path": "m", "trust_remote_code": True}}, "base_model.trust_remote_code"),
        ({"params": {"batch_size": 0}}, "params.batch_size"),
    ],
)
def test_a_bad_run_file_is_refused_before_torch_loads(tmp_path: Path, change: dict, field: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(SFT | change))
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", BLOCKED, str(tmp_path)]
    environment = {"HONE_DATA": str(tmp_path), "PATH": ""}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["error"]["code"] == "config"
    assert field in status["error"]["message"]
    assert "was imported" not in done.stderr
