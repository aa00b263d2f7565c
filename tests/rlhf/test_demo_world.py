import math
import random
import statistics

import pytest

from rlhf.demo import reactions, world
from rlhf.demo.desk import PROBLEMS, SUBJECTS
from rlhf.demo.raters import RATERS, Rater, noise_ceiling, truth_accuracy


def asked(text):
    return [{"role": "user", "content": text}]


DEAD_KETTLE = asked("Hi, my kettle will not turn on. What can I do?")
BEST = (
    "Sorry about the trouble with your kettle. Please hold the reset button for ten seconds. "
    "Feel free to reply at any time."
)


def test_every_way_to_tell_a_problem_is_understood():
    for problem in PROBLEMS:
        for product in problem.products:
            for phrase in problem.phrases:
                for subject in SUBJECTS:
                    case = world.case_of(asked(phrase.format(x=subject.format(p=product)).capitalize()))
                    assert case == (product, problem), phrase


def test_evaluation_prompts_are_about_pairs_of_product_and_problem_that_no_training_text_is_about():
    train = {world.case_of(prompt) for prompt in world.prompts(1500, 0)}
    held_out = {world.case_of(prompt) for prompt in world.prompts(300, 0, "eval")}
    assert not train & held_out
    assert len({case.problem.name for case in held_out}) > 10
    in_corpus = {world.case_of(row["messages"][:1]) for row in world.corpus(300, 5)}
    assert not in_corpus & held_out


def test_the_same_seed_gives_the_same_texts_and_prompts_do_not_repeat():
    assert world.corpus(50, 3) == world.corpus(50, 3)
    assert world.prompts(50, 3) != world.prompts(50, 4)
    texts = [prompt[0]["content"] for prompt in world.prompts(1000, 1)]
    assert len(set(texts)) == 1000


def test_the_parts_of_a_perfect_reply_add_up_to_the_best_score():
    parts = world.explain(DEAD_KETTLE, BEST)
    assert parts["product"] == 1 and parts["fix"] == 3 and parts["courtesy"] == 1 and parts["offer"] == 0.5
    assert world.utility(DEAD_KETTLE, BEST) == sum(parts.values()) == world.BEST


def test_half_of_the_conversations_to_learn_from_end_with_what_struck_the_customer():
    rows = [row["messages"] for row in world.corpus(400, 7)]
    said = [messages for messages in rows if len(messages) == 3]
    assert 0.4 < len(said) / len(rows) < 0.6
    assert {messages[-1]["role"] for messages in said} == {"user"}

    def heard(reply):
        return {reactions.reaction(DEAD_KETTLE, reply, random.Random(seed)) for seed in range(200)}

    wrong = BEST.replace("hold the reset button for ten seconds", "tighten the two screws on the back")
    assert heard(BEST) >= {*reactions.HELPED, "Yes, the kettle.", *reactions.COURTEOUS, *reactions.WELCOME}
    assert not heard(BEST) & {*reactions.WRONG, *reactions.NO_ADVICE, *reactions.IDLE, *reactions.UNFINISHED}
    assert heard(wrong) >= {*reactions.WRONG} and not heard(wrong) & {*reactions.HELPED, *reactions.NO_ADVICE}
    assert heard(BEST.replace("kettle", "tent")) >= {"But I asked about my kettle."}
    assert heard("Read the manual") >= {*reactions.RUDE, *reactions.NO_ADVICE, *reactions.UNFINISHED, *reactions.CURT}
    assert heard("Things like this happen.") >= {*reactions.IDLE, *reactions.NO_OFFER, *reactions.NOTHING}


@pytest.mark.parametrize(
    "worse",
    [
        BEST.replace("hold the reset button for ten seconds", "tighten the two screws on the back"),
        BEST.replace("kettle", "tent"),
        BEST.replace("Sorry about the trouble with your kettle.", "It is about the kettle."),
        BEST.replace(" Feel free to reply at any time.", ""),
        BEST[:-30],
        BEST + " We also sell garden chairs at ten percent off.",
        "Do not waste our time. " + BEST,
        BEST + " " + BEST,
        BEST + " Thank you for writing to us about your kettle.",
        BEST + " " + " ".join(f"You can also {problem.fixes[0]}." for problem in PROBLEMS[1:]),
        "Sorry about the kettle, reset button, please, ten, seconds. thanks",
    ],
)
def test_every_flaw_costs_and_more_of_a_good_thing_never_pays(worse):
    assert world.utility(DEAD_KETTLE, worse) < world.BEST


def test_the_right_fix_matters_most():
    curt = world.utility(DEAD_KETTLE, "Press the reset button and wait ten seconds, then try it.")
    charming = world.utility(DEAD_KETTLE, "Sorry about the trouble with your kettle. Feel free to reply at any time.")
    wrong = world.utility(
        DEAD_KETTLE, "Sorry about your kettle. Rinse it and put in the spare rubber seal. Feel free to reply."
    )
    assert curt > charming > wrong


@pytest.mark.parametrize(
    "garbage", ["", "   ", "\n", "kettle", "...", "the the the the the the", "\x00\ufffd", "a" * 5000, "ten " * 500]
)
def test_garbage_scores_below_an_empty_courtesy(garbage):
    value = world.utility(DEAD_KETTLE, garbage)
    assert math.isfinite(value)
    assert value < world.utility(DEAD_KETTLE, "Sorry to hear that.")


def test_a_message_from_outside_the_world_is_judged_by_manner_alone():
    parts = world.explain(
        asked("What is the capital of France?"), "Thanks for asking. It is Paris. Feel free to reply at any time."
    )
    assert parts["product"] == parts["fix"] == parts["wrong_fix"] == 0
    assert parts["courtesy"] == 1


def test_demonstrations_are_good_and_the_corpus_is_mediocre_with_room_above_both():
    rng, prompts = random.Random(0), world.prompts(200, 9)
    shown = statistics.mean(world.utility(prompt, world.demonstration(prompt, rng)) for prompt in prompts)
    usual = statistics.mean(world.utility(prompt, world.mediocre_reply(prompt, rng)) for prompt in prompts)
    assert usual + 1.5 < shown < world.BEST - 1


def test_no_text_of_the_world_is_empty():
    rng = random.Random(0)
    for prompt in world.prompts(1500, 2):
        assert world.demonstration(prompt, rng) and world.mediocre_reply(prompt, rng)


def test_raters_are_marked_as_simulated_and_answer_in_the_api_format():
    rng = random.Random(0)
    assert 4 <= len({rater.name for rater in RATERS}) == len(RATERS) <= 6
    for rater in RATERS:
        assert rater.name.startswith("simulated-")
        body = rater.prefer(DEAD_KETTLE, BEST, "Read the manual.", rng)
        assert body["choice"] in {"a", "b", "tie", "both_bad"} and body["strength"] in {0, 1, 2, 3}
        assert world.utility(DEAD_KETTLE, rater.demonstrate(DEAD_KETTLE, rng)) <= world.BEST


def test_a_rater_chooses_as_often_as_bradley_and_terry_say():
    rng, rater = random.Random(1), Rater("simulated-test", temperature=1.0)
    close = BEST.replace(" Feel free to reply at any time.", "")
    choices = [rater.prefer(DEAD_KETTLE, BEST, close, rng)["choice"] for _ in range(1500)]
    decided = choices.count("a") + choices.count("b")
    # Half a point apart at temperature 1; ties take as much from either side's neighbourhood of zero.
    assert choices.count("a") / decided == pytest.approx(0.636, abs=0.05)
    assert 0 < choices.count("tie") < 300


def test_equal_replies_are_ties_and_two_dreadful_ones_are_both_bad():
    rng = random.Random(2)
    assert RATERS[0].prefer(DEAD_KETTLE, BEST, BEST, rng)["choice"] == "tie"
    assert RATERS[0].prefer(DEAD_KETTLE, "", "", rng)["choice"] == "both_bad"


def test_the_noise_ceiling_is_how_often_the_truth_agrees_with_the_labels():
    rng = random.Random(3)
    pairs = [(p, world.mediocre_reply(p, rng), world.demonstration(p, rng)) for p in world.prompts(150, 4)]
    right, labels = [], []
    for prompt, a, b in pairs:
        agreed, gap = [], world.utility(prompt, a) - world.utility(prompt, b)
        for rater in RATERS:
            choice = rater.prefer(prompt, a, b, rng)["choice"]
            if choice in ("a", "b"):
                labels.append((prompt, a, b) if choice == "a" else (prompt, b, a))
                agreed.append(0.5 if gap == 0 else float((gap > 0) == (choice == "a")))
        right += [sum(agreed) / len(agreed)] if agreed else []
    mean = sum(right) / len(right)
    assert truth_accuracy(labels) == pytest.approx(mean)  # several judges of a pair count once
    assert 0.75 < (ceiling := noise_ceiling(pairs)) < 0.95
    assert ceiling == pytest.approx(mean, abs=0.04)


def test_guidelines_tell_the_annotator_every_fix():
    assert all(problem.fixes[0] in world.GUIDELINES for problem in PROBLEMS)
