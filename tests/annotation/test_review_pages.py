"""The reviewer's pages through Django's client, and what an annotator sees of a decision."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from annotation import disputes, judging, queue, reviewing
from annotation.models import Adjudication, Dispute, Project, Role, Task, User
from tests import factories

pytestmark = pytest.mark.django_db
RATED = ("helpful", "correct", "harmless", "clear")


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def disputed(kind: str = "preference", bodies: list[dict[str, Any]] | None = None, **fields: Any) -> Task:
    """A task that as many people judged as there are bodies; sides are those of a reviewer's order."""
    project = factories.project(kind=kind)
    bodies = bodies or [{"choice": "a", "strength": 3}, {"choice": "b", "strength": 2}]
    task = factories.task(project, need=len(bodies), **fields)
    ids = reviewing.order_of(task)
    for number, body in enumerate(bodies):
        person = factories.member(project, username=f"{kind}-judge-{number}")
        shown = queue.lease_next(project, person).shown
        if "choice" in body and body["choice"] in "ab":
            body = body | {"choice": "ab"[shown.index(ids["ab".index(body["choice"])])]}
        judging.submit(task, person, body)
    return task


def reviewer_of(project: Project) -> tuple[User, Client]:
    person = factories.member(project, Role.REVIEWER)
    return person, signed_in(person)


def test_the_list_shows_who_said_what_and_links_to_the_page() -> None:
    task = disputed()
    _, client = reviewer_of(task.project)
    html = client.get(f"/projects/{task.project.slug}/review/").content.decode()
    assert f"/tasks/{task.pk}/review/" in html
    assert "A much better" in html and "B better" in html and "preference-judge-1" in html
    narrowed = client.get(f"/projects/{task.project.slug}/review/?least=6").content.decode()
    assert "Nothing matches" in narrowed
    wrong = client.get(f"/projects/{task.project.slug}/review/?since=yesterday")
    assert wrong.status_code == 422 and b"Enter a valid date" in wrong.content


def test_only_those_who_see_names_review() -> None:
    task = disputed()
    paths = (f"/projects/{task.project.slug}/review/", f"/tasks/{task.pk}/review/")
    for role in (Role.ANNOTATOR, Role.TRAINER, Role.READER):
        client = signed_in(factories.member(task.project, role))
        assert [client.get(path).status_code for path in paths] == [403, 403]
        assert client.post(f"/tasks/{task.pk}/decide/", {"decision": "accept"}).status_code == 403
    stranger = signed_in(factories.user())
    assert [stranger.get(path).status_code for path in paths] == [404, 404]


def test_a_page_reads_a_bounded_number_of_statements(django_assert_max_num_queries: Any) -> None:
    task = disputed()
    _, client = reviewer_of(task.project)
    client.get(f"/tasks/{task.pk}/review/")
    with django_assert_max_num_queries(40):
        client.get(f"/tasks/{task.pk}/review/")
    with django_assert_max_num_queries(30):
        client.get(f"/projects/{task.project.slug}/review/")


@pytest.mark.parametrize(("counted", "told"), [(2, "2"), (1, "1+")])
def test_every_page_says_alike_how_many_are_open(monkeypatch: pytest.MonkeyPatch, counted: int, told: str) -> None:
    monkeypatch.setattr(disputes, "COUNTED", counted)
    task = disputed()
    other = factories.task(task.project, need=2)
    for person in User.objects.filter(username__startswith="preference-judge-"):
        shown = queue.lease_next(task.project, person).shown
        choice = "ab"[shown.index(reviewing.order_of(other)[person.username.endswith("1")])]
        judging.submit(other, person, {"choice": choice, "strength": 3})
    _, client = reviewer_of(task.project)
    client.get(f"/projects/{task.project.slug}/review/")
    cache.clear()
    home = client.get(f"/projects/{task.project.slug}/").content.decode()
    side = re.search(r'/review/"[^>]*>.*?<span class="count">([^<]*)', home, re.S)
    card = re.search(r"To adjudicate</h2><span[^>]*>([^<]*)", home)
    desk = client.get(f"/tasks/{task.pk}/review/").content.decode()
    assert f"· {told} waiting" in desk and f"of {told}</span>" in desk
    assert card and card[1] == told and side and side[1] == told
    assert str(disputes.Count(1000, more=True).beside(3)) == "1,003+"


def test_the_page_shows_all_verdicts_the_median_and_the_history() -> None:
    bodies = [{"choice": "a", "strength": 2, "rationale": "Keeps orders."}, {"choice": "a", "strength": 3}]
    task = disputed(bodies=[*bodies, {"choice": "b", "strength": 2}])
    _, client = reviewer_of(task.project)
    html = client.get(f"/tasks/{task.pk}/review/").content.decode()
    for words in ("Keeps orders.", "Accept median: A better", "Return to preference-judge-2", "spread 5 steps"):
        assert words in html
    assert "preference-judge-0 judged: A better" in html


def test_a_reviewer_sees_all_that_each_person_said() -> None:
    aspects = [{"name": "tone", "label": "Tone", "required": False}]
    span = {"start": 0, "end": 6, "reason": "wrong", "text": "Water."}
    said = {"choice": "b", "strength": 1, "aspects": {"tone": "tie"}, "flags": ["unsafe"], "reasons": ["clear"]}
    project = factories.project(questions={"aspects": aspects, "improve": True})
    task = factories.task(project)
    judge = factories.member(project)
    queue.lease_next(project, judge)
    water = task.responses.get(position=0).pk
    span["response"] = water
    judging.submit(task, judge, said | {"highlights": [span], "improved": "Water, by far."})
    letter = "AB"[reviewing.order_of(task).index(water)]
    _, client = reviewer_of(project)
    page = client.get(f"/tasks/{task.pk}/review/").content.decode()
    told = dict(re.findall(r'<span class="muted">([^<]+):</span> <span class="anywhere" dir="auto">([^<]+)<', page))
    assert told == {
        "Tone": "About the same",
        "Flagged": "Unsafe",
        "Reasons": "Clearer",
        f"Wrong, {letter}": "“Water.”",
        "Improved": "Water, by far.",
    }


def test_overruling_goes_on_to_the_next_one_and_can_be_taken_back() -> None:
    task = disputed()
    _, client = reviewer_of(task.project)
    page = client.get(f"/tasks/{task.pk}/review/").content.decode()
    assert 'name="gold" value="1" data-key="o"' in page
    sent = {"decision": "overrule", "verdict": "7", "comment": "See line 2.", "seen": reviewing.seen(task), "gold": "1"}
    answer = client.post(f"/tasks/{task.pk}/decide/", sent)
    assert Task.objects.get(pk=task.pk).is_gold
    assert answer.url == f"/projects/{task.project.slug}/review/next/"
    made = Adjudication.objects.get()
    assert (made.decision, made.body["choice"]) == ("overrule", reviewing.order_of(task)[1])
    assert client.get(answer.url).url == f"/projects/{task.project.slug}/review/"  # nothing is left
    assert client.post(f"/tasks/{task.pk}/decide/", sent).status_code == 409
    client.post(f"/adjudications/{made.pk}/withdraw/")
    assert Dispute.objects.get(task=task).state == "open" and not Task.objects.get(pk=task.pk).is_gold
    assert client.get(answer.url).url == f"/tasks/{task.pk}/review/"


def test_a_return_needs_a_comment_and_keeps_what_was_typed() -> None:
    task = disputed()
    _, client = reviewer_of(task.project)
    vote = reviewing.votes_on(task)[1]
    answer = client.post(f"/tasks/{task.pk}/decide/", {"decision": f"return:{vote.pk}"})
    assert answer.status_code == 422 and b"Say what to look at again" in answer.content
    client.post(f"/tasks/{task.pk}/decide/", {"decision": f"return:{vote.pk}", "comment": "Count the words."})
    vote.refresh_from_db()
    assert vote.status == "returned"
    work = signed_in(vote.annotator).get(f"/projects/{task.project.slug}/work/").content.decode()
    assert "A reviewer asks for a second look" in work and "Count the words." in work
    assert "checked" in work and "preference-judge-0" not in work


def test_a_vote_of_another_task_cannot_be_returned_here() -> None:
    task, other = disputed(), disputed("rating", [{"ratings": dict.fromkeys(RATED, 3)}])
    _, client = reviewer_of(task.project)
    vote = reviewing.votes_on(other)[0]
    sent = {"decision": f"return:{vote.pk}", "comment": "Again."}
    assert client.post(f"/tasks/{task.pk}/decide/", sent).status_code == 404
    assert client.post(f"/tasks/{task.pk}/decide/", sent | {"decision": "return:x"}).status_code == 422


@pytest.mark.parametrize(
    ("kind", "bodies", "sent", "expected"),
    [
        (
            "rating",
            [{"ratings": dict.fromkeys(RATED, 2)}, {"ratings": dict.fromkeys(RATED, 5)}],
            {f"rating-{name}": "4" for name in RATED},
            {"ratings": dict.fromkeys(RATED, 4)},
        ),
        ("demonstration", [{"text": "One."}, {"text": "Two."}], {"text": "Three."}, {"text": "Three."}),
    ],
)
def test_the_other_kinds_are_settled_too(kind: str, bodies: Any, sent: Any, expected: Any) -> None:
    task = disputed(kind, bodies)
    _, client = reviewer_of(task.project)
    assert client.get(f"/tasks/{task.pk}/review/").status_code == 200
    assert client.post(f"/tasks/{task.pk}/decide/", {"decision": "overrule"} | sent).status_code == 302
    assert expected.items() <= Adjudication.objects.get().body.items()


def test_a_ranking_is_settled() -> None:
    project = factories.project(kind="ranking")
    task = factories.task(project, need=2)
    ids = reviewing.order_of(task)
    for order in (ids, ids[::-1]):
        person = factories.member(project)
        queue.lease_next(project, person)
        judging.submit(task, person, {"ranking": [[pk] for pk in order]})
    _, client = reviewer_of(project)
    assert b"Accept median: A=B" in client.get(f"/tasks/{task.pk}/review/").content
    client.post(f"/tasks/{task.pk}/decide/", {"decision": "overrule", f"place-{ids[0]}": "2", f"place-{ids[1]}": "1"})
    assert Adjudication.objects.get().body["ranking"] == [[ids[1]], [ids[0]]]


def test_the_four_eyes_rule_is_a_managers_switch() -> None:
    task = disputed()
    project = task.project
    judge = reviewing.votes_on(task)[0].annotator
    judge.memberships.update(role=Role.REVIEWER)
    own = signed_in(judge)
    assert b"You judged this item yourself" in own.get(f"/tasks/{task.pk}/review/").content
    assert own.post(f"/tasks/{task.pk}/decide/", {"decision": "accept"}).status_code == 409
    assert own.get(f"/projects/{project.slug}/review/next/").url == f"/projects/{project.slug}/review/"
    assert own.post(f"/projects/{project.slug}/review/four-eyes/").status_code == 403
    signed_in(factories.member(project, Role.MANAGER)).post(f"/projects/{project.slug}/review/four-eyes/")
    assert own.post(f"/tasks/{task.pk}/decide/", {"decision": "accept"}).status_code == 302
