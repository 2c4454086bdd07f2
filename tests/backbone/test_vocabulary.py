"""Texts that a vocabulary cannot read are measured and refused with advice."""

from __future__ import annotations

import copy

import pytest
from tokenizers.normalizers import Lowercase
from transformers import PreTrainedTokenizerFast

from flanrec.backbone import Backbone
from flanrec.backbone.vocabulary import check_readable, token_difference, unknown_rate, used_rows
from flanrec.errors import CheckpointError


@pytest.fixture(scope="module")
def tokenizer(backbone: Backbone) -> PreTrainedTokenizerFast:
    return backbone.tokenizer


def test_english_is_read_whole(tokenizer: PreTrainedTokenizerFast) -> None:
    assert unknown_rate(tokenizer, ["Alien (1979)", "Amélie", "It's a Wonderful Life"]) == 0.0


def test_chinese_is_not_read_at_all(tokenizer: PreTrainedTokenizerFast) -> None:
    assert unknown_rate(tokenizer, ["疯狂的麦克斯", "卧虎藏龙"]) == 1.0


def test_characters_count_although_a_run_of_unknown_ones_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    # 5 letters known, 6 characters unknown, the space counts for nothing
    assert unknown_rate(tokenizer, ["Alien 疯狂的麦克斯"]) == pytest.approx(6 / 11)


@pytest.mark.parametrize("texts", [[], [""], ["", "   "]])
def test_no_text_has_nothing_unknown(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> None:
    assert unknown_rate(tokenizer, texts) == 0.0
    assert check_readable(tokenizer, texts) == 0.0


def test_a_catalogue_above_the_limit_is_refused_with_its_worst_texts_and_advice(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    texts = ["The Good, the Bad and the Ugly"] * 10 + ["疯狂的麦克斯：狂怒之路第二部"]
    with pytest.raises(CheckpointError, match=r"cannot read 5\.\d% .*疯狂的麦克斯.*google/mt5-small"):
        check_readable(tokenizer, texts)
    assert 0.05 < check_readable(tokenizer, texts, limit=0.1) < 0.06


def test_used_rows_are_exactly_those_of_the_texts_and_the_control_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["Alien (1979)", "Aliens"]
    wanted = {0, 1, 2} | set(tokenizer(texts[0])["input_ids"]) | set(tokenizer(texts[1])["input_ids"])
    rows = used_rows(tokenizer, texts)
    assert rows.dtype.name == "int64"
    assert rows.tolist() == sorted(wanted)
    assert used_rows(tokenizer, []).tolist() == [0, 1, 2]


def test_a_tokenizer_is_like_itself_however_it_padded_before(tokenizer: PreTrainedTokenizerFast) -> None:
    other = copy.deepcopy(tokenizer)
    other(["one", "one and two"], padding=True, truncation=True, max_length=3)
    assert token_difference(tokenizer, other, ["Toy Story (1995)", "Heat", ""]) == ""


def test_more_tokens_and_other_cuts_are_told(tokenizer: PreTrainedTokenizerFast) -> None:
    larger, folding = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    larger.add_tokens(["Quarry"])
    assert "and the other" in token_difference(tokenizer, larger, [])
    folding.backend_tokenizer.normalizer = Lowercase()
    assert token_difference(tokenizer, folding, ["heat", "Heat"]) == "they cut 'Heat' differently"
