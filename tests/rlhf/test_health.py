import pytest

from rlhf import health
from rlhf.views.run_page import reward_numbers


def ppo(**columns):
    """Sixty logged steps; each column is a function of the share done."""
    return [{"step": step} | {name: column(step / 60) for name, column in columns.items()} for step in range(1, 61)]


def titles(rows, **params):
    return [concern.title for concern in health.concerns_of("ppo", rows, {"params": params}, None)]


def test_kl_above_its_target_names_the_step_and_the_remedy():
    rows = ppo(kl=lambda t: 20 * t, reward=lambda t: t)
    (concern,) = health.concerns_of("ppo", rows, {"params": {"kl_target": 10.0, "beta": 0.05}}, None)
    assert concern.title.startswith("KL above target since step 3")
    assert "chasing the reward model" in concern.text
    assert concern.action == "Copy with β 0.08" and concern.settings == {"params.beta": 0.08}


def test_a_healthy_run_raises_no_concern():
    steady = {"kl": lambda t: 2.0, "length": lambda t: 50.0, "entropy": lambda t: 2.0, "eos_rate": lambda t: 0.99}
    assert titles(ppo(reward=lambda t: t, clip_fraction=lambda t: 0.1, **steady), kl_target=10.0) == []


def test_too_few_steps_say_nothing():
    assert titles(ppo(kl=lambda t: 99.0)[:5], kl_target=1.0) == []


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        ({"length": lambda t: 50 + 50 * t, "reward": lambda t: t}, "Answers grew 8"),
        ({"length": lambda t: 50 - 40 * t}, "Answers shrank 7"),
        ({"entropy": lambda t: 2 - 1.8 * t}, "Diversity is collapsing"),
        ({"eos_rate": lambda t: 0.5}, "50% of the answers never end"),
        ({"clip_fraction": lambda t: 0.6}, "Steps are too large"),
    ],
)
def test_each_sickness_is_named(columns, title):
    (found,) = titles(ppo(**columns), learning_rate=1e-4, max_new_tokens=64)
    assert found.startswith(title)


def share(value, half=0.03):
    return {"value": value, "low": value - half, "high": value + half, "n": 500}


def reward_report(accuracy, shorter=0.575):
    found = {"accuracy": share(accuracy), "baseline_shorter": share(shorter), "baseline_longer": share(1 - shorter)}
    return {"eval": found, "warnings": ["110 rows were too long."]}


def test_a_reward_model_that_loses_to_length_is_told_so_plainly():
    first, second = health.concerns_of("reward", [], {}, reward_report(0.53))
    assert first.title == "This model loses to the rule “shorter wins”" and first.tone == "bad"
    assert "53.0%" in first.text and "57.5%" in first.text
    assert second.title == "110 rows were too long."


def test_one_that_might_be_no_better_is_not_called_better():
    first, _ = health.concerns_of("reward", [], {}, reward_report(0.59))
    assert first.title == "Not clearly better than “shorter wins”" and first.tone == "warn"


def test_one_that_is_clearly_better_raises_no_concern():
    assert [concern.title for concern in health.concerns_of("reward", [], {}, reward_report(0.7))] == [
        "110 rows were too long."
    ]


def test_a_failure_comes_with_the_settings_of_the_next_try():
    error = {"code": "oom", "message": "Out of memory.", "hint": "Set params.minibatch to 8 (it is 16) and run again."}
    remedy = health.remedy(error, {})
    assert (remedy.title, remedy.settings) == ("Out of memory", {"params.minibatch": 8})
    assert remedy.action == "Copy with minibatch 8"
    remedy = health.remedy({"code": "nan", "message": "loss is nan"}, {"params": {"learning_rate": 1e-3}})
    assert remedy.settings == {"params.learning_rate": 1e-4}
    assert health.remedy(None, {}) is None


def test_a_report_tells_each_rated_aspect_and_the_doubt_of_an_ensemble():
    aspect = {"squared_error": 0.5, "of_the_mean": 1.25, "correlation": 0.8, "n": 1200}
    doubt = {"members": 5, "split": 0.25, "sure": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 75}}
    told = dict(reward_numbers({"aspects": {"kind": aspect}, "ensemble": doubt}))
    assert told["kind: squared error"] == "0.5, against 1.25 of always saying the mean"
    assert told["kind: correlation"] == "0.80 over 1,200 answers"
    assert told["members"] == "5, of two minds on 25.0% of the pairs"
    assert told["right where they agree"] == "0.9 (0.8 to 0.95)"
    assert reward_numbers({"accuracy": {"value": 0.7}}) == []
