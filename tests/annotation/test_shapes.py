"""Records of other tools, in Hone's own fields."""

from typing import Any

import pytest

from annotation import mapping, shapes
from annotation.cleaning import CleaningError
from annotation.mapping import Mapping
from annotation.shapes import Target

PAIRS = Target("preference", {"helpful": 0}, ("unsafe",))
RATING = Target("rating", {"helpful": 5, "correct": 5})
RANKING = Target("ranking", {})
DEMOS = Target("demonstration", {})
ASKED = [{"role": "user", "content": "Why?"}]
HH = {"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hi\n\nAssistant: Bye"}

ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"},
    ]
}
MESSAGES = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
ULTRAFEEDBACK = {
    "source": "evol",
    "instruction": "Why?",
    "models": ["m1", "m2", "m3"],
    "completions": [
        {
            "model": "m1",
            "response": "Because.",
            "annotations": {"helpful": {"Rating": "5"}, "honesty": {"Rating": "2"}},
        },
        {"model": "m2", "response": "No.", "annotations": {"helpful": {"Rating": "1"}}, "overall_score": 1.5},
        {"model": "m3", "response": "Hm.", "annotations": {"helpful": {"Rating": "N/A"}}, "overall_score": 1.5},
    ],
}
STUDIO = {
    "id": 7,
    "data": {"prompt": "Why?", "answer1": "Because.", "answer2": "No.", "topic": "life"},
    "annotations": [
        {
            "id": 1,
            "completed_by": {"id": 3, "email": "ann@example.org"},
            "created_at": "2026-01-02T03:04:05.678Z",
            "lead_time": 9.5,
            "was_cancelled": False,
            "result": [
                {
                    "from_name": "comparison",
                    "to_name": "answer1,answer2",
                    "type": "pairwise",
                    "value": {"selected": "right"},
                },
                {"from_name": "helpful", "type": "choices", "value": {"choices": ["answer1"]}},
                {"from_name": "comment", "type": "textarea", "value": {"text": ["Shorter."]}},
                {"from_name": "mood", "type": "choices", "value": {"choices": ["good"]}},
            ],
        },
        {"id": 2, "completed_by": 4, "was_cancelled": True, "result": []},
    ],
    "predictions": [],
}
ARGILLA = {
    "id": "r1",
    "fields": {"prompt": "Why?", "response_1": "Because.", "response_2": "No."},
    "metadata": {"topic": "life"},
    "suggestions": {},
    "responses": {
        "preference": [{"value": "response_2", "user_id": "u1"}, {"value": "tie", "user_id": "u2"}],
        "comment": [{"value": "Shorter.", "user_id": "u1"}],
    },
    "vectors": {},
    "_server_id": "x",
}


def told(row: dict[str, Any], target: Target, name: str | None = None) -> list[Any]:
    """What one row becomes under the shape that it is recognised as."""
    shape = shapes.SHAPES[name] if name else shapes.detect([row])
    return [record for _, record in shapes.records(iter([(3, row)]), shape, target)]


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (ALPACA, "alpaca"),
        (SHAREGPT, "sharegpt"),
        (MESSAGES, "messages"),
        (ULTRAFEEDBACK, "ultrafeedback"),
        (STUDIO, "label-studio"),
        (ARGILLA, "argilla"),
        (HH, "hh"),
        ({"prompt": "x", "completion": "y", "label": True}, "trl-binary"),
        ({"prompt": "x", "completions": ["y", "z"], "labels": [True, False]}, "trl-steps"),
        ({"prompt": "x", "chosen": [*ASKED, *ASKED], "rejected": [*ASKED, *ASKED]}, "trl-pairs"),
        ({"prompt": "x", "chosen": "y", "rejected": "z"}, "hone"),
        ({"prompt": "x", "response_a": "y", "response_b": "z"}, "hone"),
        ({"id": "1", "prompt": "x", "responses": ["y"]}, "hone"),
        (
            {"question_id": 1, "model_a": "m", "model_b": "n", "winner": "tie", "judge": "j", "turn": 1},
            "mt-bench",
        ),
    ],
)
def test_a_file_is_recognised_by_its_rows(row: dict[str, Any], name: str) -> None:
    assert shapes.detect([row, row]).name == name
    assert shapes.detect([row, {"prompt": "other"}]).name == "hone"


def test_an_instruction_and_its_input_are_one_prompt() -> None:
    assert told(ALPACA | {"lang": "en", "history": [["Hi", "Ho"]]}, DEMOS) == [
        {
            "prompt": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Ho"},
                {"role": "user", "content": "Add.\n\n1 and 2"},
            ],
            "completion": "3",
            "lang": "en",
        }
    ]


@pytest.mark.parametrize("row", [SHAREGPT, MESSAGES])
def test_the_last_answer_of_a_conversation_is_the_completion(row: dict[str, Any]) -> None:
    (record,) = told(row, DEMOS)
    assert (record["prompt"][-1], record["completion"]) == ({"role": "user", "content": "Hi"}, "Hello")


def test_a_conversation_without_an_answer_is_a_prompt() -> None:
    assert told({"messages": ASKED}, DEMOS) == [{"prompt": ASKED}]


def test_rated_completions_become_what_the_project_judges() -> None:
    first, second, third = told(ULTRAFEEDBACK, RATING)
    assert first["responses"] == [{"text": "Because.", "source": "m1", "score": 3.5}]
    assert first["annotations"][0]["body"] == {"ratings": {"helpful": 5}}
    assert first["ratings"] == {"honesty": 2.0}
    assert second["annotations"][0]["body"] == {"ratings": {"helpful": 1}}
    assert "annotations" not in third and third["source"] == "evol"
    assert [one["id"] for one in told(ULTRAFEEDBACK | {"id": 7}, RATING)] == ["7#1", "7#2", "7#3"]
    (ranked,) = told(ULTRAFEEDBACK, RANKING)
    assert ranked["annotations"][0]["body"] == {"ranking": [[0], [1, 2]]}
    (pair,) = told(ULTRAFEEDBACK, PAIRS)
    assert [one["source"] for one in pair["responses"]] == ["m1", "m3"]
    assert pair["annotations"][0]["body"] == {"choice": "a"}
    assert told(ULTRAFEEDBACK, DEMOS)[0]["completion"] == "Because."


def test_a_pair_in_label_studio_keeps_who_judged_it_when_and_how_long() -> None:
    (record,) = told(STUDIO, PAIRS)
    assert (record["id"], record["prompt"], record["responses"]) == (7, "Why?", ["Because.", "No."])
    assert record["topic"] == "life"
    assert record["annotations"] == [
        {
            "annotator": "ann@example.org",
            "created_at": "2026-01-02T03:04:05.678Z",
            "seconds": 9.5,
            "body": {"choice": "b", "aspects": {"helpful": "a"}, "rationale": "Shorter."},
        }
    ]
    assert record["other_answers"] == {"ann@example.org": {"mood": "good"}}


def studio(data: dict[str, Any], *results: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "data": data, "annotations": [{"completed_by": 2, "result": list(results)}]}


def test_ratings_rankings_and_texts_in_label_studio_are_judgements() -> None:
    rated = studio(
        {"prompt": "Why?", "response": "Because."},
        {"from_name": "helpful", "type": "rating", "value": {"rating": 4}},
        {"from_name": "ratings.correct", "type": "rating", "value": {"rating": 2}},
    )
    assert told(rated, RATING)[0]["annotations"] == [
        {"annotator": "label-studio-2", "body": {"ratings": {"helpful": 4, "correct": 2}}}
    ]
    items = [{"id": "x", "body": "One"}, {"id": "y", "body": "Two"}, {"id": "z", "body": "Three"}]
    for value in (["z", "x", "y"], {"best": ["z", "x", "y"], "_": []}):
        ranker = {"from_name": "rank", "type": "ranker", "value": {"ranker": value}}
        (ranked,) = told(studio({"prompt": "Order?", "items": items}, ranker), RANKING)
        assert ranked["annotations"][0]["body"] == {"ranking": [[2], [0], [1]]}
        assert ranked["responses"] == [{"text": "One"}, {"text": "Two"}, {"text": "Three"}]
    numbers = [
        {"from_name": f"ranking.{name}", "type": "number", "value": {"number": place}}
        for name, place in zip("abc", (2, 1, 2), strict=True)
    ]
    lettered = {"prompt": "Order?", "response_a": "One", "response_b": "Two", "response_c": "Three"}
    assert told(studio(lettered, *numbers), RANKING)[0]["annotations"][0]["body"] == {"ranking": [[1], [0, 2]]}
    written = studio({"prompt": "Why?"}, {"from_name": "text", "type": "textarea", "value": {"text": ["So."]}})
    assert told(written, DEMOS)[0]["annotations"][0]["body"] == {"text": "So."}


def test_argilla_s_answers_come_together_by_person() -> None:
    (record,) = told(ARGILLA, PAIRS)
    assert (record["id"], record["metadata"]) == ("r1", {"topic": "life"})
    assert record["annotations"] == [
        {"annotator": "u1", "body": {"choice": "b", "rationale": "Shorter."}},
        {"annotator": "u2", "body": {"choice": "tie"}},
    ]
    ranked = {
        **ARGILLA,
        "responses": {
            "order": [
                {"value": [{"value": "response_2", "rank": 1}, {"value": "response_1", "rank": 1}], "user_id": "u"}
            ]
        },
    }
    assert told(ranked, RANKING)[0]["annotations"][0]["body"] == {"ranking": [[1, 0]]}
    assert told(ranked, PAIRS)[0]["annotations"][0]["body"] == {"choice": "tie"}


def test_argilla_s_first_version_is_read_too() -> None:
    submitted = {"user_id": "u1", "status": "submitted", "values": {"helpful": {"value": 3}, "correct": {"value": 5}}}
    row = {
        "external_id": "e1",
        "fields": {"prompt": "Why?", "response": "Because."},
        "responses": [submitted, submitted | {"user_id": "u2", "status": "discarded"}],
    }
    (record,) = told(row, RATING)
    assert record["id"] == "e1"
    assert record["annotations"] == [{"annotator": "u1", "body": {"ratings": {"helpful": 3, "correct": 5}}}]


def test_pairs_that_repeat_their_prompt_lose_the_repetition() -> None:
    chosen, rejected = ([*ASKED, {"role": "assistant", "content": text}] for text in ("Because.", "No."))
    row = {"prompt": "Why?", "prompt_id": "p", "chosen": chosen, "rejected": rejected, "messages": chosen}
    assert told(row | {"score_chosen": 8.0, "score_rejected": 2.5}, PAIRS) == [
        {
            "prompt_id": "p",
            "chosen": chosen,
            "rejected": rejected,
            "metadata": {"score_chosen": 8.0, "score_rejected": 2.5},
        }
    ]
    (error,) = told(row | {"prompt": "What?"}, PAIRS)
    assert isinstance(error, CleaningError) and "another prompt" in error.message


def test_texts_that_repeat_their_prompt_are_split_where_it_ends() -> None:
    row = {"chosen": "The sky is blue.", "rejected": "The sky is black."}
    assert told(row, PAIRS)[0] == row  # not guessed at
    wanted = {"prompt": "The sky is", "chosen": " blue.", "rejected": " black."}
    assert told(row, PAIRS, "trl-texts")[0] == wanted
    assert "share no prompt" in str(told(row | {"rejected": "Them."}, PAIRS, "trl-texts")[0])


def test_means_that_nobody_could_have_given_stay_with_the_record() -> None:
    row = {"prompt": "x", "completion": "y", "helpful": 3.5, "correct": 2}
    assert told(row, RATING)[0] == row
    ranks = {"prompt": "x", "responses": ["y", "z"], "ranks": [1.0]}
    assert "each response needs one" in str(told(ranks, RANKING)[0])
    assert told(ranks, PAIRS)[0] == ranks


def test_a_label_becomes_the_rating_of_two_points_or_stays_with_the_record() -> None:
    row = {"prompt": "x", "completion": "y", "label": False}
    (rated,) = told(row, Target("rating", {"good": 2}))
    assert rated["annotations"] == [{"annotator": "imported", "ratings": {"good": 1}}]
    assert told(row, RATING)[0]["label"] is False
    assert told(row, DEMOS)[0]["responses"] == ["y"]
    assert told(row | {"label": True}, DEMOS)[0]["completion"] == "y"
    assert told(row | {"label": "False"}, DEMOS)[0]["responses"] == ["y"]  # a cell of a CSV


@pytest.mark.parametrize(
    ("row", "name", "field"),
    [
        ({"instruction": "x"}, "alpaca", "output"),
        ({"instruction": 3, "output": "x"}, "alpaca", "instruction"),
        ({"instruction": "x", "output": "y", "history": ["x"]}, "alpaca", "history[0]"),
        ({"conversations": "x"}, "sharegpt", "conversations"),
        ({"conversations": []}, "sharegpt", "conversations"),
        ({"conversations": [{"from": "bird", "value": "x"}]}, "sharegpt", "conversations[0].from"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "sharegpt", "conversations"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "messages[0].content"),
        ({"messages": ["x"]}, "messages", "messages[0]"),
        ({"prompt": "x", "completions": []}, "ultrafeedback", "completions"),
        ({"prompt": "x", "completions": [{"response": 1}]}, "ultrafeedback", "completions[0].response"),
        ({"prompt": "x", "completions": [{"response": "1"}]}, "ultrafeedback", "completions"),
        ({"data": "x"}, "label-studio", "data"),
        ({"data": {}}, "label-studio", "prompt"),
        ({"data": {"prompt": "x"}, "annotations": "x"}, "label-studio", "annotations"),
        ({"data": {"prompt": "x"}, "annotations": [{"result": 1}]}, "label-studio", "annotations[0].result"),
        ({"data": {"prompt": "x"}, "annotations": [{"result": []}]}, "label-studio", "annotations[0].result"),
        ({"data": {"prompt": "x"}, "annotations": [{"result": [{}]}]}, "label-studio", "annotations[0].result[0]"),
        ({"fields": 1}, "argilla", "fields"),
        ({"fields": {"prompt": "x"}, "responses": "x"}, "argilla", "responses"),
        ({"fields": {"prompt": "x"}, "responses": {"q": 1}}, "argilla", "responses.q"),
        ({"fields": {"prompt": "x"}, "responses": {"q": [{"value": 1}]}}, "argilla", "responses"),
        ({"fields": {"prompt": "x"}, "metadata": [1]}, "argilla", "metadata"),
        ({"prompt": "x", "completion": "y", "label": "yes"}, "trl-binary", "label"),
        ({"prompt": "x", "completions": ["y"], "labels": [True]}, "trl-steps", "completions"),
        ({"prompt": "x", "completions": ["y"], "labels": [1]}, "trl-steps", "labels[0]"),
        ({"prompt": "x", "completions": ["y"], "labels": [True, True]}, "trl-steps", "labels"),
        ({"prompt": "x", "completions": ["y", 3], "labels": [True, True]}, "trl-steps", "completions[1]"),
        ({"prompt": "x", "completions": "y", "labels": "true"}, "trl-steps", "completions"),
    ],
)
def test_a_row_of_another_shape_is_told_by_its_field(row: dict[str, Any], name: str, field: str) -> None:
    (error,) = told(row, PAIRS, name)
    assert isinstance(error, CleaningError)
    assert error.field == field


@pytest.mark.parametrize(
    ("columns", "guessed"),
    [
        (["prompt", "response_a", "response_b"], {}),
        (["prompt", "chosen", "rejected", "question"], {}),
        (
            ["question", "answer_a", "answer_b", "model_a", "model_b", "lang"],
            {
                "question": "prompt",
                "answer_a": "response_1",
                "answer_b": "response_2",
                "model_a": "source_1",
                "model_b": "source_2",
            },
        ),
        (
            ["query", "output 1", "output 2", "output 3"],
            {"query": "prompt"} | {f"output {n}": f"response_{n}" for n in (1, 2, 3)},
        ),
        (["question", "answer", "uid"], {"question": "prompt", "answer": "completion", "uid": "id"}),
        (["prompt", "history", "system_prompt"], {"history": "history", "system_prompt": "system"}),
        (["prompt", "response_a", "response_b", "model_a", "model_b"],
         {"response_a": "response_1", "response_b": "response_2", "model_a": "source_1", "model_b": "source_2"}),
    ],
)  # fmt: skip
def test_fields_are_guessed_from_their_names(columns: list[str], guessed: dict[str, str]) -> None:
    assert mapping.guess(columns) == guessed


def test_a_mapping_puts_a_row_into_hone_s_fields() -> None:
    chosen = Mapping.of(
        {
            "q": "prompt",
            "before": "history",
            "rules": "system",
            "x": "response_a",
            "y": "response_b",
            "by": "source_b",
            "lang": "tag",
            "mail": "leave_out",
        }
    )
    row = {"q": "Why?", "before": ["Hi", "Ho"], "rules": "Be brief.", "x": "1", "y": "2", "by": "m", "lang": "en"}
    assert chosen.apply(row | {"mail": "a@b.org", "other": 5}) == {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Ho"},
            {"role": "user", "content": "Why?"},
        ],
        "responses": ["1", {"text": "2", "source": "m"}],
        "metadata": {"lang": "en"},
        "other": 5,
    }
    assert chosen.in_file("responses[1].text") == "y"
    assert chosen.in_file("prompt[3].content") == "q[3].content"
    assert chosen.in_file("gold.choice") == "gold.choice"


@pytest.mark.parametrize("given", [[], {"a": "prompt", "b": "prompt"}, {"a": "response_99"}, {"a": 3}, {"a": "soup"}])
def test_a_mapping_that_makes_no_sense_is_refused(given: Any) -> None:
    with pytest.raises(CleaningError, match="mapping"):
        Mapping.of(given)
