import random
import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from annotation import dashboard, intervals
from annotation.agreement import agreement
from annotation.importing import import_records
from annotation.models import Annotation, GoldResult, Project, QualityReport, RepeatCheck, Response, Role
from annotation.quality import bootstrap, breakdown, measures, report, reports, votes
from tests import factories
from tests.annotation.casts import judged, noisy, record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fewer_replicates")]


def question(project: Project, name: str) -> dict[str, Any]:
    return next(one for one in report.build(project)["questions"] if one["name"] == name)


def test_each_question_has_its_measures_and_each_pair_of_people_its_own() -> None:
    found = question(noisy(), "verdict")
    overall = found["overall"]
    assert (overall["tasks"], overall["votes"]) == (40, 121)
    assert list(overall["measures"]) == [name for name in measures.NAMES if name != "alpha_interval"]
    for estimate in overall["measures"].values():
        assert estimate["low"] < estimate["value"] < estimate["high"]
    assert len(found["people"]) == 3  # dan shares one task, too few to say anything
    kappas = {frozenset((pair["a"], pair["b"])): pair["measures"]["cohen"]["value"] for pair in found["people"]}
    names = dict(Annotation.objects.values_list("annotator__username", "annotator"))
    assert kappas[frozenset((names["ann"], names["ben"]))] > kappas[frozenset((names["ann"], names["cat"]))] + 0.2


def test_missing_cells_ties_and_both_bad_are_counted_as_the_literature_does() -> None:
    project = judged(
        [
            {"ann": "a", "ben": "a", "cat": "b"},
            {"ann": "tie", "ben": "both_bad"},
            {"ann": "tie", "ben": "a"},
            {"ann": "a"},
        ]
    )
    overall = question(project, "verdict")["overall"]
    assert (overall["tasks"], overall["votes"]) == (3, 7)  # one vote alone pairs with nothing
    assert overall["measures"]["percent"]["value"] == 0.4
    counts = votes.read(project).ballots[0].counts()
    assert counts.tolist() == [[2, 0, 1], [0, 2, 0], [1, 1, 0], [1, 0, 0]]


def test_strength_is_an_ordinal_question_of_its_own() -> None:
    near = {"ann": {"choice": "a", "strength": 2}, "ben": {"choice": "a", "strength": 3}}
    far = {"ann": {"choice": "b", "strength": 3}, "ben": {"choice": "b", "strength": 2}}
    found = question(judged([near, far, near, far]), "strength")["overall"]["measures"]
    assert found["percent"]["value"] == 0
    assert found["alpha_ordinal"]["value"] > 0.6 > found["alpha_nominal"]["value"]


def test_cohen_of_two_people_is_cohen_s_whichever_way_it_is_worked_out() -> None:
    chance = random.Random(5)
    casts = [{"ann": chance.choice(["a", "a", "tie", "b"]), "ben": chance.choice(["a", "tie", "b"])} for _ in range(40)]
    found = question(judged(casts), "verdict")
    assert found["overall"]["measures"]["cohen"]["value"] == found["people"][0]["measures"]["cohen"]["value"]


def test_a_ranking_agrees_by_pairs_of_responses_and_resamples_tasks() -> None:
    project = factories.project("ranking")
    orders = [
        {"annotator": name, "ranking": order}
        for name, order in {"ann": ["a", "b", "c"], "ben": ["b", "a", "c"]}.items()
    ]
    records = [{"id": str(i), "prompt": "?", "responses": [f"x{i}", "y", "z"], "annotations": orders} for i in range(3)]
    assert import_records(project, records).applied
    overall = question(project, "order")["overall"]
    assert (overall["tasks"], overall["things"], overall["votes"]) == (3, 9, 18)
    assert overall["measures"]["percent"] == {"value": 0.6667, "low": None, "high": None}  # all tasks are alike


def test_ratings_have_interval_measures_and_show_who_is_lenient() -> None:
    project = factories.project("rating")
    records = [
        {
            "id": str(number),
            "prompt": "?",
            "responses": [{"text": f"x{number}", "source": f"m{number % 2}"}],
            "annotations": [
                {"annotator": name, "ratings": {"helpful": min(5, number % 4 + 1 + extra)}}
                for name, extra in (("ann", 0), ("ben", 0), ("eve", 1))
            ],
        }
        for number in range(12)
    ]
    assert import_records(project, records).applied
    built = report.build(project)
    overall = built["questions"][0]["overall"]["measures"]
    assert set(overall) == set(measures.NAMES)
    sources = built["questions"][0]["sources"]
    assert [(part["a"], part["b"], part["tasks"]) for part in sources] == [("m0", "m0", 6), ("m1", "m1", 6)]
    assert [part["measures"]["percent"]["value"] for part in sources] == [0.3333, 0.3333]
    offsets = {row["annotator"]: row["offset"] for row in built["annotators"]}
    eve = Annotation.objects.filter(annotator__username="eve").values_list("annotator", flat=True)[0]
    assert offsets[eve] == 1.0
    assert all(offset == -0.5 for who, offset in offsets.items() if who != eve)


def test_turns_that_are_rated_are_things_of_their_own() -> None:
    asked = {"level": "turn", "aspects": [{"name": "clear", "label": "Clear", "points": 5}]}
    project = factories.project("rating", questions=asked)
    prompt = [{"role": role, "content": "?"} for role in ("user", "assistant", "user", "assistant", "user")]
    given = {"ann": (1, 2, 3), "ben": (1, 2, 5), "cat": (1, 4, 3)}
    said = [
        {"annotator": who, "ratings": {"clear": last}, "turns": {"1": {"clear": one}, "3": {"clear": two}}}
        for who, (one, two, last) in given.items()
    ]
    records = [{"id": str(n), "prompt": prompt, "completion": f"x{n}", "annotations": said} for n in range(2)]
    assert import_records(project, records).applied
    overall = question(project, "aspect:clear")["overall"]
    assert (overall["tasks"], overall["things"], overall["votes"]) == (2, 6, 18)
    assert overall["measures"]["percent"]["value"] == round((3 + 1 + 1) / 9, 4)
    assert votes.read(project).ballots[0].counts().tolist()[:3] == [[0, 0, 2, 0, 1], [3, 0, 0, 0, 0], [0, 2, 0, 1, 0]]
    assert agreement(project, aspect="clear")["percent"]["agree"] == 10


def test_sources_and_weeks_have_agreement_of_their_own() -> None:
    project = noisy()
    rows = Annotation.objects.filter(project=project).order_by("task")
    first = rows.first()
    assert first is not None
    for row in rows:
        Annotation.objects.filter(pk=row.pk).update(created_at=f"2026-0{1 + row.task_id % 2}-05T12:00Z")
    found = question(project, "verdict")
    assert [(part["a"], part["b"], part["tasks"]) for part in found["sources"]] == [("m1", "m2", 40)]
    assert found["sources"][0]["measures"]["percent"]["value"] == found["overall"]["measures"]["percent"]["value"]
    assert [(week["from"], week["days"], week["tasks"]) for week in found["time"]] == [
        ("2026-01-05", 7, 20),
        ("2026-02-02", 7, 20),
    ]


def test_the_page_says_how_agreement_moved_with_the_guidelines() -> None:
    project = judged([{"ann": "a", "ben": "ab"[n // 6]} if n % 2 else {"ann": "b", "ben": "b"} for n in range(12)])
    for row in Annotation.objects.filter(project=project):
        late = int(row.task.external_id or 0) < 6
        Annotation.objects.filter(pk=row.pk).update(created_at=f"2026-0{5 if late else 1}-05T12:00Z")
    project.write_guidelines("one")
    version = project.write_guidelines("two")
    type(version).objects.filter(pk=version.pk).update(created_at="2026-03-01T00:00Z")
    client = Client()
    client.force_login(factories.member(project, Role.MANAGER))
    Project.objects.filter(pk=project.pk).update(agreement_bar=0.9)
    page = client.get(f"/projects/{project.slug}/").content.decode()
    assert all(words in page for words in ("since guidelines v2", "act below 0.9", "below 0.9</span>", "?period=7"))
    quiet = client.get(f"/projects/{project.slug}/?period=7").content.decode()
    assert "Nobody has judged in these days" in quiet and 'hx-get="/projects/' in quiet and '?period=7" hx-t' in quiet
    since = QualityReport.objects.get().data["since"]
    assert (since["version"], since["since"]["percent"]["value"], since["before"]["percent"]["value"]) == (2, 1.0, 0.5)


def test_people_are_told_by_consensus_reliability_and_habits() -> None:
    project = noisy()
    for row in Annotation.objects.filter(project=project):
        ids = list(row.task.responses.order_by("position").values_list("pk", flat=True))
        shown = [row.body["choice"], *(pk for pk in ids if pk != row.body["choice"])]
        if row.body["choice"] in ids:
            Annotation.objects.filter(pk=row.pk).update(shown=shown, seconds=10)
    built = reports.named(report.build(project), project, names=True)
    rows = {row["annotator"]: row for row in built["annotators"]}
    assert rows["ann"]["consensus"]["value"] > rows["cat"]["consensus"]["value"] + 0.2
    assert rows["ann"]["alpha"]["value"] > rows["cat"]["alpha"]["value"]
    for model in ("dawid_skene", "mace"):
        careful, careless = rows["ann"][model], rows["cat"][model]
        assert careful["low"] > careless["value"] + 0.05
        assert careless["low"] < careless["value"] < careless["high"]
        assert (rows["dan"][model]["value"] is not None, rows["dan"][model]["low"]) == (True, None)  # one vote
    assert rows["cat"]["first_side"]["value"] == built["habits"]["first_side"]["value"] == 1.0
    assert rows["cat"]["median_seconds"] == 10
    assert built["speed"] == {"low": 10, "median": 10, "high": 10}
    assert 0.3 < built["habits"]["longer"]["value"] < 0.7
    shares = [row["alpha"]["value"] * row["alpha"]["n"] for row in rows.values()]
    overall = built["questions"][0]["overall"]["measures"]["alpha_nominal"]["value"]
    assert sum(shares) / 121 == pytest.approx(overall, abs=0.01)


def test_a_mark_takes_more_than_chance_among_many_people() -> None:
    assert [round(intervals.wider(number), 3) for number in (1, 5, 20)] == [1.0, 1.314, 1.543]
    by_chance = {"value": 0.52, "low": 0.5004, "high": 0.5396, "n": 2500}
    row = {"count": 2500, "first_side": by_chance, "alpha": {"value": 0.5, "low": 0.46, "high": 0.54}}
    data, overall = {"speed": None}, {"value": 0.545}

    def marks(people: int) -> list[str]:
        return [words for words, _ in dashboard._marks(row, data, overall, 0.0, intervals.wider(people))]

    assert marks(1) == ["Differs", "Prefers the first"] and marks(5) == []
    row["first_side"] = {"value": 0.55, "low": 0.53, "high": 0.57, "n": 2500}
    assert marks(20) == ["Prefers the first"]


def test_every_share_of_a_person_has_its_interval_beside_it() -> None:
    project = noisy()
    client = Client()
    client.force_login(factories.member(project, Role.MANAGER))
    page = client.get(f"/projects/{project.slug}/").content.decode()
    row = next(row for row in re.findall(r"<tr>.*?</tr>", page, re.S) if ">ann</a>" in row)
    shares = re.findall(r'<td class="num">(\d+)%<small class="muted">(\d+) to (\d+)%</small>', row)
    assert len(shares) == 3 and row.count("%</small>") == 3  # as most, reliability, longer wins
    assert all(int(low) < int(value) < int(high) for value, low, high in shares)
    dan = next(row for row in re.findall(r"<tr>.*?</tr>", page, re.S) if ">dan</a>" in row)
    assert '<small class="muted"></small>' in dan  # one vote has a reliability and no interval


@pytest.mark.parametrize(
    ("pairs", "first", "told"),
    [(26, 16, "too few to tell a position bias"), (600, 300, "no position bias"), (100, 75, ": a position bias")],
)
def test_the_page_calls_wins_even_only_where_they_are_known_to_be(pairs: int, first: int, told: str) -> None:
    project = judged([{"ann": "a"} for _ in range(pairs)])
    for place, one in enumerate(Annotation.objects.filter(project=project).order_by("pk")):
        one.shown = sorted(Response.objects.filter(task=one.task_id).values_list("pk", flat=True))
        one.body["choice"] = one.shown[0 if place < first else 1]
        one.save(update_fields=["shown", "body"])
    client = Client()
    client.force_login(factories.member(project, Role.MANAGER))
    assert told in client.get(f"/projects/{project.slug}/").content.decode()


def test_the_stronger_source_comes_first_and_the_doubtful_labels_are_the_split_ones() -> None:
    built = report.build(judged([{"ann": "a", "ben": "a"}] * 6 + [{"ann": "b", "ben": "a"}] * 2 + [{"ann": "tie"}]))
    assert [row["source"] for row in built["strengths"]] == ["m1", "m2"]
    assert built["strengths"][0]["low"] > 0
    assert built["labels"]["things"] == 9
    assert built["labels"]["doubtful"][0]["votes"] == dict(zip(votes.SIDES, [1, 0, 1], strict=True))


def test_checks_of_people_show_where_there_are_any() -> None:
    project = judged([{"ann": "a", "ben": "b"}] * 4)
    assert (report.build(project)["gold"], report.build(project)["repeats"]) == (None, None)
    ann = Annotation.objects.filter(annotator__username="ann").order_by("pk")
    for number, row in enumerate(ann):
        GoldResult.objects.create(project=project, annotator=row.annotator, task=row.task, correct=number > 0)
        body = row.body if number > 1 else row.body | {"choice": "tie"}
        given = {"project": project, "annotator": row.annotator, "task": row.task, "original": row, "body": body}
        RepeatCheck.objects.create(**given, state=RepeatCheck.State.ANSWERED, answered_at=timezone.now())
    Annotation.objects.filter(annotator__username="ben").update(created_at=timezone.now() - timedelta(days=8))
    built = reports.named(report.build(project), project, names=True)
    assert (built["gold"]["value"], built["repeats"]["value"]) == (0.75, 0.5)
    lately, month = (built["periods"][days] for days in ("7", "30"))
    assert [(row["annotator"], row["count"], row["gold"]["n"]) for row in lately] == [("ann", 4, 4)]
    assert lately[0]["consensus"]["n"] == 4  # beside what ben said before
    assert {row["annotator"] for row in month} == {"ann", "ben"}
    rows = {row["annotator"]: row for row in built["annotators"]}
    assert (rows["ann"]["gold"]["n"], rows["ben"]["gold"], rows["ben"]["repeats"]) == (4, None, None)


def test_gold_tasks_stay_out_of_agreement_but_count_as_work() -> None:
    project = judged([{"ann": "a", "ben": "b"}] * 2)
    assert import_records(project, [record(9, {"ann": "a", "ben": "a", "eve": "b"}, gold={"choice": "a"})]).applied
    built = reports.named(report.build(project), project, names=True)
    assert built["questions"][0]["overall"]["measures"]["percent"]["value"] == 0
    assert {row["annotator"]: row["count"] for row in built["annotators"]} == {"ann": 3, "ben": 3, "eve": 1}


def test_written_answers_and_empty_projects_have_a_report_without_agreement() -> None:
    for kind in ("demonstration", "preference", "rating", "ranking"):
        built = report.build(factories.project(kind))
        assert all(one["overall"] is None for one in built["questions"])
        assert (built["annotators"], built["labels"]) == ([], None)


def test_reading_goes_page_by_page_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    project = noisy(9)
    whole = votes.read(project)
    for size in (1, 3, 4, 7):
        monkeypatch.setattr(votes, "PAGE", size)
        paged = votes.read(project)
        assert np.array_equal(paged.ballots[0].counts(), whole.ballots[0].counts())
        assert paged.people == whole.people


def test_an_interval_from_patterns_is_that_of_drawing_tasks_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "REPLICATES", 1000)
    ballots = votes.read(noisy(80)).ballots[0]
    counts = ballots.counts()
    random_ = np.random.default_rng(0)
    drawn = [
        measures.all_of(measures.of_counts(counts[random_.integers(80, size=80)]), ballots.question.values)[
            "alpha_nominal"
        ]
        for _ in range(1000)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    found = breakdown.overall(ballots)
    assert found is not None
    assert (found["measures"]["alpha_nominal"]["low"], found["measures"]["alpha_nominal"]["high"]) == pytest.approx(
        (low, high), abs=0.03
    )
