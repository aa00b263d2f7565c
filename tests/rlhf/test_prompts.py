import pytest

from rlhf import prompts
from tests import factories


def asked(text):
    return {"id": text, "prompt": [{"role": "user", "content": text}]}


def test_a_file_may_hold_texts_messages_and_ids(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"id": "a", "prompt": "Hi"}\n\n"Hello"\n{"prompt": [{"role": "user", "content": "Hey"}]}\n"Hi"\n')
    found = prompts.from_file(path)
    assert [row["id"] for row in found] == ["a", "3", "4"]  # the second "Hi" is the same prompt
    assert found[1]["prompt"] == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"prompt": ""} x', '{"prompt": [{"role": "robot", "content": ""}]}', "{}"]
)
def test_a_bad_line_is_named(tmp_path, line):
    (tmp_path / "prompts.jsonl").write_text(f'"good"\n{line}\n')
    with pytest.raises(prompts.PromptError, match="Line 2"):
        prompts.from_file(tmp_path / "prompts.jsonl")


def test_equal_ids_of_different_prompts_are_made_different():
    first, second = asked("one"), asked("two") | {"id": "one"}
    kept = prompts.distinct([first, second, first])
    assert len({row["id"] for row in kept}) == len(kept) == 2


def test_what_is_held_out_does_not_depend_on_the_order():
    everything = [asked(str(number)) for number in range(50)]
    rest, apart = prompts.hold_out(everything, 10, seed=1)
    _, again = prompts.hold_out(reversed(everything), 10, seed=1)
    assert apart == again and len(apart) == 10 and len(rest) == 40
    assert not {row["id"] for row in rest} & {row["id"] for row in apart}
    assert prompts.hold_out(everything, 10, seed=2)[1] != apart


@pytest.mark.django_db
def test_a_projects_own_prompts_leave_out_those_of_evaluations():
    project = factories.project()
    factories.task(project, prompt=asked("label")["prompt"])
    from annotation import tasks

    tasks.add_tasks(project, [asked("secret") | {"id": "e"}], purpose="evaluation")
    assert [row["prompt"][0]["content"] for row in prompts.from_project(project)] == ["label"]
