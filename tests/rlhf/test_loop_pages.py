import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from annotation.models import Membership, Role
from rlhf import worker
from rlhf.models import Model, Round
from tests import factories
from tests.rlhf.page_rows import address, deciding, round_in, share

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


@pytest.mark.parametrize("state", Round.State.values)
def test_the_loop_has_a_page_for_every_state_of_a_round(client, trainer, state):
    Model.objects.all().delete()
    ended = state in ("promoted", "rejected", "abandoned")
    round_in(trainer, state, decision={"by": "x", "reason": "Because.", "step": "reward"} if ended else {})
    worker.beat()
    page = client.get(address("loop", trainer)).content.decode()
    assert page.count('class="stage ') == 8
    assert "Nothing moves" not in page
    assert ("every 10s" in page) == (not ended)
    assert ('data-open="abandon-round"' in page) == (not ended and state != "decide")  # there one rejects
    assert ('id="decision"' in page) == (state == "decide")


def test_the_loop_says_when_no_worker_is_there(client, trainer):
    Model.objects.all().delete()
    round_in(trainer, "generate")
    worker.heartbeat_file().unlink(missing_ok=True)
    assert "no worker is running" in client.get(address("loop", trainer)).content.decode()


def test_a_round_that_stopped_names_the_problem_and_offers_a_retry(client, trainer):
    Model.objects.all().delete()
    round = round_in(trainer, "reward", problem="rm-r1 did not finish. Out of memory.")
    worker.beat()
    page = client.get(address("loop", trainer)).content.decode()
    assert "round 1 has stopped" in page and "rm-r1 did not finish" in page
    assert address("retry_round", trainer, round.number) in page


def test_the_stages_are_304_until_something_changes(client, trainer):
    Model.objects.all().delete()
    round = round_in(trainer, "label")
    worker.beat()
    first = client.get(address("loop", trainer), headers={"HX-Target": "stages"})
    assert b"<html" not in first.content
    same = {"HX-Target": "stages", "If-None-Match": first["ETag"]}
    assert client.get(address("loop", trainer), headers=same).status_code == 304
    Round.objects.filter(pk=round.pk).update(state="reward")
    assert client.get(address("loop", trainer), headers=same).status_code == 200


def test_a_decision_needs_a_reason_and_then_promotes(client, trainer):
    Model.objects.all().delete()
    round, model = deciding(trainer)
    url = address("decide", trainer, round.number)
    page = client.get(address("loop", trainer)).content.decode()
    assert "Promote policy-1" in page and "keep policy-0" in page and "Met" in page
    refused = client.post(url, {"promote": "policy-1", "reason": " "})
    assert refused.status_code == 422 and "Give the reason" in refused.content.decode()
    assert client.post(url, {"promote": "desk-base", "reason": "No."}).status_code == 422
    assert client.post(url, {"promote": "policy-1", "reason": "Preferred clearly."}).status_code == 302
    round.refresh_from_db()
    model.refresh_from_db()
    assert (round.state, model.state, model.decision["reason"]) == ("promoted", "promoted", "Preferred clearly.")
    late = client.post(url, {"promote": "", "reason": "Too late."}, follow=True)
    assert "does not wait for a decision" in late.content.decode()


def test_a_round_that_waits_for_labels_can_be_abandoned_and_the_page_says_so(client, trainer):
    Model.objects.all().delete()
    round = round_in(trainer, "label")
    address_of = address("abandon_round", trainer, round.number)
    assert client.get(address("new_round", trainer), follow=True).redirect_chain[-1][0] == address("loop", trainer)
    assert "Give the reason" in client.post(address_of, {"reason": " "}).content.decode()
    page = client.post(address_of, {"reason": "Nobody has time."}, follow=True).content.decode()
    assert "Round 1 was abandoned: no policy was promoted" in page and "Nobody has time." in page
    assert page.count("Not reached") == 5 and "Start round 2" in page
    Round.objects.create(
        project=trainer, number=2, start_model=round.start_model, base_model=round.base_model, plan=round.plan
    )
    page = client.get(address("loop", trainer, round=1)).content.decode()
    assert "Round 1 was abandoned" in page and "Start round" not in page
    assert "has ended already" in client.post(address_of, {"reason": "Again."}, follow=True).content.decode()


def test_rejecting_keeps_the_promoted_policy(client, trainer):
    Model.objects.all().delete()
    round, model = deciding(trainer)
    client.post(address("decide", trainer, round.number), {"promote": "", "reason": "Answers got rude."})
    round.refresh_from_db()
    model.refresh_from_db()
    assert (round.state, model.state) == ("rejected", "rejected")


def test_win_rates_are_drawn_with_their_intervals_and_marked_as_simulated(client, trainer):
    Model.objects.all().delete()
    deciding(trainer)
    page = client.get(address("loop", trainer)).content.decode()
    assert "70.0 percent, 65.0 to 75.0" in page and "All judgments are simulated" in page
    earlier = Round.objects.get()
    people = {"policy-2": {"preferred": share(0.6), "simulated_share": 0.0, "judgements": 3}}
    plan = {"start_model": earlier.start_model, "base_model": earlier.base_model, "plan": earlier.plan}
    told = {"compared": {"policy-2": {}}, "policies": people}
    Round.objects.create(project=trainer, number=2, state="rejected", evaluation=told, **plan)
    for name in ("loop", "models"):
        assert "25% of the judgments are simulated" in client.get(address(name, trainer)).content.decode()
    Round.objects.filter(number=2).delete()
    assert "best is policy-1: 70.0% at KL 4.00 to policy-0" in page
    legend = page.split('id="chart-bought"')[1].split("</figure>")[0]
    assert "KL to policy-0" in legend and "KL to desk-base" in legend
    assert 'class="ln ' not in legend  # two KLs to different models are no line
    table = client.get(address("loop", trainer, table="bought")).content.decode()
    assert table.count(">policy-0</td>") == 1 and table.count(">desk-base</td>") == 1


def round_form(**changes):
    base = Model.objects.get()
    form = {"start_model": base.pk, "base_model": base.pk, "prompts": 4, "responses_per_prompt": 2, "eval_prompts": 2}
    return form | {"eval_overlap": 1, "methods": ["dpo", "ppo"], "win_rate_low": 0.5, "kl_max": 15} | changes


def prompts_file(*lines):
    return SimpleUploadedFile("prompts.jsonl", "\n".join(lines).encode())


def test_a_round_is_started_from_a_file_of_prompts(client, trainer):
    page = client.get(address("new_round", trainer))
    assert page.status_code == 200 and b"multipart/form-data" in page.content
    assert client.post(address("new_round", trainer), round_form(methods=[])).status_code == 422
    sent = prompts_file(*[json.dumps({"id": str(n), "prompt": f"Question {n}?"}) for n in range(8)])
    assert client.post(address("new_round", trainer), round_form(prompts_file=sent)).status_code == 302
    round = Round.objects.get()
    assert (round.state, round.plan["prompts"], round.plan["gate"]["kl_max"]) == ("generate", 4, 15.0)
    assert len((round.folder / "eval_prompts.jsonl").read_text().splitlines()) == 2


def test_a_round_is_started_from_the_prompts_of_another_project(client, trainer):
    other = factories.project(kind="demonstration")
    Membership.objects.create(project=other, user=trainer.memberships.get().user, role=Role.READER)
    for number in range(8):
        factories.task(other, prompt=[{"role": "user", "content": f"Question {number}?"}])
    stranger = factories.project()
    refused = client.post(address("new_round", trainer), round_form(prompts_project=stranger.pk))
    assert refused.status_code == 422
    assert client.post(address("new_round", trainer), round_form(prompts_project=other.pk)).status_code == 302


def test_a_bad_line_in_the_file_of_prompts_is_named(client, trainer):
    sent = prompts_file('"Fine?"', '{"prompt": 7}')
    answer = client.post(address("new_round", trainer), round_form(prompts_file=sent))
    assert answer.status_code == 422 and "Line 2" in answer.content.decode()


def test_a_round_without_prompts_is_refused_in_words(client, trainer):
    answer = client.post(address("new_round", trainer), round_form())
    assert answer.status_code == 422 and "No prompt is left for evaluation" in answer.content.decode()
