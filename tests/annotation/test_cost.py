"""What a project's rules cost, on the settings page and while its form is changed."""

import pytest
from django.core.cache import cache
from django.test import Client

from annotation import cost, judging, queue
from annotation.models import Role
from tests import factories

pytestmark = pytest.mark.django_db


def test_the_cost_counts_what_is_still_wanted_at_the_projects_own_pace(client: Client) -> None:
    cache.clear()
    project = factories.project(overlap=2)
    for _ in range(5):
        factories.task(project)
    assert cost.of(project) == cost.Cost(5, 10, 0, 45.0, True, 0.0)
    for seconds in (20, 40):  # in the given order both get the first task
        person = factories.member(project)
        held = queue.lease_next(project, person)
        assert held is not None
        judging.submit(held.task, person, {"choice": "a"}, seconds=seconds)
    cache.clear()
    found = cost.of(project)
    assert (found.items, found.judgements, found.checks, found.seconds, found.assumed) == (4, 8, 0, 30.0, False)
    assert (found.total_seconds, found.days, found.per_day) == (240, 56, pytest.approx(2 / 14))
    more = cost.of(project, overlap=3, gold_share=0.1, repeat_share=0.1)
    assert (more.judgements, more.checks, more.total_seconds) == (12, 3, 450)
    assert cost.of(project, agreement_share=1.0, agreement_overlap=5).judgements == 20
    client.force_login(factories.member(project, Role.MANAGER))
    page = client.get(f"/projects/{project.slug}/settings/").content.decode()
    assert "<b>4 min</b>" in page and ", was" not in page
    sent = {"overlap": "3", "gold_share": "10", "repeat_share": "10", "name": "", "agreement_share": "x"}
    shown = client.post(f"/projects/{project.slug}/settings/cost/", sent).content.decode()
    assert "<b>7 min 30 s</b>, was 4 min" in shown and "+ 3 to check people" in shown
    client.force_login(factories.user())
    assert client.post(f"/projects/{project.slug}/settings/cost/", sent).status_code == 404
