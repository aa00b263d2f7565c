"""What the tests of the pages look at: addresses, and runs and rounds in the state that a page shows."""

import json

from django.urls import reverse

from annotation.models import Annotation
from rlhf import rounds
from rlhf.models import Model, Round, Run
from tests import factories
from tests.rlhf import rows


def address(name, project, *args, **query):
    return reverse(f"rlhf:{name}", args=[project.slug, *args]) + (
        "?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else ""
    )


def fetched(client, url):
    """The bytes of a file that is sent in pieces; the client closes its handle behind the last one."""
    answer = client.get(url)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


def judged(project, count=12, simulated=True):
    """Tasks that one rater judged, the first response always better."""
    person = factories.member(project)
    person.is_simulated = simulated
    person.save()
    for number in range(count):
        task = factories.task(project, prompt=[{"role": "user", "content": f"Question {number}?"}])
        first, _ = task.responses.order_by("position")
        body = {
            "choice": first.pk,
            "strength": 2,
            "aspects": {},
            "flags": ["unclear"] if number == 0 else [],
            "rationale": "",
        }
        Annotation.objects.create(project=project, task=task, annotator=person, kind="preference", body=body)


def write(run, name, value):
    text = "".join(json.dumps(row) + "\n" for row in value) if name.endswith("l") else json.dumps(value)
    (run.folder / name).write_text(text)


def live(project, kind="ppo", steps=30):
    """A run in the middle of its work, as its directory shows it."""
    reward = rows.model(role=Model.Role.REWARD, project=project) if kind == "ppo" else None
    run = rows.run(project, kind, **({"reward_model": reward, "params": {"kl_target": 2.0}} if kind == "ppo" else {}))
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING)
    run.refresh_from_db()
    metrics = [
        {"step": n, "reward": n / 10, "kl": n / 5, "policy_loss": 0.1, "value_loss": 0.2, "length": 40.0}
        for n in range(1, steps + 1)
    ]
    write(run, "metrics.jsonl", metrics)
    write(
        run,
        "status.json",
        {"state": "running", "phase": "train", "step": steps, "total": 100, "eta_seconds": 70.0, "heartbeat": 1.0},
    )
    (run.folder / "log.txt").write_text("12:00:00 info phase train\n12:00:01 warning kl is high\n")
    return run


def ended(project, state="succeeded", kind="reward", report=None, error=None):
    run = rows.run(project, kind)
    Run.objects.filter(pk=run.pk).update(state=state, error=error, step=10, total=10)
    if report:
        write(run, "report.json", report)
    return Run.objects.get(pk=run.pk)


def share(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 100}


def round_in(project, state, **fields):
    base, start = (
        Model.objects.filter(name="desk-base").first() or rows.model("desk-base"),
        rows.model("policy-0", project=project),
    )
    plan = rounds.Plan().as_dict()
    return Round.objects.create(
        project=project, number=1, state=state, plan=plan, start_model=start, base_model=base, **fields
    )


def deciding(project):
    """A round whose one policy people prefer clearly."""
    round = round_in(project, Round.State.DECIDE)
    run = rows.run(project, "dpo", start_model=round.start_model, round=round, part="policy-0", name="dpo-r1")
    model = Model.objects.create(
        project=project,
        name="policy-1",
        role="policy",
        run=run,
        parent=round.start_model,
        path="models/x",
        sha256="1" * 64,
    )
    policies = {
        "policy-1": {"kl": 4.0, "preferred": share(0.7), "simulated_share": 1.0},
        "policy-0": {"kl": 0.1, "preferred": share(0.55)},
    }
    round.evaluation = {"compared": {name: {} for name in policies}, "policies": {**policies, "desk-base": {"kl": 0.0}}}
    round.save()
    return round, model
