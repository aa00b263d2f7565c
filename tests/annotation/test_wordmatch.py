import random

import pytest

from annotation.wordmatch import EXACT, operations


def rebuilt(left: list[str], right: list[str]) -> list[str]:
    """`left` turned into `right` by the operations, which must cover both without gap or overlap."""
    made: list[str] = []
    a = b = 0
    for name, a0, a1, b0, b1 in operations(left, right):
        assert (a0, b0) == (a, b)
        assert name != "equal" or left[a0:a1] == right[b0:b1]
        made += left[a0:a1] if name == "equal" else right[b0:b1]
        a, b = a1, b1
    assert (a, b) == (len(left), len(right))
    return made


@pytest.mark.parametrize("size", [0, 40, EXACT])
def test_the_operations_turn_one_text_into_the_other(size: int) -> None:
    draw = random.Random(7)
    left = [draw.choice("abcdefghijklmnop") + str(draw.randrange(90)) for _ in range(size)]
    right = [word for word in left if draw.random() > 0.02]
    for place in sorted(draw.sample(range(len(right) + 1), k=min(5, len(right)))):
        right.insert(place, "new")
    assert rebuilt(left, right) == right
    assert rebuilt(right, left) == left


def test_a_small_change_in_a_long_text_is_found_alone() -> None:
    left = [f"word{number}" for number in range(EXACT)]
    right = [*left[:4000], "changed", *left[4001:]]
    assert [name for name, *_ in operations(left, right)] == ["equal", "replace", "equal"]


def test_long_texts_with_nothing_in_common_are_replaced_as_a_whole() -> None:
    left, right = [f"a{n}" for n in range(EXACT)], [f"b{n}" for n in range(EXACT)]
    assert operations(left, right) == [("replace", 0, EXACT, 0, EXACT)]
    assert operations(["same"] * EXACT, ["same"] * EXACT) == [("equal", 0, EXACT, 0, EXACT)]
