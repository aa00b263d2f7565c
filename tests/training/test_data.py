from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.conftest import assistant, tiny_tokenizer, user, write_snapshot
from training import data, models, runfile
from training.data import DataError, RowAccount


@pytest.fixture(scope="module")
def tokenizer():
    made = tiny_tokenizer()
    made.hone_adds_bos = False
    return made


def test_the_account_names_what_to_change_when_too_many_rows_are_lost() -> None:
    account = RowAccount("train")
    for row in range(98):
        account.use(truncated=row == 0)
    account.drop("too_long")
    account.require(0.011)
    account.drop("too_long")
    with pytest.raises(DataError, match=r"2 of 100 train rows cannot be used \(2 too_long from row 99 on\)") as caught:
        account.require(0.01)
    assert "Raise params.max_length" in caught.value.hint
    assert "params.max_dropped_share = 0.02" in caught.value.hint
    with pytest.raises(DataError) as caught:
        account.require(0.01, raisable=False)
    assert "max_length" not in caught.value.hint
    assert account.as_dict() == {"read": 100, "used": 98, "truncated": 1, "dropped": {"too_long": 2}}


def test_a_split_without_usable_rows_is_refused() -> None:
    with pytest.raises(DataError, match="no usable row"):
        RowAccount("train").require(1.0)


def test_an_answer_ends_in_exactly_one_end_token(tokenizer) -> None:
    prompt, answer = data.Encoder(tokenizer).pair([user("where is it")], [assistant("sorry")])
    assert tokenizer.decode(prompt) == "<|im_start|>user\nwhere is it<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(answer) == "sorry<|im_end|>"
    assert answer.count(tokenizer.eos_token_id) == 1


def test_an_end_token_is_added_where_the_template_writes_none() -> None:
    plain = tiny_tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    plain.hone_adds_bos = False
    _, answer = data.Encoder(plain).pair([user("where")], [assistant(" is it")])
    assert plain.decode(answer) == " is it<|im_end|>"


def test_a_template_that_rewrites_the_prompt_is_refused() -> None:
    odd = tiny_tokenizer("{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}")
    odd.hone_adds_bos = False
    with pytest.raises(DataError, match="cannot be separated"):
        data.Encoder(odd).pair([user("a")], [assistant("b")])


def test_a_row_that_the_template_refuses_is_named() -> None:
    strict = tiny_tokenizer("{{ raise_exception('System role not supported') }}")
    with pytest.raises(DataError, match="begins with 'be brief': System role not supported"):
        data.encode_prompt(strict, [{"role": "system", "content": "be brief"}, user("a")])


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_whatever_the_texts_the_ids_spell_them_and_the_prompt_stays_what_generation_starts_from(left, right) -> None:
    plain = tiny_tokenizer(models.PLAIN)
    plain.hone_adds_bos = False
    prompt, answer = data.Encoder(plain).pair([user(left)], [assistant(right)])
    assert prompt == data.encode_prompt(plain, [user(left)])
    assert plain.decode(prompt) == left
    assert plain.decode(answer) == right + "<|im_end|>"


def test_control_tokens_typed_into_a_text_make_a_row_unusable(tokenizer) -> None:
    assert data.unusable(tokenizer, [user("hi")], [assistant("yes")]) is None
    assert data.unusable(tokenizer, [user("hi<|im_end|>")], [assistant("yes")]) == "control_token_in_text"
    assert data.unusable(tokenizer, [user("hi")], [assistant("")]) == "empty_completion"
    assert data.unusable(tokenizer, [user("hi"), assistant("x")], [assistant("y")]) is not None


def test_an_answer_of_several_messages_or_none_is_left_out_rather_than_cut(tokenizer) -> None:
    several = [assistant("a"), user("b"), assistant("c")]
    assert data.unusable(tokenizer, [user("hi")], several) == "completion_is_not_one_answer"
    assert data.unusable(tokenizer, [user("hi")], [user("b")]) == "completion_is_not_one_answer"
    for bad in (None, 3, ["a"], [{"role": "user", "content": None}], [{"from": "human", "value": "a"}]):
        assert data.unusable(tokenizer, bad, [assistant("yes")]) == "neither_text_nor_messages"
        assert data.unusable(tokenizer, [user("hi")], bad) == "neither_text_nor_messages"


def test_plain_texts_are_read_as_messages_and_a_cut_file_is_told(tmp_path) -> None:
    rows = [{"prompt": "hi", "chosen": "yes", "rejected": "no", "id": "x"}]
    folder = write_snapshot(tmp_path / "s", "preference", rows, [])
    config = runfile.check({"kind": "reward", "base_model": "m", "snapshot": str(folder)})
    assert data.rows(config, "train") == [
        {"prompt": [user("hi")], "chosen": [assistant("yes")], "rejected": [assistant("no")], "id": "x"}
    ]
    (folder / "train.parquet").write_bytes((folder / "train.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train\.parquet of the snapshot cannot be read: "):
        data.rows(config, "train")


def test_a_long_prompt_loses_its_beginning_but_not_its_first_token() -> None:
    tokenizer = SimpleNamespace(bos_token_id=1)
    assert data.cut_prompt(tokenizer, [1, 5, 6, 7], 4) == [1, 5, 6, 7]
    assert data.cut_prompt(tokenizer, [1, 5, 6, 7], 3) == [1, 6, 7]
    assert data.cut_prompt(tokenizer, [5, 6, 7], 2) == [6, 7]
    assert data.cut_prompt(tokenizer, [1, *range(5, 20)], 3) is None
    assert data.cut_prompt(tokenizer, [1, 5, 6], 1) is None
    assert data.cut_prompt(tokenizer, [1, 5, 6], -4) is None


def test_padding_goes_where_it_is_wanted() -> None:
    ids, mask = data.pad([[1, 2], [3]], 0)
    assert (ids.tolist(), mask.tolist()) == ([[1, 2], [3, 0]], [[1, 1], [1, 0]])
    ids, mask = data.pad([[1, 2], [3]], 0, left=True)
    assert (ids.tolist(), mask.tolist()) == ([[1, 2], [0, 3]], [[1, 1], [0, 1]])


@settings(max_examples=40)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_every_row_comes_once_an_epoch_in_an_order_that_only_the_seed_decides(lengths, size, seed) -> None:
    found = data.batches(lengths, size, seed=seed, epoch=1)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in found)
    assert found == data.batches(lengths, size, seed=seed, epoch=1)


def test_batches_continue_in_the_middle_of_an_epoch() -> None:
    lengths, params = list(range(1, 50)), SimpleNamespace(batch_size=4, epochs=2.5, max_steps=None)
    whole = list(data.batches_from(lengths, params, seed=3, first_step=1))
    assert [step for step, _ in whole] == list(range(1, 34))  # 13 batches an epoch, 32.5 in all
    assert list(data.batches_from(lengths, params, seed=3, first_step=18)) == whole[17:]
    assert [sorted(rows) for _, rows in whole[:13]] != [sorted(rows) for _, rows in whole[13:26]]


def test_batches_hold_rows_of_like_length() -> None:
    lengths = [(row * 37) % 97 + 1 for row in range(800)]
    found = data.batches(lengths, 10, seed=0, epoch=0)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in found)
    assert padded < 1.15 * sum(lengths)
