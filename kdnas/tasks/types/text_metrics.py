"""BLEU, chrF and ROUGE of texts against references, from sums over rows.

All are between 0 and 100, as papers print them. BLEU and chrF are those of sacrebleu (Post 2018, A
Call for Clarity in Reporting BLEU Scores), ROUGE is that of the package rouge-score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.types.metric import Array, Metric, ratio

Counts = NDArray[np.float64]
PERCENT = 100.0


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU()


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


@cache
def _rouge(name: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([name], use_stemmer=True)


SCORERS: dict[str, Callable[[], Any]] = {"bleu": _bleu, "chrf": _chrf}


def signatures(references: Sequence[Sequence[str]]) -> dict[str, str]:
    """Signatures of sacrebleu's scores on such references."""
    counts = {len(one) for one in references}
    said = {}
    for name, scorer in SCORERS.items():
        one = scorer()
        one.num_refs = counts.pop() if len(counts) == 1 else -1
        counts.add(one.num_refs)
        said[name] = str(one.get_signature())
    return said


def _counts(scorer: Callable[[], Any], predicted: Array, truth: Array) -> Counts:
    """sacrebleu's statistics of each row: n-grams that match, and how many there are."""
    most = max((len(one) for one in truth), default=1)
    streams = [[one[i] if i < len(one) else None for one in truth] for i in range(most)]
    found = scorer()._extract_corpus_statistics(list(predicted), streams)
    return np.array(found, np.float64)


def _score(scorer: Callable[[], Any], sums: Array) -> Array:
    """Scores of summed statistics, shape (..., k) to (...)."""
    rows = sums.reshape(-1, sums.shape[-1])
    of = scorer()._compute_score_from_stats
    scores = [of(np.rint(row).astype(int).tolist()).score for row in rows]
    return np.array(scores, np.float64).reshape(sums.shape[:-1])


def _rouge_counts(name: str, predicted: Array, truth: Array) -> Counts:
    """The F measure of each row with the reference that gives most, and 1."""
    score = _rouge(name).score_multi
    found = [
        (score(list(targets), text)[name].fmeasure, 1.0)
        for text, targets in zip(predicted, truth, strict=True)
    ]
    return np.array(found, np.float64).reshape(-1, 2)


def _percent(sums: Array) -> Array:
    return PERCENT * ratio(sums[..., 0], sums[..., 1])


def _of_sacrebleu(name: str, hub_name: str) -> Metric:
    scorer = SCORERS[name]
    kept = partial(_score, scorer)
    return Metric(kept, name, hub_name, counts=partial(_counts, scorer), best=PERCENT)


def _of_rouge(name: str, hub_name: str) -> Metric:
    return Metric(_percent, "rouge", hub_name, counts=partial(_rouge_counts, name), best=PERCENT)


METRICS = {
    "bleu": _of_sacrebleu("bleu", "BLEU"),
    "chrf": _of_sacrebleu("chrf", "chrF"),
    "rouge1": _of_rouge("rouge1", "ROUGE-1"),
    "rouge2": _of_rouge("rouge2", "ROUGE-2"),
    "rougeL": _of_rouge("rougeL", "ROUGE-L"),
    "rougeLsum": _of_rouge("rougeLsum", "ROUGE-Lsum"),
}
