"""Windows on long contexts: what they hold, where the answer is in them, how tokens are cut."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentence, small_tokenizer
from transformers import AutoTokenizer

from kdnas.errors import KdnasError
from kdnas.tasks import Examples
from kdnas.tasks.questions.windows import NO_ANSWER, UNKNOWN, frame_of, question_limit, windows_of


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = small_tokenizer()
    made.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return made


def texts(count: int, sentences: int) -> Examples:
    rng = random.Random(0)
    contexts = [". ".join(sentence(rng) for _ in range(sentences)) + "." for _ in range(count)]
    return Examples([sentence(rng) for _ in range(count)], contexts, task_type="question-answering")


def places(examples: Examples, word: str = "film") -> list[tuple[int, int]]:
    """Where a word is in each context."""
    assert examples.text_pair is not None
    starts = [context.find(word) for context in examples.text_pair]
    return [(s, s + len(word)) if s >= 0 else NO_ANSWER for s in starts]


def test_a_short_row_is_what_the_tokenizer_makes_of_it(tokenizer: Any) -> None:
    examples = texts(6, 2)
    data = windows_of(examples, tokenizer, 128, 16, None)
    assert len(data) == 6
    for row in range(6):
        assert examples.text_pair is not None
        said = tokenizer(examples.text[row], examples.text_pair[row])
        one = data.take([row])
        assert one.input_ids.tolist() == said["input_ids"]
        assert one.token_type_ids is not None
        assert one.token_type_ids.tolist() == said["token_type_ids"]
        context = [i for i, side in enumerate(said.sequence_ids(0)) if side == 1]
        assert one.positions is not None and one.positions.tolist() == [0, *context]


def test_windows_are_those_of_the_tokenizer(tokenizer: Any) -> None:
    examples = texts(8, 20)
    assert examples.text_pair is not None
    data = windows_of(examples, tokenizer, 48, 12, None)
    said = tokenizer(
        examples.text,
        examples.text_pair,
        truncation="only_second",
        max_length=48,
        stride=12,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert [data.take([i]).input_ids.tolist() for i in range(len(data))] == said["input_ids"]
    assert data.rows is not None and data.rows.tolist() == said["overflow_to_sample_mapping"]
    assert data.spans is not None and data.units is not None
    for i in range(len(data)):
        sides = said.sequence_ids(i)
        mapping = [list(m) for m, s in zip(said["offset_mapping"][i], sides, strict=True) if s == 1]
        assert data.spans[data.units[i] + 1 : data.units[i + 1]].tolist() == mapping


def test_a_window_that_holds_the_answer_points_at_it_and_others_at_the_first_token(
    tokenizer: Any,
) -> None:
    examples = texts(8, 20)
    answers = places(examples)
    data = windows_of(examples, tokenizer, 48, 12, answers)
    assert data.labels is not None and data.spans is not None and data.rows is not None
    assert data.labels.shape == (len(data.spans), 2) and data.labels.dtype == np.int8
    found = set()
    for i, row in enumerate(data.rows.tolist()):
        units = slice(*data.unit_offsets[i : i + 2])
        [start], [end] = (np.flatnonzero(data.labels[units, side]) for side in (0, 1))
        if start == 0:
            assert end == 0
            held = data.spans[units][1:]
            whole = held[0, 0] <= answers[row][0] and held[-1, 1] >= answers[row][1]
            assert answers[row] == NO_ANSWER or not whole
        else:
            found.add(row)
            assert (data.spans[units][start, 0], data.spans[units][end, 1]) == answers[row]
    assert found == {row for row, place in enumerate(answers) if place != NO_ANSWER}


def test_labels_that_are_not_known_are_marked(tokenizer: Any) -> None:
    data = windows_of(texts(2, 2), tokenizer, 64, 8, [NO_ANSWER, UNKNOWN])
    assert data.labels is not None
    known = data.take([0]).labels, data.take([1]).labels
    assert known[0] is not None and known[0].sum() == 2 and known[0][0].tolist() == [1, 1]
    assert known[1] is not None and (known[1] == -1).all()


def test_a_long_question_is_cut_at_half_a_window(tokenizer: Any) -> None:
    examples = texts(1, 3)
    examples = replace(examples, text=[" ".join([examples.text[0]] * 20)])
    frame = frame_of(tokenizer, True)
    data = windows_of(examples, tokenizer, 32, 4, None)
    assert question_limit(32, frame) == 16
    assert data.lengths.max() == 32
    assert data.positions is not None and set(data.positions[data.positions > 0]) >= {18}
    assert question_limit(8, frame) == 4 and question_limit(6, frame) == 2
    assert len(windows_of(examples, tokenizer, 8, 128, None)) > 1  # one token of the context each


@pytest.mark.parametrize("stride", [0, 5, 19, 20, 500])
def test_every_token_of_a_context_is_in_a_window(tokenizer: Any, stride: int) -> None:
    examples = texts(3, 12)
    data = windows_of(examples, tokenizer, 32, stride, None)
    assert data.lengths.max() <= 32 and len(data) < 400
    assert data.rows is not None and data.spans is not None and data.units is not None
    assert examples.text_pair is not None
    for row, context in enumerate(examples.text_pair):
        held = set()
        for i in np.flatnonzero(data.rows == row):
            held |= {tuple(s) for s in data.spans[data.units[i] + 1 : data.units[i + 1]].tolist()}
        said = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)
        assert held == {tuple(m) for m in said["offset_mapping"]}


def test_a_context_may_be_empty_and_texts_may_come_alone(tokenizer: Any) -> None:
    empty = windows_of(Examples(["the cat"], [""]), tokenizer, 32, 4, None)
    assert len(empty) == 1 and empty.unit_offsets.tolist() == [0, 1]
    alone = windows_of(Examples(["the good cat"]), tokenizer, 32, 4, None)
    assert alone.input_ids.tolist() == tokenizer("the good cat")["input_ids"]
    assert alone.positions is not None and alone.positions.tolist() == [0, 1, 2, 3]


def test_a_tokenizer_must_have_offsets_and_begin_with_a_special_token(tokenizer: Any) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(KdnasError, match=r"does not tell where its tokens are.*tokenizer\.json"):
        windows_of(texts(1, 1), Slow(), 32, 4, None)
    bare = small_tokenizer()
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(KdnasError, match="no special token ahead of a question"):
        windows_of(texts(1, 1), bare, 32, 4, None)


def test_the_real_tokenizer_of_minilm(minilm: Path) -> None:
    real = AutoTokenizer.from_pretrained(minilm)
    context = "Curaçao\u2019s  naïve “café” — 1,000.50 € — of the Super Bowl\u00a050 … " * 30
    start = context.index("café", 400)
    data = windows_of(Examples(["Where?"], [context]), real, 96, 32, [(start, start + 4)])
    assert data.labels is not None and data.spans is not None
    begins = np.flatnonzero(data.labels[:, 0] * (data.spans[:, 1] > 0))
    ends = np.flatnonzero(data.labels[:, 1] * (data.spans[:, 1] > 0))
    assert len(begins) >= 1
    for begin, end in zip(begins, ends, strict=True):
        assert context[data.spans[begin, 0] : data.spans[end, 1]] == "café"
