"""A bad run file is refused by the name of its key before torch loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"learning_rate": 1}, "learning_rate"),
        ({"params": {"learning_rat": 1}}, "params.learning_rat"),
        ({"base_model": {"path": "../outside"}}, "base_model.path"),
        ({"base_model": {"path": "/etc"}}, "base_model.path"),
        ({"params": {"trust_remote_code": True}}, "params.trust_remote_code"),
        ({"params": {"learning_rate": -1}}, "params.learning_rate"),
        ({"snapshot": None}, "snapshot"),
    ],
)
def test_a_bad_run_file_is_refused_by_its_key_before_torch_loads(tmp_path, change, key):
    data, trap = tmp_path / "data", tmp_path / "trap"
    folder = data / "runs" / "1"
    folder.mkdir(parents=True)
    run = {
        "schema": 1,
        "kind": "reward",
        "name": "bad",
        "base_model": {"path": "models/m"},
        "snapshot": {"path": "snapshots/s"},
    }
    (folder / "run.json").write_text(json.dumps(run | change))
    for name in ("torch", "transformers", "peft", "trl", "datasets"):
        (trap / name).mkdir(parents=True)
        (trap / name / "__init__.py").write_text("raise SystemExit('loaded')")
    environment = os.environ | {"HONE_DATA": str(data), "PYTHONPATH": str(trap)}
    done = subprocess.run(
        [sys.executable, "-m", "training", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    status = json.loads((folder / "status.json").read_text())
    assert done.returncode == 2, done.stdout + done.stderr
    assert (status["state"], status["error"]["code"]) == ("failed", "config")
    assert status["error"]["message"].startswith(f"{key} ")
    assert "loaded" not in done.stdout + done.stderr
