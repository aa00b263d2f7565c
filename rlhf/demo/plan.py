"""The demo's sizes and settings, found by experiment (docs/benchmarks.md says how), and where each judgement goes."""

from typing import Any

SEED = 7
LABEL_PROJECT, LABEL_NAME = "support-desk", "Support desk"
DEMO_PROJECT, DEMO_NAME = "support-desk-answers", "Support desk: model answers"

CORPUS_TEXTS = 12_000
DEMONSTRATIONS = 400
PAIR_PROMPTS = 2_000
EVAL_PROMPTS = 300
NEXT_PROMPTS = 100  # the batch that waits for a person afterwards

PRETRAIN: dict[str, Any] = {"max_minutes": None, "max_steps": 900}
SFT: dict[str, Any] = {}
GENERATE: dict[str, Any] = {"responses_per_prompt": 2, "temperature": 1.0, "max_new_tokens": 64}
REWARD: dict[str, Any] = {}
DPO: dict[str, Any] = {}
PPO: dict[str, Any] = {}
EVALUATE: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 64}
LORA: dict[str, Any] = {"method": "lora", "r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"}
SFT_LORA: dict[str, Any] = {}  # the engine's defaults, for models too large to train whole
FULL_BYTES = 100_000_000  # weights up to this size are trained whole in SFT
SNAPSHOT: dict[str, Any] = {"split": {"by": "prompt", "eval_share": 0.15, "seed": 0}}
GATE = {"win_rate_low": 0.5, "kl_max": 15.0}
