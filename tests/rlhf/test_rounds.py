import time

import pytest

from annotation import judging, queue, requeueing
from annotation.models import Pool, Purpose, Task
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
    assert round.problem == "rm-r1 did not finish. loss became nan. Lower it."
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


def test_comparisons_that_were_not_waited_for_are_asked_of_nobody_any_more(loop_engine):
    round = go(start(policies=[{"kind": "dpo"}]), State.LABEL)
    judge(round.project, yes)
    round = go(round, State.COMPARE)
    person = factories.member(round.project)
    judging.submit(queue.lease_next(round.project, person).task, person, {"choice": "a", "strength": 1})
    assert rounds.finish_step(round).state == State.DECIDE
    assert queue.lease_next(round.project, person) is None
    compared = round.project.tasks.filter(purpose=Purpose.EVALUATION)
    assert sorted(compared.values_list("done", "pool")) == [(0, Pool.DROPPED)] * 3 + [(1, Pool.QUEUE)]


def test_a_prompt_never_changes_sides(loop_engine):
    project = factories.project()
    first = go(start(project, label=asked(*range(8)), held_out=asked("a", "b")), State.LABEL)
    rounds.abandon(first, by=None, reason="Another one.")
    with pytest.raises(rounds.RoundError, match="left for evaluation"):
        start(project, label=asked("x"), held_out=asked(1, 2, 3))
    everything = asked(*range(8), *"abcdef")
    second = start(project, label=everything, held_out=None)
    held_out = {row["id"] for row in prompts.read(second.folder / "eval_prompts.jsonl")}
    label = {row["id"] for row in prompts.read(second.folder / "prompts.jsonl")}
    assert second.number == 2
    assert held_out <= set("abcdef") and len(held_out) == 3
    assert not held_out & label


def test_a_project_has_one_open_round_which_the_refusal_names(loop_engine):
    round = go(start(), State.LABEL)
    with pytest.raises(rounds.RoundError, match=r"Round 1 is still open \(labeling\): decide or abandon it"):
        start(round.project)
    assert Round.objects.count() == 1
    rounds.abandon(round, by=None, reason="The start model is broken.")
    assert start(round.project, label=asked("x"), held_out=asked("y")).number == 2


def test_an_abandoned_round_keeps_what_it_made_and_asks_nobody_any_more(loop_engine):
    round = go(start(overlap=2), State.LABEL)
    project, person = round.project, factories.member(round.project)
    held = queue.lease_next(project, person)
    judging.submit(held.task, person, {"choice": "a", "strength": 1})
    leased = queue.lease_next(project, person)
    with pytest.raises(rounds.RoundError, match="Give the reason"):
        rounds.abandon(round, by=None, reason="  ")
    ended = rounds.abandon(round, by=factories.user("lena"), reason="The answers are all alike.")
    assert (ended.state, ended.step, ended.is_ended, ended.promoted_model) == ("abandoned", "label", True, None)
    assert {"by": "lena", "reason": "The answers are all alike.", "step": "label"}.items() <= ended.decision.items()
    assert queue.lease_next(project, factories.member(project)) is None
    judging.submit(leased.task, person, {"choice": "b", "strength": 1})  # what somebody holds may still be judged
    assert project.annotations.count() == 2
    assert list(project.tasks.open()) == []
    rows = project.tasks.filter(pk__in=[held.task.pk, leased.task.pk])
    assert set(rows.values_list("need", "done", "pool")) == {(1, 1, Pool.QUEUE)}
    assert project.tasks.filter(pool=Pool.DROPPED).count() == 10
    assert not Model.objects.filter(state=Model.State.PROMOTED).exists()
    assert rounds.advance(ended).state == State.ABANDONED
    for late in (rounds.retry, rounds.finish_step):
        with pytest.raises(rounds.RoundError):
            late(ended)
    with pytest.raises(rounds.RoundError, match="has ended already: abandoned"):
        rounds.abandon(ended, by=None, reason="Again.")
    assert requeueing.put_back([task.pk for task in project.tasks.all()], project) == 10
    assert queue.lease_next(project, factories.member(project)) is not None


def test_abandoning_stops_the_runs_under_way_and_those_that_wait(loop_engine, django_capture_on_commit_callbacks):
    script = loop_engine.script
    round = go(start(), State.LABEL)
    judge(round.project, yes)
    loop_engine.script = script.replace("run.phase(", "__import__('time').sleep(600)\n    run.phase(")
    rounds.advance(round)
    runner.tick()
    busy, waiting = round.runs.get(part="reward"), round.runs.get(part="policy-0")
    assert (busy.state, waiting.state) == (Run.State.STARTING, Run.State.QUEUED)
    with django_capture_on_commit_callbacks(execute=True):
        rounds.abandon(round, by=None, reason="Too slow.")
    busy.refresh_from_db()
    waiting.refresh_from_db()
    assert (busy.state, waiting.state) == (Run.State.STOPPING, Run.State.CANCELLED)
    deadline = time.monotonic() + 60
    while busy.state == Run.State.STOPPING and time.monotonic() < deadline:
        runner.tick()
        busy.refresh_from_db()
        time.sleep(0.02)
    assert busy.state == Run.State.CANCELLED
    assert Round.objects.get(pk=round.pk).problem == ""
    runs.resume(waiting)  # a run of an abandoned round goes on by itself when somebody asks it to
    rounds.advance(round)
    waiting.refresh_from_db()
    assert waiting.state == Run.State.QUEUED


def test_a_round_abandoned_while_a_step_was_being_done_leaves_no_run_behind(loop_engine, monkeypatch):
    round = start()

    def step(seen):
        rounds.abandon(seen, by=None, reason="Just then.")
        rounds.runs.create(seen.project, "generate", start_model=seen.start_model, prompts=asked(1), round=seen)
        return rounds._stop(seen, "Too late to matter.")

    monkeypatch.setitem(rounds.STEPS, State.GENERATE, step)
    assert (rounds.advance(round).state, round.problem) == (State.ABANDONED, "")
    assert set(round.runs.values_list("state", flat=True)) == {Run.State.CANCELLED}


def test_a_next_round_compares_with_the_same_base_on_the_same_held_out_prompts(loop_engine):
    first = start(promote_automatically=True, policies=[{"kind": "dpo"}], label=asked(*range(4)))
    project, base = first.project, first.base_model
    go(first, State.LABEL)
    judge(project, yes)
    go(first, State.COMPARE)
    judge(project, yes)
    go(first, State.REJECTED)
    start_model = rows.model(parent=rows.model())
    usual = rounds.usual_plan(project)
    assert (usual["policies"], usual["seed"], usual["judgements"]) == ([{"kind": "dpo"}], 1, None)
    assert "warning" not in usual and plans.from_dict(usual).prompts == 12
    second = rounds.start_round(project, plans.from_dict(usual), start_model=start_model)
    assert second.base_model == base != start_model.base
    before, now = (list(prompts.read(one.folder / "eval_prompts.jsonl")) for one in (first, second))
    assert {prompts.key(row["prompt"]) for row in before} == {prompts.key(row["prompt"]) for row in now}
    other = factories.project()
    factories.task(other)
    with pytest.raises(rounds.RoundError) as refused:
        rounds.start_round(other, Plan(), start_model=start_model)
    assert refused.value.field == "eval_prompts"


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
