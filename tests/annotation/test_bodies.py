"""What may be answered, field by field, and that nothing is lost on the way to the database and back."""

import pytest

from annotation import bodies
from annotation.models import Project
from annotation.questions import STEPS, QuestionsError, check_questions, default_questions, step_of

SHOWN = [12, 11]
ASKING = {"aspects": [{"name": "helpful", "label": "Helpful", "required": True}]}


TEXTS = {11: "Öl schwimmt 🛢 oben.", 12: "Water is **heavier**.", 1: "x"}


def check(body: object, kind: str = "preference", shown: list[int] = SHOWN, **questions: object) -> dict:
    sight = bodies.Shown(shown, lambda: TEXTS, turns=[1, 3])
    return bodies.check(Project(kind=kind, questions=questions), body, sight)


def errors(body: object, kind: str = "preference", shown: list[int] = SHOWN, **questions: object) -> set[str]:
    with pytest.raises(bodies.BodyError) as error:
        check(body, kind, shown, **questions)
    assert all(message.endswith(".") for message in error.value.errors.values())
    return set(error.value.errors)


@pytest.mark.parametrize(("choice", "stored"), [("a", 12), ("b", 11), ("tie", "tie"), ("both_bad", "both_bad")])
def test_a_choice_is_stored_as_the_response_shown_on_that_side(choice, stored):
    assert check({"choice": choice})["choice"] == stored


@pytest.mark.parametrize("choice", ["a", "b", "tie", "both_bad"])
def test_a_stored_preference_shown_again_is_what_was_sent(choice):
    body = {
        "choice": choice, "strength": 0, "aspects": {"helpful": "b"}, "flags": ["unclear"], "rationale": "so"
    }  # fmt: skip
    assert bodies.as_shown("preference", check(body, **ASKING), SHOWN) == body


def test_whoever_sees_the_sides_the_other_way_round_means_the_other_response():
    assert check({"choice": "a"}, shown=[11, 12])["choice"] == 11


@pytest.mark.parametrize("choice", [None, "A", "c", 1, ["a"], {"a": 1}, True])
def test_other_choices_are_refused(choice):
    assert errors({"choice": choice}) == {"choice"}


@pytest.mark.parametrize("strength", [-1, 4, 1.0, "2", True, None])
def test_other_strengths_are_refused(strength):
    assert errors({"choice": "a", "strength": strength}) == {"strength"}


def test_a_tie_has_no_strength():
    assert errors({"choice": "tie", "strength": 1}) == {"strength"}


def test_a_project_may_do_without_ties_and_without_both_bad():
    assert errors({"choice": "tie"}, tie=False) == {"choice"}
    assert errors({"choice": "both_bad"}, both_bad=False) == {"choice"}


def test_aspects_are_those_asked_and_the_required_ones_answered():
    assert check({"choice": "a", "aspects": {"helpful": "b"}}, **ASKING)["aspects"] == {"helpful": 11}
    assert errors({"choice": "a"}, **ASKING) == {"aspects.helpful"}
    assert errors({"choice": "a", "aspects": {"helpful": "c"}}, **ASKING) == {"aspects.helpful"}
    assert errors({"choice": "a", "aspects": {"kind": "a"}}) == {"aspects.kind"}
    assert errors({"choice": "a", "aspects": {"helpful": ["a"]}}, **ASKING) == {"aspects.helpful"}


def test_a_rationale_is_asked_for_as_the_project_says():
    assert check({"choice": "a", "rationale": "x"})["rationale"] == "x"
    assert errors({"choice": "a"}, rationale="required") == {"rationale"}
    assert errors({"choice": "a", "rationale": "x"}, rationale="off") == {"rationale"}
    assert errors({"choice": "a", "rationale": "\x00"}) == {"rationale"}
    assert errors({"choice": "a", "rationale": "x" * 5001}) == {"rationale"}


def test_flags_are_those_asked_each_once():
    assert check({"choice": "a", "flags": ["unsafe", "unsafe"]})["flags"] == ["unsafe"]
    assert errors({"choice": "a", "flags": ["boring"]}) == {"flags"}
    assert errors({"choice": "a", "flags": [["unsafe"]]}) == {"flags"}
    assert errors({"choice": "a", "flags": "unsafe"}) == {"flags"}


def test_unknown_fields_are_named():
    assert errors({"choice": "a", "verdict": 1}) == {"verdict"}
    assert errors(["a"]) == {"body"}


def test_a_ranking_names_each_response_once_with_ties_as_inner_lists():
    assert check({"ranking": [[3], [2, 1]]}, "ranking", [1, 2, 3])["ranking"] == [[3], [1, 2]]
    for wrong in (
        [[1], [2]],
        [[1], [2], [3], [3]],
        [[1, 2, 3], []],
        [1, 2, 3],
        [["1"], [2], [3]],
        "321",
        [[True], [2], [3]],
    ):
        assert errors({"ranking": wrong}, "ranking", [1, 2, 3]) == {"ranking"}
    assert errors({"ranking": [[1, 2], [3]]}, "ranking", [1, 2, 3], tie=False) == {"ranking"}


def test_a_rating_answers_every_required_aspect_on_its_scale():
    asked = {"aspects": [{"name": "clear", "label": "Clear", "required": True, "points": 5}]}
    assert check({"ratings": {"clear": 5}}, "rating", [1], **asked)["ratings"] == {"clear": 5}
    for wrong in (0, 6, 2.5, "3", True):
        assert errors({"ratings": {"clear": wrong}}, "rating", [1], **asked) == {"ratings.clear"}
    assert errors({"ratings": {}}, "rating", [1], **asked) == {"ratings.clear"}
    assert errors({"ratings": [5]}, "rating", [1], **asked) == {"ratings"}


def test_a_demonstration_is_a_text_that_says_something():
    assert check({"text": " Water.\n"}, "demonstration", [])["text"] == " Water.\n"
    for wrong in ("", "  \n", None, 5, "\ud800"):
        assert errors({"text": wrong}, "demonstration", []) == {"text"}


def test_a_highlight_is_kept_with_its_words_and_the_response_it_is_in():
    sent = [
        {"side": "b", "start": 12, "end": 13, "reason": "wrong"},
        {"side": "a", "start": 0, "end": 5, "reason": "good"},
    ]
    stored = check({"choice": "a", "highlights": sent})
    assert [(one["response"], one["text"]) for one in stored["highlights"]] == [(12, "Water"), (11, "🛢")]
    assert bodies.as_shown("preference", stored, SHOWN)["highlights"] == sent[::-1]


def test_a_stored_highlight_is_one_that_can_be_given_again():
    stored = check({"choice": "a", "highlights": [{"side": "b", "start": 0, "end": 2, "reason": "wrong"}]})
    assert check({"choice": "a", "highlights": stored["highlights"]})["highlights"] == stored["highlights"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"response": 13}, "highlights[0].response"),
        ({"text": "Wader"}, "highlights[0].text"),
        ({"side": "c"}, "highlights[0].side"),
        ({"side": "ab"}, "highlights[0].side"),
        ({"reason": "boring"}, "highlights[0].reason"),
        ({"start": 5, "end": 5}, "highlights[0]"),
        ({"end": 22}, "highlights[0]"),
        ({"start": -1}, "highlights[0]"),
        ({"start": True}, "highlights[0]"),
        ({"start": 5, "end": 6}, "highlights[0]"),
        ({"colour": "red"}, "highlights[0]"),
    ],
)
def test_a_span_that_is_not_there_cannot_be_highlighted(wrong, field):
    span = {"side": "a", "start": 0, "end": 5, "reason": "good"} | wrong
    assert errors({"choice": "a", "highlights": [span]}) == {field}


def test_highlights_are_asked_only_where_there_are_reasons_for_them():
    span = {"start": 0, "end": 1, "reason": "good"}
    assert errors({"choice": "a", "highlights": [span]}, highlights=[]) == {"highlights"}
    assert errors({"text": "x", "highlights": [span]}, "demonstration", []) == {"highlights"}
    assert errors({"choice": "a", "highlights": "all"}) == {"highlights"}
    assert errors({"choice": "a", "highlights": [span] * 51}) == {"highlights"}


def test_quick_reasons_are_those_offered_and_say_why():
    assert check({"choice": "a", "reasons": ["safe", "clear", "safe"]})["reasons"] == ["clear", "safe"]
    assert check({"choice": "a", "reasons": ["safe"]}, rationale="required")["rationale"] == ""
    assert errors({"choice": "a", "reasons": ["nicer"]}) == {"reasons"}


def test_a_flag_may_ask_for_a_reason():
    asked = {"flags": [{"name": "unsafe", "label": "Unsafe", "reason": True}]}
    assert errors({"choice": "a", "flags": ["unsafe"]}, **asked) == {"rationale"}
    assert check({"choice": "a", "flags": ["unsafe"], "rationale": "Poison."}, **asked)["flags"] == ["unsafe"]
    assert check({"choice": "a", "flags": ["unsafe"], "reasons": ["safe"]}, **asked)["flags"] == ["unsafe"]


def test_the_winner_may_be_improved_where_that_is_asked():
    better = "Water is **heavier**, by a tenth."
    assert check({"choice": "a", "improved": better}, improve=True)["improved"] == better
    assert "improved" not in check({"choice": "a", "improved": "Water is **heavier**.\n"}, improve=True)
    assert errors({"choice": "tie", "improved": better}, improve=True) == {"improved"}
    assert errors({"choice": "a", "improved": "  "}, improve=True) == {"improved"}
    assert errors({"choice": "a", "improved": better}) == {"improved"}


def test_a_rating_by_turn_answers_for_each_turn_of_the_assistant():
    asked = {"aspects": [{"name": "clear", "label": "Clear", "required": True, "points": 5}], "level": "turn"}
    given = {"ratings": {"clear": 5}, "turns": {"1": {"clear": 2}, "3": {"clear": 4}}}
    assert check(given, "rating", [1], **asked)["turns"] == given["turns"]
    assert errors(given | {"turns": {"1": {"clear": 2}}}, "rating", [1], **asked) == {"turns.3.clear"}
    assert errors(given | {"turns": {"1": {"clear": 6}, "3": {"clear": 4}}}, "rating", [1], **asked) == {
        "turns.1.clear"
    }
    assert errors(given | {"turns": given["turns"] | {"2": {}}}, "rating", [1], **asked) == {"turns.2"}
    assert errors(given, "rating", [1], aspects=asked["aspects"]) == {"turns.1"}


def test_thumbs_are_a_scale_of_two():
    asked = check_questions("rating", {"aspects": [{"name": "keep", "answer": "thumbs"}]})
    assert check({"ratings": {"keep": 2}}, "rating", [1], **asked)["ratings"] == {"keep": 2}
    assert errors({"ratings": {"keep": 3}}, "rating", [1], **asked) == {"ratings.keep"}


@pytest.mark.parametrize("step", range(1, 8))
def test_the_seven_steps_and_back(step):
    assert step_of(*STEPS[step]) == step


def test_both_bad_is_no_step_and_a_bare_choice_the_smallest_edge():
    assert step_of("both_bad", 0) is None
    assert (step_of("a", 0), step_of("b", 0)) == (3, 5)


@pytest.mark.parametrize("kind", ["demonstration", "preference", "ranking", "rating"])
def test_default_questions_pass_their_own_check(kind):
    assert check_questions(kind, default_questions(kind)) == default_questions(kind)


@pytest.mark.parametrize(
    ("questions", "field"),
    [
        ([], "questions"),
        ({"colour": 1}, "questions.colour"),
        ({"tie": "yes"}, "questions.tie"),
        ({"rationale": "maybe"}, "questions.rationale"),
        ({"rationale": []}, "questions.rationale"),
        ({"skip_reasons": []}, "questions.skip_reasons"),
        ({"skip_reasons": ["a", "a"]}, "questions.skip_reasons"),
        ({"aspects": [{"name": "Not a name"}]}, "questions.aspects[0].name"),
        ({"aspects": [{"name": "a"}, {"name": "a"}]}, "questions.aspects[1].name"),
        ({"aspects": [{"name": "a", "label": "Good"}, {"name": "b", "label": "good"}]}, "questions.aspects[1].label"),
        ({"aspects": [{"name": "a", "points": 5}]}, "questions.aspects[0].points"),
        ({"aspects": [{"name": "a", "size": 5}]}, "questions.aspects[0]"),
        ({"flags": [{"name": "a", "label": "x" * 61}]}, "questions.flags[0].label"),
        ({"flags": [{"name": "a", "reason": 1}]}, "questions.flags[0].reason"),
        ({"highlights": [{"name": "a", "tone": "pink"}]}, "questions.highlights[0].tone"),
        ({"reasons": [{"name": f"a{n}"} for n in range(10)]}, "questions.reasons"),
        ({"improve": 1}, "questions.improve"),
        ({"level": "turn"}, "questions.level"),
        ({"level": []}, "questions.level"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_by_field(questions, field):
    with pytest.raises(QuestionsError) as error:
        check_questions("preference", questions)
    assert set(error.value.errors) == {field}


@pytest.mark.parametrize(
    ("kind", "questions", "field"),
    [
        ("rating", {"improve": True}, "questions.improve"),
        ("ranking", {"highlights": [{"name": "a"}]}, "questions.highlights"),
        ("rating", {"aspects": [{"name": "a", "answer": "stars"}]}, "questions.aspects[0].answer"),
        ("rating", {"aspects": [{"name": "a", "answer": "thumbs", "points": 5}]}, "questions.aspects[0].points"),
        ("rating", {"aspects": [{"name": "a", "low": "x" * 41}]}, "questions.aspects[0].low"),
    ],
)
def test_questions_another_kind_may_ask_are_refused_too(kind, questions, field):
    with pytest.raises(QuestionsError) as error:
        check_questions(kind, questions)
    assert set(error.value.errors) == {field}
