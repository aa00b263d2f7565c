import time

import pytest

from annotation import judging, queue
from annotation.models import Purpose, Task
from rlhf import plans, prompts, rounds, runner, runs, stages
from rlhf.models import Model, Round, Run
from rlhf.plans import Plan, PlanError
from tests import factories
from tests.rlhf import rows

pytestmark = pytest.mark.django_db

State = Round.State


def asked(*names):
    return [{"id": str(name), "prompt": [{"role": "user", "content": f"Question {name}?"}]} for name in names]


def start(project=None, **options):
    project = project or factories.project()
    base = options.pop("base", None) or rows.model()
    start_model = options.pop("start_model", None) or rows.model(parent=base)
    label, held_out = options.pop("label", asked(*range(12))), options.pop("held_out", asked("e1", "e2", "same"))
    plan = Plan(prompts=12, eval_prompts=3, **options)
    models = {"start_model": start_model, "base_model": base}
    return rounds.start_round(project, plan, prompts_to_label=label, eval_prompts=held_out, **models)


def go(round, *states):
    """Play runner and worker until the round is in one of the states, or has a problem."""
    deadline = time.monotonic() + 60  # only so that a broken test ends
    while time.monotonic() < deadline:
        runner.tick()
        round = rounds.advance(round)
        if round.state in states or round.problem:
            return round
        time.sleep(0.02)
    raise AssertionError(f"stuck in {round.state}: {list(round.runs.values('name', 'state', 'error'))}")


def judge(project, prefer):
    """One person judges all that is waiting; `prefer` says which of two texts is better, or None for a tie."""
    person = factories.member(project)
    while assignment := queue.lease_next(project, person):
        texts = {response.pk: response.text for response in assignment.task.responses.all()}
        first, second = (texts[pk] for pk in assignment.shown)
        better = prefer(first, second)
        choice = "tie" if better is None else "a" if better == first else "b"
        judging.submit(assignment.task, person, {"choice": choice, "strength": 0 if better is None else 2})


def yes(first, second):
    return first if " yes " in first else second


def against(base):
    return lambda first, second: second if first.startswith(f"{base} ") else first


def test_a_whole_round_ends_with_a_promoted_policy_that_people_prefer(loop_engine):
    methods = [{"kind": "dpo"}, {"kind": "ppo", "hardware": {"threads": 1}}]
    round = start(policies=methods, hardware={"device": "cpu", "threads": 2})
    project, base, sft = round.project, round.base_model, round.start_model

    round = go(round, State.LABEL)
    made = Task.objects.filter(project=project, purpose=Purpose.LABEL)
    assert made.count() == 12
    assert set(made.values_list("responses__source", flat=True)) == {sft.name}
    assert rounds.progress(round)["label"] == {"done": 0, "wanted": 12, "tasks": 12}
    assert rounds.advance(round).state == State.LABEL  # nothing happens until people have judged
    judge(project, yes)

    round = rounds.advance(round)
    assert round.state == State.REWARD
    waiting = list(Run.objects.queued().values_list("part", flat=True))
    assert waiting == ["reward", "policy-0"]  # DPO asks nothing of the reward model and waits for a place alone
    policy = next(stage for stage in stages.stages_of(round) if stage.key == "policy")
    assert (policy.css, policy.pill, policy.number) == ("waiting", "Queued", "")

    round = go(round, State.COMPARE)
    assert round.snapshot.counts["train"] + round.snapshot.counts["eval"] == 12
    assert round.reward_model.role == Model.Role.REWARD
    dpo, ppo = (run.model for run in rounds._policy_runs(round))
    assert [dpo.name, ppo.name] == rounds.candidates(round) == ["dpo-r1", "ppo-r1"]
    assert ppo.run.config["reward_model"]["path"] == round.reward_model.path
    assert (dpo.parent, dpo.base) == (sft, base)
    assert [model.run.config["hardware"]["threads"] for model in (dpo, ppo)] == [2, 1]
    assert ppo.run.config["hardware"]["device"] == "cpu"
    policies = {
        each["name"]: each["reference"] for each in round.runs.get(kind="evaluate").config["params"]["policies"]
    }
    assert policies == {base.name: None, sft.name: base.name, "dpo-r1": sft.name, "ppo-r1": sft.name}

    compared = Task.objects.filter(project=project, purpose=Purpose.EVALUATION)
    assert compared.count() == 6  # three policies on two prompts; on the third all answers are the same
    assert set(compared.first().responses.values_list("source", flat=True)) > {base.name}
    judge(project, against(base.name))

    round = go(round, State.DECIDE)
    figures = round.evaluation["policies"]["ppo-r1"]
    assert figures["preferred"] | {"low": 0, "high": 0} == {
        "value": pytest.approx(2.5 / 3),
        "low": 0,
        "high": 0,
        "n": 3,
    }
    assert (figures["won"], figures["tied"], figures["lost"], figures["identical"]) == (2, 0, 0, 1)
    assert (figures["kl"], figures["judgements"]) == (2.0, 2)
    conditions = rounds.gate(round)["ppo-r1"]
    assert [(each["name"], each["met"]) for each in conditions] == [("win_rate_low", False), ("kl_max", True)]

    with pytest.raises(rounds.RoundError, match="give a reason"):
        rounds.promote(round, ppo, by=None)
    round = rounds.promote(round, ppo, by=factories.user("lena"), reason="Three prompts are few, but it reads well.")
    ppo.refresh_from_db()
    assert (round.state, round.promoted_model, ppo.state) == (State.PROMOTED, ppo, Model.State.PROMOTED)
    assert round.decision["by"] == "lena" and round.decision["gate_met"] is False
    with pytest.raises(rounds.RoundError, match="does not wait"):
        rounds.promote(round, dpo, by=None, reason="Too late.")


def test_advancing_again_and_again_changes_nothing(loop_engine):
    round = go(start(), State.LABEL)
    before = (Run.objects.count(), Task.objects.count())
    for _ in range(3):
        rounds.advance(round)
    assert (Run.objects.count(), Task.objects.count()) == before


def test_a_plan_that_decides_by_itself_rejects_what_misses_the_gate(loop_engine):
    round = start(promote_automatically=True, policies=[{"kind": "dpo"}])
    go(round, State.LABEL)
    judge(round.project, yes)
    go(round, State.COMPARE)
    judge(round.project, lambda first, second: None)
    round = go(round, State.PROMOTED, State.REJECTED)
    assert (round.state, round.decision["reason"]) == (State.REJECTED, "None met the gate.")
    assert Model.objects.get(name="dpo-r1").state == Model.State.REJECTED


def test_a_plan_that_decides_by_itself_promotes_the_best_through_the_gate(loop_engine):
    options = {"gate": {"win_rate_low": 0.2, "kl_max": 15}, "policies": [{"kind": "dpo"}]}
    round = start(promote_automatically=True, **options)
    go(round, State.LABEL)
    judge(round.project, yes)
    go(round, State.COMPARE)
    judge(round.project, against(round.base_model.name))
    round = go(round, State.PROMOTED, State.REJECTED)
    assert (round.state, round.promoted_model.name) == (State.PROMOTED, "dpo-r1")
    assert round.promoted_model.figures["preferred"] == round.evaluation["policies"]["dpo-r1"]["preferred"]


def test_a_failed_run_stops_the_round_with_one_sentence_and_can_be_made_anew(loop_engine):
    script = loop_engine.script
    round = go(start(), State.LABEL)
    judge(round.project, yes)
    known = 'kind, report = config["kind"], {}'
    fails = "raise rundir.Diverged('loss became nan.', 'Lower it.')"
    loop_engine.script = script.replace(known, f"{known}\n    if kind == 'reward': {fails}")
    round = go(round, State.POLICY)
    assert round.state == State.REWARD
    assert round.problem == "rm-r1 did not finish. loss became nan."
    assert rounds.advance(round).state == State.REWARD  # it waits for a person
    loop_engine.script = script
    round = rounds.retry(round, {"reward": {"params": {"learning_rate": 1e-5}}})
    round = go(round, State.POLICY)
    assert not round.problem
    assert round.runs.get(part="reward").config["params"]["learning_rate"] == 1e-5
    assert round.runs.filter(kind="reward").count() == 2


def test_resuming_the_failed_run_lets_the_round_go_on(loop_engine):
    script = loop_engine.script
    round = start()
    loop_engine.script = "raise SystemExit(3)"
    round = go(round, State.LABEL)
    assert "did not finish" in round.problem
    loop_engine.script = script
    runs.resume(round.runs.get())
    assert go(round, State.LABEL).problem == ""


def test_labeling_may_end_with_what_is_there(loop_engine):
    round = go(start(), State.LABEL)
    with pytest.raises(rounds.RoundError, match="no judgements"):
        rounds.finish_step(round)
    person = factories.member(round.project)
    for _ in range(9):
        assignment = queue.lease_next(round.project, person)
        judging.submit(assignment.task, person, {"choice": "a", "strength": 1})
    assert rounds.advance(round).state == State.LABEL
    assert rounds.finish_step(round).state == State.REWARD


def test_a_prompt_never_changes_sides(loop_engine):
    project = factories.project()
    first = start(project, label=asked(*range(8)), held_out=asked("a", "b"))
    go(first, State.LABEL)
    with pytest.raises(rounds.RoundError, match="left for evaluation"):
        start(project, label=asked("x"), held_out=asked(1, 2, 3))
    everything = asked(*range(8), *"abcdef")
    second = start(project, label=everything, held_out=None)
    held_out = {row["id"] for row in prompts.read(second.folder / "eval_prompts.jsonl")}
    label = {row["id"] for row in prompts.read(second.folder / "prompts.jsonl")}
    assert second.number == 2
    assert held_out <= set("abcdef") and len(held_out) == 3
    assert not held_out & label


def test_held_out_prompts_that_people_label_too_are_told_in_the_plan(data_folder, client):
    project = factories.project()
    held_out = asked("1", "e1", "e2")
    held_out[0]["prompt"][0]["content"] = "question  1"  # the same as the one to label, said otherwise
    round = start(project, label=asked(1, 2), held_out=held_out)
    warning = "1 of 3 held-out prompts says the same (1) or nearly the same (0) as a prompt to train on"
    assert round.plan["warning"].startswith(warning)
    assert plans.from_dict(rounds._plan(round).as_dict()).prompts == 12
    client.force_login(factories.member(project, role="trainer"))
    assert warning in client.get(f"/projects/{project.slug}/loop/").content.decode()
    assert "warning" not in start(factories.project()).plan


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"prompts": 0}, "prompts"),
        ({"responses_per_prompt": 1}, "responses_per_prompt"),
        ({"policies": []}, "policies"),
        ({"policies": [{"kind": "magic"}]}, "policies[0].kind"),
        ({"policies": [{"kind": "dpo", "beta": 1}]}, "policies[0].beta"),
        ({"policies": [{"kind": "dpo", "hardware": "cpu"}]}, "policies[0].hardware"),
        ({"gate": {"win": 1}}, "gate.win"),
        ({"gate": {"kl_max": "high"}}, "gate.kl_max"),
    ],
)
def test_a_bad_plan_is_refused_by_its_key(plan, field):
    with pytest.raises(PlanError) as refused:
        plans.from_dict(plan)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"policies": [{"kind": "ppo", "params": {"betta": 1}}]}, "policies[0]: params.betta"),
        ({"reward": {"params": {"learning_rate": -1}}}, "reward: params.learning_rate"),
        ({"reward": {"hardware": {"threads": -1}}}, "reward: hardware.threads"),
        ({"generation": {"temperature": 99}}, "generation: params.temperature"),
    ],
)
def test_what_the_engine_would_refuse_is_refused_before_anybody_labels(plan, field, data_folder):
    with pytest.raises(PlanError) as refused:
        start(**plan)
    assert refused.value.field == field
    assert not Round.objects.exists()
