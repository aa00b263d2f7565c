import random

import numpy as np

from annotation.nearness import NearPrompts


def found(*texts: str) -> list[int]:
    near = NearPrompts()
    near.add(list(texts[:1]))
    near.add(list(texts[1:]))
    return near.found().tolist()


def test_prompts_that_share_most_words_are_nearly_the_same() -> None:
    rng = random.Random(0)
    words = [f"w{number}" for number in range(5000)]
    agreed = {}
    for changed in (1, 10):
        agreed[changed] = 0
        for _ in range(40):
            text = rng.choices(words, k=30)
            other = list(text)
            for place in rng.sample(range(30), changed):
                other[place] = rng.choice(words)
            agreed[changed] += found(" ".join(text), " ".join(other))[1] == 0
    assert agreed[1] >= 38 and agreed[10] == 0


def test_each_names_an_earlier_one_and_words_of_another_order_are_another_prompt() -> None:
    text = "how do i move my old number to another phone without losing it"
    assert found(text, "what is a fjord", text, "", "", "x") == [0, 1, 0, 3, 3, 5]
    assert found("dog bites man", "man bites dog") == [0, 1]
    assert NearPrompts().found().tolist() == []


def test_a_group_is_all_that_is_nearly_the_same_on_from_one_to_the_next() -> None:
    words = [f"w{number}" for number in range(40)]
    texts = [" ".join(words[start : start + 30]) for start in (0, 9, 3, 6)] + ["what is a fjord"] * 2
    near = NearPrompts()
    near.add(texts)
    assert near.found().tolist()[1] == 1  # the first and the second have too little in common
    assert near.groups(np.arange(6)).tolist() == [0, 0, 0, 0, 4, 4]
    assert near.groups(np.array([0, 1, 2, 3, 0, 5])).tolist() == [0] * 6
    assert NearPrompts().groups(np.arange(0)).tolist() == []
