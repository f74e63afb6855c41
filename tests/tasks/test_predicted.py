"""Cells of a black-box teacher's predictions as logits, for each type of task."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from support.tiny import small_tokenizer

from kdnas.tasks import TASK_TYPES, Examples, encode
from kdnas.tasks.examples import BadLabel
from kdnas.tasks.predicted import LEAST, PredictionError
from kdnas.tasks.questions.answer_spans import best_spans
from kdnas.tasks.questions.references import References, read_references

NAMES = ("negative", "positive")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
CONTEXT = "the tower was built in 1889 and painted in 1968"


def read(kind: str, cells: dict[str, Any], labels: tuple[str, ...] = NAMES, **more: Any) -> Any:
    examples = Examples(**{"text": ["a text"], "task_type": kind, "classes": labels, **more})
    return TASK_TYPES[kind].read_prediction(cells, labels, examples, 0)


@pytest.mark.parametrize(
    ("cells", "shares"),
    [
        ({"probabilities": [0.2, 0.8]}, [0.2, 0.8]),
        ({"probabilities": np.array([0.2, 0.8])}, [0.2, 0.8]),
        ({"probabilities": {"Positive": 0.8, "negative": 0.2}}, [0.2, 0.8]),
        ({"probabilities": {"positive": 1.0}}, [LEAST, 1]),  # a teacher may tell the best alone
        ({"probabilities": {"positive": 1.0, "negative": None}}, [LEAST, 1]),  # as in Parquet
        ({"probabilities": [0.199, 0.796]}, [0.2, 0.8]),  # rounded
        ({"probabilities": [0.0, 0.99]}, [LEAST, 1]),
        ({"probabilities": [-1e-8, 1 + 1e-8]}, [LEAST, 1]),  # in single precision
        ({"label": "positive", "score": 0.497}, [0.5, 0.5]),
        ({"logits": [1.0, 1.0 + math.log(4)]}, [0.2, 0.8]),
        ({"logits": {"negative": 0, "positive": math.log(4)}}, [0.2, 0.8]),
        ({"label": "positive"}, [0.05, 0.95]),
        ({"label": 1}, [0.05, 0.95]),
        ({"label": "positive", "score": 0.8}, [0.2, 0.8]),
        ({"label": "negative", "score": 0.2, "probabilities": [0.2, 0.8]}, [0.2, 0.8]),
    ],
)
def test_classification(cells: dict[str, Any], shares: list[float]) -> None:
    logits = read("classification", cells)
    assert softmax(logits) == pytest.approx(np.array(shares) / sum(shares), rel=1e-6)


def test_a_label_of_three() -> None:
    logits = read("classification", {"label": "b"}, ("a", "b", "c"))
    assert softmax(logits) == pytest.approx([0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3])


def test_thirds_of_two_decimal_places() -> None:
    names = ("a", "b", "c")
    thirds = read("classification", {"probabilities": [0.33, 0.33, 0.33]}, names)
    assert softmax(thirds) == pytest.approx([1 / 3] * 3)
    third = read("classification", {"label": "b", "score": 0.33}, names)
    assert softmax(third) == pytest.approx([1 / 3] * 3, rel=1e-5) and third.argmax() == 1


@pytest.mark.parametrize(
    ("cells", "value"),
    [({"score": 3.5}, 3.5), ({"label": 2}, 2.0), ({"logits": [1.25]}, 1.25)],
)
def test_regression(cells: dict[str, Any], value: float) -> None:
    assert read("regression", cells, ()).tolist() == [value]


@pytest.mark.parametrize(
    ("cells", "shares"),
    [
        ({"probabilities": {"negative": 0.9, "positive": 0.7}}, [0.9, 0.7]),
        ({"probabilities": [0.9, 0.7], "labels": []}, [0.9, 0.7]),
        ({"logits": [0.0, 1.0]}, [0.5, expit(1.0)]),
        ({"labels": ["positive"]}, [0.05, 0.95]),
        ({"labels": []}, [0.05, 0.05]),
        ({"label": "negative"}, [0.95, 0.05]),
        ({"probabilities": [0.0, 1.0]}, [LEAST, 1 - LEAST]),
    ],
)
def test_multi_label(cells: dict[str, Any], shares: list[float]) -> None:
    assert expit(read("multi-label", cells)) == pytest.approx(shares, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "cells", "message"),
    [
        (
            "classification",
            {"probabilities": [0.2, 0.2]},
            "the numbers under 'probabilities' add up to 0.4; probabilities add up to 1 "
            "(give numbers of another kind as 'logits')",
        ),
        (
            "classification",
            {"probabilities": [0.1, 0.2, 0.7]},
            "3 numbers under 'probabilities' for 2 labels; give one for each of negative, positive",
        ),
        (
            "classification",
            {"probabilities": {"neutral": 1.0}},
            "unknown label 'neutral' under 'probabilities'; give one of negative, positive",
        ),
        (
            "classification",
            {"probabilities": [-0.5, 1.5]},
            "-0.5 under 'probabilities'; a probability is from 0 to 1",
        ),
        (
            "classification",
            {"probabilities": 0.5},
            "a number under 'probabilities'; give a list, or an object with a number for each of "
            "negative, positive",
        ),
        ("classification", {"logits": [0.0, math.nan]}, "nan under 'logits'; give a number"),
        ("classification", {"logits": [0.0, "a"]}, "text under 'logits'; give a number"),
        (
            "classification",
            {"logits": {"positive": 1.0}},
            "no number for 'negative' under 'logits'; give one",
        ),
        (
            "classification",
            {"probabilities": {"positive": 0.5, "Positive": 0.5}},
            "the label 'Positive' twice under 'probabilities'; give one",
        ),
        (
            "classification",
            {"label": "good"},
            "unknown label 'good' under 'label'; give one of negative, positive",
        ),
        (
            "classification",
            {"label": ["positive"]},
            "a list as a label under 'label'; give one of negative, positive",
        ),
        ("classification", {"score": 0.9}, "a score without a label; give both"),
        (
            "classification",
            {"label": "positive", "score": 0.3},
            "the score 0.3 of a label is below 1/2; give the probability of the label that the "
            "teacher says",
        ),
        *(
            (kind, {name: cell}, f"1e+300 under {name!r} is too large; give numbers up to 3.4e+38")
            for kind, name, cell in (
                ("classification", "logits", [1e300, -1e300]),
                ("multi-label", "logits", [0.5, 1e300]),
                ("regression", "score", 1e300),
            )
        ),
        ("regression", {"score": "high"}, "text under 'score'; give a number"),
        (
            "multi-label",
            {"probabilities": {"positive": 0.5}},
            "no number for 'negative' under 'probabilities'; give one",
        ),
        (
            "multi-label",
            {"logits": [0.5, 10**400]},
            f"1{'0' * 36}... under 'logits'; give a number",
        ),
        (
            "multi-label",
            {"labels": ["positive", "positive"]},
            "the label 'positive' twice under 'labels'; give it once",
        ),
    ],
)
def test_what_is_no_prediction(kind: str, cells: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictionError) as caught:
        read(kind, cells)
    assert str(caught.value) == message


def words(cells: dict[str, Any], text: str = "Ann saw New York") -> np.ndarray:
    from kdnas.tasks.tagging.words import split_words

    found: np.ndarray = read(
        "token-classification", cells, TAGS, text=[text], words=[split_words(text)]
    )
    return found


ENTITIES = [
    {"type": "PER", "text": "Ann", "start": 0, "end": 3, "score": 0.9},
    {"type": "LOC", "text": "New York", "start": 8, "end": 16, "score": 0.9},
]


def test_words() -> None:
    tags = words({"tags": ["B-PER", "O", "B-LOC", "I-LOC"]})
    assert softmax(tags, -1)[0] == pytest.approx([0.02, 0.92, 0.02, 0.02, 0.02])
    assert tags.argmax(-1).tolist() == [1, 0, 3, 4]
    assert np.allclose(words({"entities": ENTITIES}), tags)
    shares = [{"O": 1.0}, {"O": 0.5, "B-PER": 0.5}, [0, 0, 0, 1, 0], {"I-LOC": 1.0}]
    given = softmax(words({"probabilities": shares, "tags": ["O"] * 4}), -1)
    assert given[1] == pytest.approx([0.5, 0.5, 0, 0, 0], abs=1e-5)
    assert given.argmax(-1).tolist()[2:] == [3, 4]
    assert words({"tags": []}, "").shape == (0, 5)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"tags": ["O"]}, "1 under 'tags' for 4 words; give one a word"),
        ({"tags": "O O O O"}, "text under 'tags'; give a list with one a word"),
        ({"tags": ["O", "O", "O", "B-ORG"]}, "unknown label 'B-ORG' under 'tags'; give one of O, "),
        ({"probabilities": [[1, 0, 0, 0, 0]] * 3}, "3 under 'probabilities' for 4 words"),
        ({"probabilities": [[0.5, 0, 0, 0, 0]] * 4}, "the numbers under 'probabilities' add up to"),
        (
            {"entities": [{"type": "ORG", "start": 0, "end": 3}]},
            "an entity of the unknown type 'ORG'; give one of PER, LOC",
        ),
        ({"entities": [{"type": "PER", "start": 0, "end": 99}]}, "the entity {"),
        ({"entities": [{"type": "PER", "start": 3, "end": 4}]}, "no word at characters 3 to 4"),
        ({"entities": ENTITIES[:1] * 2}, "two entities at characters 0 to 3; give one"),
        ({"entities": ["Ann"]}, "text as an entity; give {"),
    ],
)
def test_what_are_no_tags(cells: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictionError) as caught:
        words(cells)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("every", [False, True])
def test_logits_of_pieces(every: bool) -> None:
    """A word's further pieces are inside of its entity, as those of labelled examples are."""
    from kdnas.tasks.tagging.words import split_words

    kind, text = TASK_TYPES["token-classification"], "playing unwanted things"
    label = (1, 0, 3)
    examples = Examples(
        [text],
        labels=kind.label_array([label]),
        task_type=kind.name,
        words=[split_words(text)],
        classes=TAGS,
        predictions=[kind.prediction_of(label, TAGS)],
    )
    data = encode(examples, small_tokenizer(), 32, options={"label_all_pieces": every})
    assert data.teacher_logits is not None and data.labels is not None
    assert data.teacher_logits.argmax(-1).tolist() == data.labels.tolist()
    assert data.take([0]).teacher_logits is not None


def places(cells: dict[str, Any]) -> Any:
    return read("question-answering", cells, (), text_pair=[CONTEXT])


def test_answers() -> None:
    assert places({"answer": "1889", "start": 23, "score": 0.81}) == (((23, 0.9),), ((27, 0.9),))
    assert places({"answer": "1889"}) == (((23, 0.9),), ((27, 0.9),))  # there once
    assert places({"answer": ""}) == (((-1, 0.9),), ((-1, 0.9),))
    given = places({"starts": [[23, 0.7], [None, 0.2]], "ends": [[27, 0.9]], "answer": ""})
    assert given == (((23, 0.7), (-1, 0.2)), ((27, 0.9),))


@pytest.mark.parametrize(
    ("starts", "same"),
    [
        ([[23, 0.6], [30, 0.035542587]], True),
        ([[30, 0.035542588], [23, 0.599]], True),
        ([[23, 0.6], [30, 0.035542588], [None, 1e-5]], True),  # so small that some files lack it
        ([[23, 0.6], [30, 0.037]], False),
        ([[23, 0.6], [31, 0.035542588]], False),
        ([[23, 0.6]], False),
    ],
)
def test_answers_that_are_nearly_the_same(starts: list[Any], same: bool) -> None:
    """Of one question in two batches, which round differently."""
    kind = TASK_TYPES["question-answering"]
    ends = [[27, 0.9]]
    first = places({"starts": [[23, 0.6], [30, 0.035542588]], "ends": ends})
    other = places({"starts": starts, "ends": ends})
    assert kind.same_prediction(first, other) == kind.same_prediction(other, first) == same
    assert not kind.same_prediction(first, places({"starts": [[23, 0.6]], "ends": [[9, 0.9]]}))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"answer": "in"}, "the answer 'in' is 3 times in its context; give its 'start'"),
        ({"answer": "1890"}, "the answer '1890' is not in its context; give its 'start'"),
        ({"answer": "1889", "start": 3}, "'1889' at character 3, where its context has"),
        ({"answer": "1889", "start": "x"}, "text under 'start'; give a number"),
        ({"answer": "1889", "start": 10**400}, f"1{'0' * 36}... under 'start'; give a number"),
        ({"answer": 1889}, "a number under 'answer'; give a text, empty for none"),
        ({"score": 0.5}, "no 'answer'; give one, empty for none"),
        ({"answer": "", "score": 7}, "7 under 'score'; a probability is from 0 to 1"),
        ({"starts": [[1, 0.9], [2, 0.9]], "ends": []}, "the probabilities under 'starts' add up"),
        ({"starts": [[999, 0.9]], "ends": []}, "999 under 'starts': a context of 47 characters"),
        ({"starts": [1], "ends": []}, "1 under 'starts'; give a list of [character, probability]"),
    ],
)
def test_what_are_no_answers(cells: dict[str, Any], message: str) -> None:
    with pytest.raises(PredictionError) as caught:
        places(cells)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("length", [32, 256])
def test_logits_of_windows(length: int) -> None:
    """They point where labels do, in every window; and decode to the answer."""
    kind = TASK_TYPES["question-answering"]
    context = f"{CONTEXT} and then {CONTEXT} again and again"
    cells = [
        {"text": ["1889"], "answer_start": [23]},
        {"text": ["in 1968"], "answer_start": [40]},
        [],
    ]
    labels = [read_references(cell, context) for cell in cells]
    assert not any(isinstance(label, BadLabel) for label in labels)
    count = len(labels)
    examples = Examples(
        ["when"] * count,
        [context] * count,
        labels=kind.label_array(labels),
        task_type=kind.name,
        predictions=[kind.prediction_of(label, ()) for label in labels],
    )
    data = encode(examples, small_tokenizer(), length, options={"window_stride": 4})
    logits, offsets = data.teacher_logits, data.unit_offsets
    assert logits is not None and data.labels is not None
    assert (len(data) > count) == (length == 32)
    for start, end in pairwise(offsets):
        assert logits[start:end].argmax(0).tolist() == data.labels[start:end].argmax(0).tolist()
        assert np.exp(logits[start:end]).sum(0) == pytest.approx([1, 1], abs=1e-4)
    spans = best_spans(logits, data)
    said = [context[a:b] for a, b in zip(spans.start, spans.end, strict=True)]
    assert said[:2] == ["1889", "in 1968"] and spans.doubt[2] > 0
    assert isinstance(labels[0], References)
