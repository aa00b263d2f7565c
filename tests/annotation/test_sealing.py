"""What annotators are told in place of ids: nothing in a page or an answer tells a hidden check from work."""

import re
from itertools import pairwise

import pytest
from django.test import Client

from annotation import draws, judging, queue, sealing
from annotation.draws import Turn
from annotation.models import Annotation, Project, RepeatCheck, Role
from annotation.sealing import Of
from tests import factories
from tests.contract.program import Program, problem

pytestmark = pytest.mark.django_db
SCRIPT = {"X-Requested-With": "fetch"}
CHANGES = r"[0-9a-f]{32}|[A-Za-z0-9]{64}|nonce-\S+"  # what is drawn anew for each page


@pytest.fixture
def turns(monkeypatch) -> list[Turn]:
    """What the next leases bring, first to last; plain work when it is empty."""
    coming: list[Turn] = []
    monkeypatch.setattr(draws, "turn_of", lambda *args, **shares: coming.pop(0) if coming else Turn.WORK)
    return coming


def numbers(html: str) -> set[int]:
    """All whole numbers of a page that could be an id: in addresses, names of fields and attributes."""
    found = re.findall(r"/(?:tasks|annotations)/(\d+)/|place-(\d+)|data-(?:task|id)=\"(\d+)\"", html)
    return {int(number) for groups in found for number in groups if number}


def bare(html: str) -> str:
    """A page without what differs between any two items."""
    return re.sub(CHANGES, "…", re.sub(r"\d{16}", "#", html))


def test_a_number_is_undone_by_the_secret_alone(settings):
    ids = [*range(1, 200), 2**40]
    sealed = [sealing.seal(Of.TASK, pk) for pk in ids]
    assert [sealing.plain(Of.TASK, number) for number in sealed] == ids
    assert len({*sealed, *(sealing.seal(Of.TASK, pk, salt=1) for pk in ids)}) == 2 * len(ids)
    assert all(2**52 <= number < 2**53 for number in sealed)  # what a script keeps exactly
    rises = sum(one < other for one, other in pairwise(sealed))
    assert 60 < rises < 140  # no order is left
    assert not {sealing.seal(Of.RESPONSE, pk) for pk in ids} & {*sealed}
    settings.SECRET_KEY = "another one, as long as the others are"
    assert [sealing.plain(Of.TASK, number) for number in sealed] != ids
    for strange in (-1, 2**41, 10**30):
        assert sealing.seal(Of.TASK, strange) == strange == sealing.plain(Of.TASK, strange)


@pytest.mark.parametrize("kind", ["preference", "ranking"])
def test_the_page_of_a_gold_item_is_that_of_any_other(turns, kind):
    project = factories.project(kind, gold_share=0.1, repeat_share=0.1, repeat_after=1)
    gold = {"choice": "a"} if kind == "preference" else {"ranking": ["a", "b"]}
    for answer in (None, None, gold, None):
        factories.task(project, gold=answer)
    person, client = factories.member(project), Client()
    client.force_login(person)
    pages, seen, told = [], {}, set()
    for number, turn in enumerate((Turn.WORK, Turn.GOLD, Turn.WORK, Turn.REPEAT)):
        turns[:] = [turn]
        html = client.get(f"/projects/{project.slug}/work/").content.decode()
        held = queue.lease_next(project, person)
        assert held.task.is_gold == (turn == Turn.GOLD) and (held.pk is None) == (turn == Turn.REPEAT)
        assert numbers(html) and all(map(sealing.is_sealed, numbers(html)))
        assert not numbers(html) & told  # nor does the page of what was judged before name anything again
        told |= numbers(html)
        pages.append(
            re.sub(r"<title>.*?</title>|data-\w+=\"\d+\"|>[^<>]*<|valuenow=\S+|class=\"p\d+\"", "", bare(html))
        )
        action = re.search(r'/tasks/(\d+)/judge/" aria', html)[1]
        sent = dict.fromkeys(re.findall(r"place-\d+", html), "1") | {"verdict": "2", "key": f"k{number}"}
        if turn == Turn.GOLD:
            refused = client.post(f"/tasks/{held.task_id}/judge/", sent, headers=SCRIPT)
            assert refused.status_code == 404  # that a guessed id is right must not be told
        assert client.post(f"/tasks/{action}/judge/", sent).status_code == 302
        seen.setdefault(held.task_id, set()).add(action)
    assert Annotation.objects.count() == 3 and sorted(map(len, seen.values())) == [1, 1, 2]
    assert pages[1] == pages[2] == pages[3]  # the very first has nothing to undo
    undo = re.search(r'id="undo" action="(\S+)"', client.get(f"/projects/{project.slug}/work/").content.decode())[1]
    undone = client.post(undo, headers=SCRIPT)
    assert undone.status_code == 200 and all(map(sealing.is_sealed, numbers(undone.json()["item"])))
    talks = [*filter(sealing.is_sealed, numbers(client.get("/my-work/").content.decode()))]
    assert len(talks) == 3 and client.get(f"/tasks/{talks[0]}/talk/").status_code == 200


def test_the_api_names_gold_and_work_alike_and_takes_back_what_it_named(turns):
    project = factories.project("ranking", gold_share=0.1)
    factories.task(project), factories.task(project, gold={"ranking": ["b", "a"]})
    person = Program(factories.member(project, Role.ANNOTATOR, "ann"))
    for turn in (Turn.GOLD, Turn.WORK):
        turns[:] = [turn]
        task = person.post(f"/projects/{project.slug}/next/").json()
        ids = [task["id"], *(one["id"] for one in task["responses"])]
        assert all(map(sealing.is_sealed, ids))
        held = sealing.plain(Of.TASK, task["id"])
        body = {"ranking": [[ids[2]], [ids[1]]]}
        problem(person.send("PUT", f"/tasks/{held}/draft/", body), 404)
        assert person.send("PUT", f"/tasks/{ids[0]}/draft/", body).json()["draft"] == body
        assert person.post(f"/projects/{project.slug}/next/").json()["draft"] == body
        guess = {"ranking": [[sealing.plain(Of.RESPONSE, number)] for number in ids[1:]]}
        told = problem(person.post(f"/tasks/{ids[0]}/annotations/", guess), 400)
        assert told["errors"] == {"ranking": ["Must name each of the 2 responses once."]}
        assert person.post(f"/tasks/{ids[0]}/annotations/?next=0", body).status_code == 201
        stored = Annotation.objects.get(task=held)
        assert [sealing.seal(Of.RESPONSE, tied[0]) for tied in stored.body["ranking"]] == [ids[2], ids[1]]
        rows = person.get(f"/projects/{project.slug}/annotations/?task={ids[0]}").json()["results"]
        assert [(row["task_id"], row["body"]["ranking"]) for row in rows] == [(ids[0], body["ranking"])]
        assert person.get(f"/projects/{project.slug}/annotations/?task={held}").json()["results"] == []
    lead = Program(factories.member(project, Role.MANAGER, "meg"))
    assert lead.get(f"/projects/{project.slug}/annotations/?task={held}").json()["results"][0]["task_id"] == held


@pytest.mark.parametrize("kind", ["preference", "ranking"])
def test_the_api_names_nothing_of_a_repeat_as_it_did_the_first_time(turns, kind):
    project = factories.project(kind, repeat_share=0.1, repeat_after=1)
    task, person = factories.task(project), Program(factories.member(project, Role.ANNOTATOR, "ann"))
    factories.task(project)
    answers, named = [], []
    for turn in (Turn.WORK, Turn.REPEAT):
        turns[:] = [turn]
        leased = person.post(f"/projects/{project.slug}/next/").json()
        one, other = (response["id"] for response in leased["responses"])
        body = {"choice": "a", "strength": 1} if kind == "preference" else {"ranking": [[one], [other]]}
        kept = person.send("PUT", f"/tasks/{leased['id']}/draft/", body).json()["draft"]
        assert kept == body == person.post(f"/projects/{project.slug}/next/").json()["draft"]
        sent = [
            person.post(f"/tasks/{leased['id']}/annotations/?next=0", body, headers={"Idempotency-Key": turn}).json()
            for _ in range(2)
        ]
        assert sent[0] == sent[1]  # the same answer to a retry
        answers.append(sent[0]["id"])
        named.append({leased["id"], one, other, sent[0]["id"]})
    assert Annotation.objects.count() == 1 and RepeatCheck.objects.get().state == RepeatCheck.State.ANSWERED
    assert all(map(sealing.is_sealed, named[0] | named[1])) and not named[0] & named[1]
    rows = person.get(f"/projects/{project.slug}/annotations/").json()["results"]
    assert [row["annotation_id"] for row in rows] == answers[:1]
    undone = person.post(f"/annotations/{answers[1]}/undo/").json()
    assert undone["id"] in named[1] and undone["draft"] | body == undone["draft"]
    Project.objects.update(repeat_share=0)
    assert person.post(f"/projects/{project.slug}/next/").json()["id"] in named[1]  # begun, so it stays unknown
    assert sealing.plain(Of.TASK, undone["id"]) == task.pk


def test_a_page_that_was_open_when_gold_was_mixed_in_still_saves():
    project = factories.project()
    task, person = factories.task(project), factories.member(project)
    client = Client()
    client.force_login(person)
    action = re.search(r"/tasks/\d+/judge/", client.get(f"/projects/{project.slug}/work/").content.decode())[0]
    Project.objects.update(gold_share=0.2)
    assert client.post(action, {"verdict": "2"}, headers=SCRIPT).status_code == 200
    assert judging.held(project, task.pk, person) is None and Annotation.objects.get().task_id == task.pk
