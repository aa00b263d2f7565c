"""Reports of quality: kept, worked out by the worker where they are large, and shown by page and API."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotation import sizes, statistics, tasks
from annotation.importing import import_records
from annotation.models import Annotation, QualityReport, Role
from annotation.quality import report, reports, votes
from tests import factories
from tests.annotation.casts import judged, noisy, record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fewer_replicates")]


def test_a_report_is_kept_until_somebody_judges_or_takes_back() -> None:
    project = noisy(6)
    first = reports.of(project)
    assert reports.of(project).computed_at == first.computed_at
    Annotation.objects.filter(pk=Annotation.objects.latest("pk").pk).update(status="undone")
    second = reports.of(project)
    assert second.computed_at != first.computed_at
    assert second.data["judgements"] == first.data["judgements"] - 1
    assert QualityReport.objects.count() == 1
    assert reports.refresh(project).computed_at != second.computed_at
    tasks.mark_gold(project.tasks.first(), {"choice": "a"})  # its answer is known, so it is compared no longer
    assert reports.of(project).data["tasks"] == second.data["tasks"] - 1


def test_a_large_project_s_report_is_the_worker_s(monkeypatch: pytest.MonkeyPatch) -> None:
    project = noisy(6)
    monkeypatch.setattr(reports, "TINY", 3)
    waiting = reports.of(project)
    assert (waiting.data, waiting.computed_at) == ({}, None)
    assert waiting.queued_at is not None
    assert not reports.enqueue(waiting)  # one at a time
    reports.run.call(waiting.pk)
    ready = reports.of(project)
    assert (ready.data["judgements"], ready.queued_at) == (19, None)
    import_records(project, [record(99, {"ann": "a"})])
    assert reports.of(project).data["judgements"] == 19  # the last one, until the worker has a new one
    assert reports.sweep() == 0  # not so soon
    QualityReport.objects.update(computed_at="2026-01-01T00:00Z")
    assert reports.sweep() == 1
    assert reports.sweep() == 0
    now = reports.make_ready(project)  # a command may wait for it
    assert (now.data["judgements"], now.queued_at) == (20, None)
    assert reports.make_ready(project).computed_at == now.computed_at


def test_a_refresh_that_fails_says_so_and_can_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    project = noisy(6)
    monkeypatch.setattr(reports, "TINY", 3)
    waiting = reports.of(project)
    monkeypatch.setattr(report, "build", lambda project: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reports.run.call(waiting.pk)
    waiting.refresh_from_db()
    assert "ZeroDivisionError" in waiting.problem
    assert reports.enqueue(waiting)


def test_a_page_of_a_large_project_computes_nothing(
    monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    project = noisy(6)
    client = Client()
    client.force_login(factories.member(project, Role.MANAGER))
    base = f"/projects/{project.slug}/"
    for name in ("TINY", "SMALL"):
        monkeypatch.setattr(reports, name, 3)
    assert "The figures are being worked out" in client.get(base).content.decode()
    for part in ("stats", "agreement", "quality"):
        assert client.get(f"/api/v1{base}{part}/").status_code == 202
    for waiting in QualityReport.objects.all():
        reports.run.call(waiting.pk)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a page request computed")

    for module, name in ((report, "build"), (reports, "agreement"), (statistics, "figures"), (votes, "read")):
        monkeypatch.setattr(module, name, never)
    import_records(project, [record(99, {"ann": "a"})])  # out of date, and still only read
    with django_assert_max_num_queries(31):
        page = client.get(base).content.decode()
    assert ", out of date" in page and "Agreement, Krippendorff α" in page
    stats = client.get(f"/api/v1{base}stats/").json()
    assert (stats["judgements"]["done"], stats["computed_at"] is not None, stats["forecast"]) == (19, True, None)
    found = client.get(f"/api/v1{base}agreement/").json()
    assert (found["tasks"], set(found["measures"]) >= {"percent", "ac2"}) == (6, True)
    answer = client.get(f"/api/v1{base}quality/").json()
    assert (answer["stale"], answer["report"]["judgements"]) == (True, 19)
    assert client.get(f"/api/v1{base}agreement/", {"a": "ann", "b": "ben"}).status_code == 202
    monkeypatch.setattr(sizes, "LARGE", 3)
    cache.clear()
    with CaptureQueriesContext(connection) as asked:
        paths = ("/", f"{base}people/", f"{base}settings/", base, f"{base}review/", f"{base}queue/", "/my-work/")
        pages = [client.get(path) for path in paths]
        costs = client.post(f"{base}settings/cost/", {"overlap": "3"})
    assert [page.status_code for page in pages] == [200] * 7 and pages[0].context["rows"][0]["tasks"] == 6
    assert (costs.context["cost"].items, pages[2].context["open"], pages[2].context["cost"].counted) == (0, 0, True)
    assert [one["sql"] for one in asked if counts_all(one["sql"])] == []
    QualityReport.objects.all().delete()
    cache.clear()
    with CaptureQueriesContext(connection) as asked:
        home, waiting = client.get("/"), client.get(f"{base}settings/")
    assert [one["sql"] for one in asked if counts_all(one["sql"])] == []
    assert b"Being counted" in home.content and b"Being counted; look again" in waiting.content


def counts_all(sql: str) -> bool:
    """Whether a statement adds up a whole project's rows: not one person's, nor up to a limit, nor by a small index."""
    adds_up = re.search(r"(COUNT|SUM)\(", sql) and re.search(r'FROM "annotation_(task|annotation|assignment)"', sql)
    bounded = re.search(r"annotator_id\" = \d|LIMIT \d|pool > 2|state\" = 'assigned'", sql)
    return bool(adds_up and not bounded)


def test_the_page_tells_each_question_by_people_sources_and_time() -> None:
    project = judged([{"ann": {"choice": "a", "strength": 1 + n % 3}, "ben": "ab"[n % 2]} for n in range(8)])
    client = Client()
    client.force_login(factories.member(project, Role.MANAGER))
    page = client.get(f"/projects/{project.slug}/", {"question": "strength"})
    shown = page.context["agreement"]
    assert [(part["name"], part["rows"][0]["label"]) for part in shown["parts"]][:2] == [
        ("people", "ann and ben"),
        ("sources", "m1 and m2"),
    ]
    assert (shown["chosen"], "α interval" in shown["asked"], "AC2" in shown["asked"]) == (
        "Verdict with its strength",
        False,
        True,
    )
    assert 'href="?question=verdict#agreement"' in page.content.decode()
    assert client.get(f"/projects/{project.slug}/", {"question": "x"}).context["agreement"]["chosen"] == "Verdict"


def test_names_are_for_those_who_may_see_them_and_strangers_see_nothing() -> None:
    project = noisy(8)
    for role, sees in ((Role.MANAGER, True), (Role.TRAINER, False)):
        client = Client()
        client.force_login(factories.member(project, role))
        said = client.get(f"/api/v1/projects/{project.slug}/quality/").content.decode()
        page = client.get(f"/projects/{project.slug}/").content.decode()
        assert ('"ann"' in said, "ann and ben" in page) == (sees, sees)
        assert client.post(f"/projects/{project.slug}/quality/refresh/").status_code == 302
    stranger = Client()
    stranger.force_login(factories.user())
    assert stranger.get(f"/api/v1/projects/{project.slug}/quality/").status_code == 404
    assert stranger.post(f"/projects/{project.slug}/quality/refresh/").status_code == 404
    annotator = Client()
    annotator.force_login(factories.member(project))
    assert annotator.get(f"/api/v1/projects/{project.slug}/quality/").status_code == 403


def test_agreement_by_api_has_every_measure_beside_the_old_figures() -> None:
    project = noisy(8)
    client = Client()
    client.force_login(factories.member(project, Role.MANAGER))
    found = client.get(f"/api/v1/projects/{project.slug}/agreement/").json()
    assert found["percent"]["value"] == pytest.approx(found["measures"]["percent"]["value"], abs=1e-4)
    assert found["alpha"] == pytest.approx(found["measures"]["alpha_nominal"]["value"], abs=1e-4)
    grouped = client.get(f"/api/v1/projects/{project.slug}/agreement/", {"a": "ann", "b": "ben", "ties": "0"}).json()
    assert (grouped["groups"], grouped["percent"]["n"]) == (["ann", "ben"], 8)
    measured = grouped["measures"]
    assert measured["percent"]["value"] == pytest.approx(grouped["percent"]["value"], abs=1e-4)
    assert measured["cohen"]["value"] == pytest.approx(grouped["kappa"], abs=1e-4)
    assert set(measured) >= {"fleiss", "alpha_ordinal", "ac2"} and measured["percent"]["low"] is not None
    within = client.get(f"/api/v1/projects/{project.slug}/agreement/", {"a": "*n"}).json()
    assert within["measures"]["alpha_nominal"]["value"] == pytest.approx(within["alpha"], abs=1e-4)
    nobody = client.get(f"/api/v1/projects/{project.slug}/agreement/", {"a": "x*", "b": "ann"}).json()
    assert nobody["measures"] is None
    assert client.post(f"/api/v1/projects/{project.slug}/quality/").status_code == 200
