import json

import pytest

from annotation.models import Purpose, Task
from rlhf import generation
from tests import factories
from tests.rlhf import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


def generated(project, *answers):
    """A generate run whose model gave each prompt these texts."""
    run = rows.run(project, "generate")
    lines = []
    for number, texts in enumerate(answers):
        prompt = [{"role": "user", "content": f"Question {number}?"}]
        responses = [{"text": text, "tokens": 3, "finish": "eos", "logprob": -1.5, "reward": 0.5} for text in texts]
        lines.append(json.dumps({"id": str(number), "prompt": prompt, "model": "policy", "responses": responses}))
    (run.folder / "generations.jsonl").write_text("\n".join(lines) + "\n")
    return run


def test_pairs_become_blind_tasks_and_nothing_is_made_twice():
    project = factories.project(overlap=2)
    run = generated(project, ["one", "two"], ["three", "four"])
    made = generation.make_tasks_from_generations(run)
    assert made.as_dict() == {"made": 2, "left_out": {}}
    assert generation.make_tasks_from_generations(run).tasks == Task.objects.count() == 2
    task = Task.objects.first()
    assert (task.need, task.purpose, task.metadata) == (2, Purpose.LABEL, {"run": run.name})
    response = task.responses.get(text="one")
    assert (response.source, response.score) == (run.start_model.name, 0.5)
    assert response.params == {"tokens": 3, "finish": "eos", "logprob": -1.5}


def test_identical_unreadable_and_single_answers_are_left_out_and_counted():
    project = factories.project()
    run = generated(project, ["same", "same "], ["fine", "nul \x00"], ["a", "b"], ["half \ud800", "\x00"])
    made = generation.make_tasks_from_generations(run)
    assert made.as_dict() == {"made": 1, "left_out": {"identical": 1, "unreadable": 3, "single": 2}}


def test_more_answers_make_more_pairs_one_ranking_or_single_ratings():
    texts = ["one", "two", "three", "two"]
    shapes = {}
    for kind in ("preference", "ranking", "rating", "demonstration"):
        project = factories.project(kind)
        generation.make_tasks_from_generations(generated(project, texts))
        shapes[kind] = [task.responses.count() for task in project.tasks.order_by("pk")]
    assert shapes == {"preference": [2, 2], "ranking": [3], "rating": [1, 1, 1], "demonstration": [0]}
