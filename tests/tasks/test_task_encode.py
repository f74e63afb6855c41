"""Ragged token ids: what the tokenizer gives, cut and gathered."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from kdnas.tasks import EncodedExamples, Examples, encode
from kdnas.tasks.encode import offsets_of, padding_id, same_units

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e"]
PAIRS = Examples(["a b", "c", "a b c d e"], ["d", "e e", "a"], np.array([1, 0, 1]), dropped=2)


def tokenizer_with(*inputs: str) -> Any:
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", model_input_names=list(inputs)
    )


@pytest.fixture
def bert() -> Any:
    return tokenizer_with("input_ids", "token_type_ids", "attention_mask")


@pytest.fixture
def encoded(bert: Any) -> EncodedExamples:
    return encode(PAIRS, bert, 7)


def rows(array: Any, offsets: Any) -> list[list[int]]:
    return [row.tolist() for row in np.split(array, offsets[1:-1])]


def test_pairs_are_cut_longest_first_and_not_padded(encoded: EncodedExamples) -> None:
    assert rows(encoded.input_ids, encoded.offsets) == [
        [2, 4, 5, 3, 7, 3],
        [2, 6, 3, 8, 8, 3],
        [2, 4, 5, 6, 3, 4, 3],
    ]
    assert rows(encoded.token_type_ids, encoded.offsets) == [
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1],
    ]
    assert encoded.labels is PAIRS.labels


def test_types(encoded: EncodedExamples) -> None:
    assert encoded.token_type_ids is not None
    assert [a.dtype for a in (encoded.input_ids, encoded.token_type_ids, encoded.offsets)] == [
        np.int32,
        np.int8,
        np.int64,
    ]
    assert (len(encoded), encoded.lengths.tolist()) == (3, [6, 6, 7])


def test_single_texts_without_token_types() -> None:
    encoded = encode(Examples(["a", "z b"]), tokenizer_with("input_ids", "attention_mask"), 8)
    assert rows(encoded.input_ids, encoded.offsets) == [[2, 4, 3], [2, 1, 5, 3]]
    assert encoded.token_type_ids is None
    assert encoded.labels is None


def test_chunks_join(bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode(PAIRS, bert, 7)
    monkeypatch.setattr(sys.modules["kdnas.tasks.encode"], "_CHUNK", 2)
    assert encode(PAIRS, bert, 7).fingerprint() == whole.fingerprint()


@pytest.mark.parametrize("indices", [[2, 0], [1, 1, 0], np.array([2]), []])
def test_take_equals_encoding_the_taken(bert: Any, encoded: EncodedExamples, indices: Any) -> None:
    taken, direct = encoded.take(indices), encode(PAIRS.take(indices), bert, 7)
    assert rows(taken.input_ids, taken.offsets) == rows(direct.input_ids, direct.offsets)
    assert taken.labels is not None
    assert taken.labels.tolist() == [PAIRS.labels[i] for i in indices]  # type: ignore[index]
    assert len(taken) == len(indices)


def test_the_fingerprint_tells_contents_apart(encoded: EncodedExamples) -> None:
    prints = {
        encoded.fingerprint(),
        encoded.take([0, 1]).fingerprint(),
        encoded.take([1, 0, 2]).fingerprint(),
        EncodedExamples(encoded.input_ids, None, encoded.offsets).fingerprint(),
        EncodedExamples(encoded.input_ids, encoded.token_type_ids, encoded.offsets).fingerprint(),
    }
    assert len(prints) == 5
    assert encoded.take([0, 1, 2]).fingerprint() == encoded.fingerprint()


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "import numpy as np; from kdnas.tasks.encode import EncodedExamples as E; "
        "print(E(np.arange(5, dtype=np.int32), None, np.array([0, 2, 5])).fingerprint())"
    )
    here = EncodedExamples(np.arange(5, dtype=np.int32), None, np.array([0, 2, 5])).fingerprint()
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == here


@pytest.mark.parametrize(
    ("of_tokenizer", "of_config", "expected"),
    [(3, 1, 3), (None, 1, 1), (200, 1, 1), (None, None, 0), (None, -1, 0), (0, 5, 0)],
)
def test_padding_is_a_token_that_the_model_has(
    of_tokenizer: int | None, of_config: int | None, expected: int
) -> None:
    tokenizer = SimpleNamespace(pad_token_id=of_tokenizer)
    config = SimpleNamespace(pad_token_id=of_config, vocab_size=200)
    assert padding_id(config, tokenizer) == expected


def test_what_is_cut_is_told(bert: Any, capsys: pytest.CaptureFixture[str]) -> None:
    examples = Examples(["a b c d e"] * 3 + ["a"] * 7)
    encode(examples, bert, 7, "train")
    encode(examples, bert, 5)
    assert not capsys.readouterr().out
    encode(examples, bert, 5, "train")
    said = capsys.readouterr().out
    assert said == "train: 30% of the texts are cut at 5 tokens; their median length is 3\n"
    long = Examples(["a " * 2000] * 3, ["b " * 500] * 3)
    encode(long, bert, 64, "corpus")
    said = capsys.readouterr().out
    assert said == "corpus: 100% of the texts are cut at 64 tokens; their median length is 2,503\n"


def test_of_many_cut_texts_a_sample_is_looked_at(
    bert: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["kdnas.tasks.encode"], "_LOOKED_AT", 10)
    encode(Examples(["a " * 40] * 50 + ["b"] * 50 * 199), bert, 12, "train")
    said = capsys.readouterr().out
    assert (
        said == "train: less than 1% of the texts are cut at 12 tokens; their median length is 3\n"
    )


def test_units_of_two_tokenizers_that_are_the_same_words() -> None:
    def of(counts: list[int], words: list[int] | None) -> EncodedExamples:
        ends = offsets_of(np.array(counts))
        spans = None if words is None else np.stack([words, np.add(words, 1)], 1).astype(np.int32)
        many = int(ends[-1])
        places = {"units": ends, "positions": np.zeros(many, np.int32), "spans": spans}
        return EncodedExamples(np.zeros(many, np.int32), None, ends, **places)

    one = of([2, 3, 2], [0, 1, 0, 1, 1, 0, 1])  # the last word of the second has two pieces
    other = of([2, 3, 1], [0, 1, 0, 0, 1, 0])  # there the first has, and the third was cut
    assert same_units(one, other).tolist() == [0]
    assert same_units(one, one).tolist() == [0, 1, 2]
    assert same_units(of([2, 3, 2], None), of([2, 3, 1], None)).tolist() == [0, 1]
