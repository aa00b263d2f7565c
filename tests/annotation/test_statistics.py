from typing import Any

import pytest
from django.utils import timezone

from annotation.day_chart import columns, round_up
from annotation.importing import import_records
from annotation.models import Annotation, Assignment, Project
from annotation.statistics import project_stats
from tests import factories

pytestmark = pytest.mark.django_db


def vote(name: str, choice: str, **fields: Any) -> dict[str, Any]:
    return {"annotator": name, "choice": choice, **fields}


def judged() -> Project:
    project = factories.project(overlap=2)
    records = [
        {"annotations": [vote("ann", "a", seconds=10, strength=2), vote("ben", "a", seconds=3, strength=1)]},
        {"annotations": [vote("ann", "b", seconds=20, strength=2), vote("ben", "tie")]},
        {"annotations": [vote("ann", "both_bad", seconds=90)]},
        {},
    ]
    given = [{"prompt": str(number), "responses": ["x", "y"], **record} for number, record in enumerate(records)]
    assert import_records(project, given).applied
    return project


def test_a_chart_of_days_has_a_scale_of_four_steps_for_every_number() -> None:
    for count, words in ((7, "0 2 4 6 8"), (12_832, "0 4k 8k 12k 16k"), (900_000, "0 0.25M 0.5M 0.75M 1M")):
        ticks = columns([{"day": "2026-01-01", "count": count}])["ticks"]
        assert " ".join(tick["label"] for tick in ticks) == words and max(len(tick["label"]) for tick in ticks) <= 5
    tops = {value: round_up(value) for value in (*range(1, 1100), 123_456, 9_999_999)}
    assert all(top >= value and top % 4 == 0 for value, top in tops.items())
    assert (tops[9], tops[10], tops[97]) == (12, 12, 100)


def test_progress_counts_tasks_and_judgements() -> None:
    project = judged()
    ann = Annotation.objects.filter(annotator__username="ann").order_by("pk")
    Annotation.objects.filter(pk=ann[0].pk).update(body=ann[0].body | {"flags": ["unsafe"]})
    Assignment.objects.filter(annotator__username="ben", task=ann[1].task_id).update(state="skipped")
    stats = project_stats(project)
    assert stats["tasks"] == {"total": 4, "finished": 2, "open": 2}
    assert stats["judgements"] == {"done": 5, "wanted": 8, "share": 5 / 8}
    assert stats["per_day"][-1] == {"day": timezone.now().date().isoformat(), "count": 5, "flagged": 1, "skipped": 1}
    chart = columns(stats["per_day"])
    assert (chart["odd"], chart["bars"][-1]["height"], chart["bars"][-1]["odd_y"]) == (2, "50.00%", "25.00%")
    assert len(stats["per_day"]) == 30
    assert sum(day["count"] for day in stats["per_day"]) == 5


def test_answers_are_counted() -> None:
    labels = project_stats(judged())["labels"]
    assert labels == {"preferred": 3, "tie": 1, "both_bad": 1, "strengths": {"1": 1, "2": 2}}


def test_each_annotator_is_compared_with_the_others() -> None:
    project = judged()
    ann, ben = project_stats(project)["annotators"]
    assert (ann["annotator"], ann["count"], ann["median_seconds"], ann["simulated"]) == ("ann", 3, 20, False)
    assert (ann["agreement"]["value"], ann["agreement"]["n"]) == (0.5, 2)
    assert (ben["agreement"]["value"], ben["median_seconds"], ben["first_side"]) == (0.5, 3, None)
    hidden = project_stats(project, names=False)["annotators"]
    assert all(row["annotator"].startswith("annotator-") for row in hidden)


def test_a_bias_to_the_first_side_shows() -> None:
    project = judged()
    for row in Annotation.objects.filter(annotator__username="ann"):
        ids = list(row.task.responses.order_by("position").values_list("pk", flat=True))
        Annotation.objects.filter(pk=row.pk).update(shown=ids)
    ann = project_stats(project)["annotators"][0]
    assert (ann["first_side"]["value"], ann["first_side"]["n"]) == (0.5, 2)


def test_ratings_are_counted_by_aspect_and_an_empty_project_has_zeros() -> None:
    project = factories.project("rating")
    assert project_stats(project)["judgements"] == {"done": 0, "wanted": 0, "share": 0.0}
    ratings = [{"annotator": name, "ratings": {"helpful": points}} for name, points in (("ann", 5), ("ben", 4))]
    assert import_records(project, [{"prompt": "?", "completion": "x", "annotations": ratings}]).applied
    assert project_stats(project)["labels"]["helpful"] == {"4": 1, "5": 1}
    assert project_stats(project)["annotators"][0]["agreement"] is None


def test_the_number_of_queries_does_not_grow(django_assert_max_num_queries: Any) -> None:
    project = judged()
    with django_assert_max_num_queries(13):
        project_stats(project)
