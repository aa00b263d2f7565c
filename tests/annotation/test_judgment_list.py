"""All judgements in a list: what a lead reads where nobody disagreed."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from annotation import judging, listing, queue
from annotation.models import Annotation, Membership, Project, Role, Task, User
from tests import factories
from tests.annotation.casts import judged

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    found = judged([{"ann": "a"}, {"ann": {"choice": "b", "rationale": "It is shorter."}}, {"ben": "a"}])
    for number, one in enumerate(Annotation.objects.order_by("pk")):
        Annotation.objects.filter(pk=one.pk).update(created_at=timezone.now() - timedelta(days=number))
    return found


@pytest.fixture
def client(project: Project) -> Client:
    signed_in = Client()
    signed_in.force_login(factories.member(project, Role.REVIEWER, "rex"))
    return signed_in


def items(client: Client, project: Project, query: str = "") -> list[str]:
    """The ids of the listed items as imported, in order."""
    page = client.get(f"/projects/{project.slug}/judgments/{query}").content.decode()
    return re.findall(r'</a><small class="muted">([^<]*)</small></th>', page)


def test_what_nobody_disagreed_on_is_read_and_looked_at_too(client: Client, project: Project) -> None:
    page = client.get(f"/projects/{project.slug}/judgments/").content.decode()
    assert re.search(r'href="[^"]*/review/" aria-current="page"', page)  # in the side bar
    assert "It is shorter." in page and "ann" in page and "ben" in page
    assert items(client, project) == ["2", "1", "0"]
    assert items(client, project, "?annotator=ann") == ["0", "1"]  # of one person by time
    day = (timezone.now() - timedelta(days=1)).date().isoformat()
    assert items(client, project, f"?since={day}&until={day}") == ["1"]
    task = project.tasks.get(external_id="0")
    assert f"/tasks/{task.pk}/review/" in page
    assert "Look at an item" in client.get(f"/tasks/{task.pk}/review/").content.decode()
    assert client.post(f"/tasks/{task.pk}/decide/", {"decision": "accept"}).status_code == 302
    assert task.adjudications.get().decision == "accept"


def test_an_id_leads_to_its_item_judged_or_not(client: Client, project: Project) -> None:
    fresh = factories.task(project, id="never judged")
    found = client.get(f"/projects/{project.slug}/judgments/", {"id": "never judged"}, follow=True)
    assert found.redirect_chain == [(f"/tasks/{fresh.pk}/review/", 302)] and found.status_code == 200
    missing = client.get(f"/projects/{project.slug}/judgments/", {"id": "nowhere"})
    assert b"data-search" in missing.content
    assert missing.status_code == 422 and b"No item here has this id." in missing.content


def test_flags_and_versions_are_looked_for_among_the_latest(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest, _, latest = Annotation.objects.order_by("pk")
    version = project.write_guidelines("Be fair.")
    for one in (oldest, latest):
        body = one.body | {"flags": ["unsafe"]}
        Annotation.objects.filter(pk=one.pk).update(body=body, guideline=version)
    assert items(client, project, "?flag=unsafe") == items(client, project, "?flag=any") == ["2", "0"]
    assert items(client, project, "?flag=unclear") == []
    assert items(client, project, "?guideline=1&annotator=ann") == ["0"]
    monkeypatch.setattr(listing, "LOOKED_AT", 2)
    assert items(client, project, "?flag=any") == ["2"]
    assert b"among the latest 2<" in client.get(f"/projects/{project.slug}/judgments/?flag=any").content


def test_a_reviewer_goes_through_a_list_item_by_item(client: Client, project: Project) -> None:
    page = client.get(f"/projects/{project.slug}/judgments/?annotator=ann").content.decode()
    paths = [path.replace("&amp;", "&") for path in re.findall(r'href="(/tasks/\d+/review/\?list=[^"]+)"', page)]
    first, second = paths
    item = client.get(first).content.decode()
    assert f'href="/projects/{project.slug}/judgments/?annotator=ann"' in item and "Return to ann" in item
    assert "Accept: " in item and "Accept median" not in item  # one vote has no middle
    along = re.search(r'name="list" value="([^"]*)"', item)
    assert along and re.search(r'href="([^"]*/judgments/next/\?annotator=ann[^"]*)" data-key="s"', item)
    task = project.tasks.get(external_id="0")
    sent = {"decision": "accept", "list": along[1].replace("&amp;", "&")}
    settled = client.post(f"/tasks/{task.pk}/decide/", sent, follow=True)
    assert settled.redirect_chain[-1][0] == second
    sent = {"decision": "accept", "list": second.split("?list=")[1].replace("%3D", "=").replace("%26", "&")}
    last = client.post(second.replace("review", "decide").split("?")[0], sent, follow=True)
    assert last.redirect_chain[-1][0] == f"/projects/{project.slug}/judgments/?annotator=ann"
    assert b"That was the last one" in last.content


def test_gold_items_that_were_missed_are_found_with_what_was_expected(client: Client, project: Project) -> None:
    task = factories.task(project, gold={"choice": "b", "rationale": "A names no such drug."}, id="g", need=2)
    for name, choice in (("lou", "a"), ("kim", "b")):
        judge = factories.member(project, username=name)
        held = queue.lease_next(project, judge)
        assert held is not None and held.task_id == task.pk
        wanted = task.responses.order_by("position")["ab".index(choice)].pk
        judging.submit(held.task, judge, {"choice": "ab"[held.shown.index(wanted)], "strength": 3})
    assert items(client, project, "?gold=missed") == items(client, project, "?annotator=lou") == ["g"]
    page = client.get(f"/projects/{project.slug}/judgments/?gold=right").content.decode()
    assert "kim" in page and "Gold, as expected</span>" in page and "Gold, not as expected</span>" not in page
    item = client.get(f"/tasks/{task.pk}/review/").content.decode()
    assert re.search("Known answer</dt><dd[^>]*>[AB] better<", item) and "A names no such drug." in item


@pytest.mark.parametrize("query", ["", "annotator=ann"])
def test_the_next_page_goes_on_where_one_ended(
    client: Client, project: Project, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    Annotation.objects.update(created_at=timezone.now())  # as an import's without times
    Annotation.objects.filter(annotator__username="ben").update(annotator=User.objects.get(username="ann"))
    monkeypatch.setattr("annotation.views.judgments.PER_PAGE", 1)
    seen, following = [], f"?{query}"
    while following:
        page = client.get(f"/projects/{project.slug}/judgments/{following}").content.decode()
        seen += re.findall(r'</a><small class="muted">([^<]*)</small></th>', page)
        more = re.search(r'href="(\?[^"]*after=\d+)"', page)
        following = more[1].replace("&amp;", "&") if more else ""
    assert seen == ["2", "1", "0"]


def test_a_page_is_read_along_an_index_and_costs_the_same_however_many_there_are(
    client: Client, project: Project, django_assert_max_num_queries: Any
) -> None:
    for filters in ({}, {"annotator": User.objects.get(username="ann")}, {"since": timezone.now()}):
        rows, _ = listing.found(project, filters)
        if connection.vendor == "sqlite":  # the other one reads a table of three rows as a whole
            assert "USING" in (plan := rows[:50].explain()) and "TEMP B-TREE" not in plan, (filters, plan)
    with django_assert_max_num_queries(22):
        client.get(f"/projects/{project.slug}/judgments/?flag=any&annotator=ann")


def test_only_those_who_see_names_read_them_and_names_lead_there(client: Client, project: Project) -> None:
    path = f"/projects/{project.slug}/judgments/"
    assert f"{path}?annotator=ann" in client.get(f"/projects/{project.slug}/").content.decode()
    assert path in client.get(f"/projects/{project.slug}/review/").content.decode()
    Membership.objects.filter(user__username="ann").delete()  # who left is asked for by name all the same
    assert items(client, project, "?annotator=ann") == ["0", "1"]
    for role in (Role.ANNOTATOR, Role.TRAINER, Role.READER):
        other = Client()
        other.force_login(factories.member(project, role))
        assert other.get(path).status_code == 403
        if role != Role.ANNOTATOR:
            assert f"{path}?" not in other.get(f"/projects/{project.slug}/").content.decode()
    stranger = Client()
    stranger.force_login(factories.user())
    assert stranger.get(path).status_code == 404


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("## Sum\n\nadd `x` to **all** of\n> these", "Sum add x to all of these"),
        (
            "```python\nclass A:\n    def __init__(self): return 2**3**4\n```",
            "class A: def __init__(self): return 2**3**4",
        ),
        ("a ** b ** c and ~~not~~ this", "a ** b ** c and not this"),
    ],
)
def test_a_list_calls_an_item_by_its_words_without_the_marks(prompt: str, title: str) -> None:
    assert Task(prompt=[{"role": "user", "content": prompt}]).title == title
