"""Imported once by the process from which tests fork their engines: all that takes seconds to load."""

import training.dpo
import training.grpo
import training.kto
import training.ppo
import training.pretrain
import training.reward
import training.rloo
import training.sft  # noqa: F401
