"""Tags and entities: every scheme, and the metrics beside seqeval's own."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest
from seqeval import metrics as seqeval
from seqeval.scheme import BILOU, IOB2, IOBES
from tokenizers import Regex, pre_tokenizers

from kdnas.tasks import TASK_TYPES, TaskSpec
from kdnas.tasks.encode import TokenPlaces
from kdnas.tasks.metrics import Answers, metrics_of, score_intervals
from kdnas.tasks.tagging.entities import Entity, Tags, iob1_to_iob2
from kdnas.tasks.tagging.words import (
    RUN,
    WORDS_IN_RUN,
    joined_words,
    piece_words,
    split_words,
)
from kdnas.tasks.types.values import object_rows

NER = TASK_TYPES["token-classification"]
SCHEMES = {"BI": IOB2, "BIES": IOBES, "BILU": BILOU}
METRICS = ["f1", "precision", "recall", "f1_strict", "precision_strict", "recall_strict"]


def spec_of(labels: list[str], metrics: list[str]) -> TaskSpec:
    entry = {"name": "t", "type": "token-classification", "labels": labels, "metrics": metrics}
    return TaskSpec.model_validate(entry)


def rows_of(rng: random.Random, labels: list[str], count: int) -> list[list[int]]:
    """Random tags, most of which no scheme allows in their order; some rows are empty."""
    return [
        [rng.choice([0, rng.randrange(len(labels))]) for _ in range(rng.randint(0, 12))]
        for _ in range(count)
    ]


@pytest.mark.parametrize("parts", SCHEMES)
@pytest.mark.parametrize("seed", range(4))
def test_metrics_are_those_of_seqeval(parts: str, seed: int) -> None:
    rng = random.Random(seed)
    labels = ["O", *(f"{part}-{kind}" for kind in ("PER", "LOC", "a-b") for part in parts)]
    truth = rows_of(rng, labels, 60)
    said = [[i if rng.random() < 0.7 else rng.randrange(len(labels)) for i in r] for r in truth]
    spec = spec_of(labels, [*METRICS, "word_accuracy"])
    found = metrics_of(spec, Answers(object_rows(said), object_rows(truth)))
    named: Any = [[[labels[i] for i in row] for row in side] for side in (truth, said)]
    # Its default mode knows no L and U, which are E and S.
    plain: Any = [
        [[w.replace("L-", "E-", 1).replace("U-", "S-", 1) for w in row] for row in side]
        for side in named
    ]
    if parts != "BILU":
        plain = named
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in METRICS:
            score = getattr(seqeval, f"{name.removesuffix('_strict')}_score")
            strict = {"mode": "strict", "scheme": SCHEMES[parts]}
            wanted = score(*named, **strict) if "strict" in name else score(*plain)
            assert found[name] == pytest.approx(wanted, abs=1e-12), name
        assert found["word_accuracy"] == pytest.approx(seqeval.accuracy_score(*named), abs=1e-12)
        report = seqeval.classification_report(*plain, output_dict=True)
    details = NER.details(object_rows(said), object_rows(truth), labels)
    assert details is not None and "confusion" not in details
    for one in details["classes"]:
        theirs = report[one["name"]]
        assert one["f1"] == pytest.approx(theirs["f1-score"], abs=1e-12)
        assert one["precision"] == pytest.approx(theirs["precision"], abs=1e-12)
        assert one["recall"] == pytest.approx(theirs["recall"], abs=1e-12)
        assert one["support"] == theirs["support"]


def test_scores_without_entities_are_zero_and_words_that_were_cut_are_errors() -> None:
    spec = spec_of(["B-A", "I-A", "O"], ["f1", "precision", "recall", "f1_strict", "word_accuracy"])
    none = object_rows([(2, 2), ()])
    found = metrics_of(spec, Answers(none, none))
    assert found == {
        "f1": 0,
        "precision": 0,
        "recall": 0,
        "f1_strict": 0,
        "word_accuracy": 1,
    }
    cut = metrics_of(spec, Answers(object_rows([(0, -1, -1)]), object_rows([(0, 2, 0)])))
    assert cut["recall"] == 0.5 and cut["word_accuracy"] == pytest.approx(2 / 3)


def test_intervals_are_of_sentences_and_take_no_time() -> None:
    rng = random.Random(0)
    labels = ["O", "B-A", "I-A"]
    truth = rows_of(rng, labels, 3000)
    said = [[i if rng.random() < 0.8 else 0 for i in row] for row in truth]
    spec = spec_of(labels, ["f1"])
    found = Answers(object_rows(said), object_rows(truth))
    low, high = score_intervals(spec, found)["f1"]
    assert low < metrics_of(spec, found)["f1"] < high < low + 0.05


@pytest.mark.parametrize(
    ("names", "scheme", "types", "row", "entities"),
    [
        (["O", "B-x", "I-x"], "IOB2", ["x"], [2, 2, 1, 0], [("x", 0, 2), ("x", 2, 3)]),
        (["o", "b_x", "i_x"], "IOB2", ["x"], [1, 2, 0], [("x", 0, 2)]),
        (["B", "I", "O"], "IOB2", ["_"], [0, 1, 2, 0], [("_", 0, 2), ("_", 3, 4)]),
        (
            ["O", "B-x", "M-x", "E-x", "S-x"],
            "IOBES",
            ["x"],
            [1, 2, 3, 4],
            [("x", 0, 3), ("x", 3, 4)],
        ),
        (["O", "PER", "LOC"], "bare", ["PER", "LOC"], [1, 1, 2], [("PER", 0, 2), ("LOC", 2, 3)]),
        (["NOUN", "VERB"], None, ["NOUN", "VERB"], [], []),
        (
            ["O", "name", "e-mail", "phone"],
            "bare",
            ["name", "e-mail", "phone"],
            [2, 2, 0, 1],
            [("e-mail", 0, 2), ("name", 3, 4)],
        ),
        (["O", "e-mail", "S-number"], "bare", ["e-mail", "S-number"], [2, 2], [("S-number", 0, 2)]),
        (["O", "name", "I_94"], "bare", ["name", "I_94"], [2, 2], [("I_94", 0, 2)]),
        # Parts of few sentences.
        (["O", "S-x", "S-y"], "IOBES", ["x", "y"], [1, 1], [("x", 0, 1), ("x", 1, 2)]),
        (["O", "U-x"], "IOBES", ["x"], [1], [("x", 0, 1)]),
        (["O", "I-x", "E-x", "S-y"], "IOBES", ["x", "y"], [3], [("y", 0, 1)]),
        (["O", "E-x", "S-x"], "IOBES", ["x"], [2], [("x", 0, 1)]),
        (["O", "B-x", "L-y"], "IOBES", ["x", "y"], [1], [("x", 0, 1)]),
        (["o", "i-x", "i-y"], "IOB2", ["x", "y"], [1], [("x", 0, 1)]),
        (["O", "I-x", "I-y", "strange"], None, ["x", "y", "strange"], [], []),
        (["O", "B-x", "strange"], None, ["x", "strange"], [], []),
    ],
)
def test_schemes(
    names: list[str], scheme: str | None, types: list[str], row: list[int], entities: list[Any]
) -> None:
    tags = Tags(names)
    assert (tags.scheme, tags.types) == (scheme, types)
    assert tags.entities(row) == [Entity(*one) for one in entities]


def test_iob1_is_told_from_iob2() -> None:
    assert iob1_to_iob2([["I-A", "I-A", "B-A", "O"], ["I-B"]]) == [
        ["B-A", "I-A", "B-A", "O"],
        ["B-B"],
    ]
    assert iob1_to_iob2([["I", "I", "O", "I"]]) == [["B", "I", "O", "B"]]
    assert iob1_to_iob2([["I_A", "B_A", "o", "i_a"]]) == [["B_A", "B_A", "o", "B_a"]]
    assert iob1_to_iob2([["I-A", "B-a", "O"]]) == [["B-A", "B-a", "O"]]
    for rows in (
        ["B_A", "I_A"],
        ["o", "B-A"],
        ["I_A", "X"],
        ["B-A", "I-A"],
        ["O", "B-A"],
        ["I-A", "O", "B-A"],
        ["S-A", "I-B"],
        ["O"],
    ):
        assert iob1_to_iob2([rows]) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '"Hi," (Ann\'s)... U.S.-made',
            ['"', "Hi", ",", '"', "(", "Ann", "'s", ")", "...", "U.S.-made"],
        ),
        ("It 's @paul's #tag!!! $5 'll", ["It", "'s", "@paul", "'s", "#tag", "!!!", "$5", "'ll"]),
        (
            "\u6d77\u9493 \u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u0940\u0964",
            ["\u6d77", "\u9493", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0915\u0940", "\u0964"],
        ),
        (" ", []),
        ("?!", ["?", "!"]),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in split_words(text)] == words


PARTS = [
    *'asS1_.-()"@#$% ',
    "'",
    "\u2019",
    "'s",
    "'ve",
    "..",
    "\u65e5",
    "\u30fb",
    "\u0e3f",
    "\u093e",
]


def test_the_expression_for_other_programs_finds_the_same_words() -> None:
    rng = random.Random(0)
    words = splitter()
    for _ in range(5000):
        text = "".join(rng.choices(PARTS, k=rng.randint(0, 9)))
        found = [span for _, span in words.pre_tokenize_str(text)]
        assert found == [tuple(span) for span in split_words(text).tolist()], text
    for mark in ("-=.", "'s", "-", "\u30fb."):  # what would take it long is cut
        [*_, (last, (_, end))] = words.pre_tokenize_str(f"a{mark * 9000}a")
        assert last.endswith("a") and end == 2 + 9000 * len(mark)


def splitter() -> pre_tokenizers.PreTokenizer:
    """The words of a text, as the code of exports finds them."""
    runs, in_run = Regex(RUN), Regex("".join(WORDS_IN_RUN))
    split = pre_tokenizers.Split
    return pre_tokenizers.Sequence([split(runs, "removed", invert=True), split(in_run, "isolated")])


def test_pieces_belong_to_the_word_with_their_first_character() -> None:
    text, spans = joined_words(["a", "", "bcd", "e"])
    assert text == "a  bcd e"
    offsets = [(-1, -1), (0, 1), (1, 4), (4, 6), (6, 7), (7, 8), (8, 8), (-1, -1)]
    chunks = np.array([-1, 0, 1, 1, 2, 3, 4, -1])
    tokens = TokenPlaces(np.array(offsets), chunks)
    assert piece_words(tokens, spans).tolist() == [-1, 0, 2, 2, -1, 3, -1, -1]
    # A space in one chunk with the piece that begins a word marks the word.
    marked = tokens._replace(chunks=np.array([-1, 0, 1, 1, 3, 3, 4, -1]))
    assert piece_words(marked, spans).tolist() == [-1, 0, 2, 2, 3, 3, -1, -1]
    alone = TokenPlaces(np.array([(0, 1)]), np.array([0]))
    assert piece_words(alone, joined_words([""])[1]).tolist() == [-1]
