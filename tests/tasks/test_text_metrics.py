"""BLEU, chrF and ROUGE are those of their packages, also of resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from kdnas.tasks import TASK_TYPES, load_spec
from kdnas.tasks.metrics import known_rows, score_intervals
from kdnas.tasks.types.text_metrics import METRICS, signatures
from kdnas.tasks.types.values import object_rows

SAID = [
    "The dog bit the man.",
    "It wasn't surprising.",
    "The man had just bitten him.",
    "a cat",
]
GIVEN = [
    ("The dog bit the man.", "The dog had bitten the man."),
    ("It was not unexpected.", "No one was surprised."),
    ("The man bit him first.", "The man had bitten the dog."),
    ("a cat sat on the mat",),
]
SACREBLEU = {"bleu": BLEU, "chrf": CHRF}


def streams(rows: Any) -> list[list[str | None]]:
    """References as sacrebleu takes them."""
    return [[row[i] if i < len(row) else None for row in rows] for i in range(2)]


@pytest.mark.parametrize("name", SACREBLEU)
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [0, 1, 2], [3], [1, 1, 0, 3, 3]])
def test_bleu_and_chrf_are_those_of_sacrebleu(name: str, rows: list[int]) -> None:
    said, given = [SAID[i] for i in rows], [GIVEN[i] for i in rows]
    expected = SACREBLEU[name]().corpus_score(said, streams(given)).score
    assert METRICS[name](object_rows(said), object_rows(given)) == pytest.approx(expected)


@pytest.mark.parametrize("name", SACREBLEU)
def test_a_second_reference_that_is_better_raises_a_score(name: str) -> None:
    poor = [("Nobody knows why.", text) for text in SAID]
    expected = SACREBLEU[name]().corpus_score(SAID, streams(poor)).score
    found = METRICS[name](object_rows(SAID), object_rows(poor))
    assert found == pytest.approx(expected) == 100.0
    first = object_rows([(one,) for one, _ in poor])
    assert METRICS[name](object_rows(SAID), first) < 20


def test_goldens() -> None:
    # Those of sacrebleu's README, of its example with two references.
    said, given = object_rows(SAID[:3]), object_rows(GIVEN[:3])
    assert METRICS["bleu"](said, given) == pytest.approx(48.53, abs=0.005)
    assert METRICS["rouge1"](object_rows(["the cat"]), object_rows([("the cat sat",)])) == (
        pytest.approx(80.0)
    )
    assert METRICS["rougeL"](object_rows(["b a"]), object_rows([("a b",)])) == pytest.approx(50.0)


@pytest.mark.parametrize("name", SACREBLEU)
def test_scores_of_resamples_come_from_sums_of_rows(name: str) -> None:
    said, given = object_rows(SAID), object_rows(GIVEN)
    rows = np.array([[0, 1, 2, 3], [0, 0, 3, 2]])
    found = METRICS[name].on(said, given)(rows)
    for row, value in zip(rows, found, strict=True):
        again = SACREBLEU[name]().corpus_score(list(said[row]), streams(given[row])).score
        assert value == pytest.approx(again)


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_takes_the_best_reference(name: str) -> None:
    scorer = RougeScorer([name], use_stemmer=True)
    expected = [
        max(scorer.score(one, text)[name].fmeasure for one in references)
        for text, references in zip(SAID, GIVEN, strict=True)
    ]
    found = METRICS[name](object_rows(SAID), object_rows(GIVEN))
    assert found == pytest.approx(100 * np.mean(expected))


def test_nothing_said_scores_nothing() -> None:
    empty, given = object_rows([""] * 4), object_rows(GIVEN)
    assert {name: metric(empty, given) for name, metric in METRICS.items()} == (
        dict.fromkeys(METRICS, 0.0)
    )


def test_signatures_say_how_many_references_there_are() -> None:
    assert signatures(GIVEN[:3])["bleu"].startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp")
    assert signatures(GIVEN)["chrf"].startswith("nrefs:var|")
    assert signatures(GIVEN[3:])["bleu"].startswith("nrefs:1|")
    kind = TASK_TYPES["sequence-to-sequence"]
    found = kind.details(object_rows(SAID), object_rows(GIVEN), ())
    assert found == {"signatures": signatures(GIVEN)}


def test_intervals_enclose_the_scores() -> None:
    spec = load_spec("multi30k")
    found = known_rows(spec, object_rows(SAID * 5), object_rows(GIVEN * 5))
    for name, (low, high) in score_intervals(spec, found).items():
        assert low < METRICS[name](*found) < high
