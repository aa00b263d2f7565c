"""What a round intends to do, written down before it starts and checked whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext

from rlhf.models import Model, Run
from rlhf.runs import describe
from training import runfile
from training.runfile import RunFileError

RUN_KEYS = ("params", "adapter", "hardware")
METHODS = ("dpo", "ppo", "grpo", "rloo")


class PlanError(ValueError):
    """A plan that cannot be carried out; `field` is the key to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One turn of the loop. Parameters named `params` are those of the engine's run files."""

    prompts: int = 200  # prompts that the start model answers for labeling
    responses_per_prompt: int = 2
    generation: dict[str, Any] = field(default_factory=dict)  # params of the generate run
    overlap: int | None = None  # judgements per pair; None: the project's own
    judgements: int | None = None  # enough of them to go on; None: all that the tasks need
    snapshot: dict[str, Any] = field(default_factory=dict)  # recipe, see rlhf.snapshots
    reward: dict[str, Any] = field(default_factory=dict)  # {"params", "adapter", "hardware"} of the reward run
    # Each policy method: {"kind": one of METHODS, "params", "adapter", "hardware"}
    policies: list[dict[str, Any]] = field(default_factory=lambda: [{"kind": "dpo"}, {"kind": "ppo"}])
    eval_prompts: int = 100  # prompts that nobody labels and nothing trains on
    evaluation: dict[str, Any] = field(default_factory=dict)  # params of the evaluate run
    eval_overlap: int = 1  # judgements per comparison
    gate: dict[str, float] = field(default_factory=lambda: {"win_rate_low": 0.5, "kl_max": 15.0})
    promote_automatically: bool = False  # the best policy through the gate, without waiting for a person
    hardware: dict[str, Any] = field(default_factory=dict)  # of every run, unless its own says otherwise
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def from_dict(data: Mapping[str, Any]) -> Plan:
    """A checked plan, or PlanError naming the key."""
    known = {each.name: each for each in dataclasses.fields(Plan)}
    for name in data:
        if name not in known:
            raise PlanError(name, gettext("is not a key of a plan; known: %(known)s") % {"known": ", ".join(known)})
    plan = Plan(**data)
    for name, low, high in (
        ("prompts", 1, 1_000_000),
        ("responses_per_prompt", 2, 64),
        ("eval_prompts", 1, 100_000),
        ("eval_overlap", 1, 10),
        ("overlap", 1, 10),
        ("judgements", 1, 10_000_000),
        ("seed", 0, 2**32 - 1),
    ):
        _check_number(name, getattr(plan, name), low, high, optional=name in ("overlap", "judgements"))
    for name in ("generation", "snapshot", "reward", "evaluation", "hardware", "gate"):
        if not isinstance(getattr(plan, name), dict):
            raise PlanError(name, gettext("must be an object"))
    _check_policies(plan)
    _check_gate(plan.gate)
    if not isinstance(plan.promote_automatically, bool):
        raise PlanError("promote_automatically", gettext("must be true or false"))
    return plan


def check_runs(plan: Plan, start_model: Model) -> None:
    """Refuse a plan one of whose runs the engine would refuse, before anything has been generated or labeled."""
    from django.conf import settings

    for where, kind, options in _runs(plan):
        data = describe(
            kind, name=kind, start_model=start_model, has_prompts=kind == "generate", seed=plan.seed, **options
        )
        data["hardware"] = plan.hardware | data["hardware"]
        if kind != "generate":  # what is not made yet is only named here
            data["snapshot"] = {"path": "snapshots/planned"}
        if kind in Run.ROLLS_OUT:
            data["reward_model"] = {"path": "models/planned"}
        try:
            runfile.check(data, root=settings.HONE_DATA)
        except RunFileError as error:
            raise PlanError(f"{where}: {error.field}", str(error).removeprefix(error.field).strip()) from error


def _runs(plan: Plan) -> list[tuple[str, str, dict[str, Any]]]:
    generate = {"params": plan.generation | {"responses_per_prompt": plan.responses_per_prompt}}
    found = [("generation", "generate", generate), ("reward", "reward", plan.reward)]
    for index, method in enumerate(plan.policies):
        found.append((f"policies[{index}]", method["kind"], {k: v for k, v in method.items() if k != "kind"}))
    return found


def _check_number(name: str, value: Any, low: int, high: int, *, optional: bool) -> None:
    if optional and value is None:
        return
    if type(value) is not int or not low <= value <= high:
        raise PlanError(
            name,
            gettext("must be a whole number from %(low)s to %(high)s, got %(value)r")
            % {"low": low, "high": high, "value": value},
        )


def _check_policies(plan: Plan) -> None:
    if not isinstance(plan.policies, list) or not plan.policies:
        raise PlanError("policies", gettext("must be a list with at least one method"))
    entries = [(f"policies[{index}]", entry) for index, entry in enumerate(plan.policies)]
    for where, entry in entries:
        if not isinstance(entry, dict) or entry.get("kind") not in METHODS:
            raise PlanError(f"{where}.kind", gettext("must be one of %(methods)s") % {"methods": ", ".join(METHODS)})
    for where, entry in [*entries, ("reward", plan.reward)]:
        for key in entry:
            if key not in ("kind", *RUN_KEYS) or (where == "reward" and key == "kind"):
                raise PlanError(
                    f"{where}.{key}",
                    gettext("is not known here; known: %(run_keys)s") % {"run_keys": ", ".join(RUN_KEYS)},
                )
            if key in ("params", "hardware") and not isinstance(entry[key], dict):
                raise PlanError(f"{where}.{key}", gettext("must be an object"))


def _check_gate(gate: dict[str, Any]) -> None:
    for name, value in gate.items():
        if name not in ("win_rate_low", "kl_max"):
            raise PlanError(f"gate.{name}", gettext("is not a condition; known: win_rate_low, kl_max"))
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise PlanError(f"gate.{name}", gettext("must be a number from 0, got %(value)r") % {"value": value})
