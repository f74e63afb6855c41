"""Texts as bags of words: what the linear models of the floor read."""

from __future__ import annotations

from typing import Any

from kdnas.tasks.examples import Examples

FEATURES = 200_000


class BagOfWords:
    """TF-IDF features of one- and two-word terms, each text of a pair with features of its own."""

    def __init__(self) -> None:
        self.vectorizers: list[Any] = []

    def fit(self, examples: Examples) -> Any:
        """Learns the terms; returns the features, (examples, terms), None where there are none."""
        from scipy import sparse

        columns = _columns(examples)
        self.vectorizers = [_vectorizer() for _ in columns]
        pairs = zip(self.vectorizers, columns, strict=True)
        try:
            return sparse.hstack([v.fit_transform(texts) for v, texts in pairs]).tocsr()
        except ValueError:  # an empty vocabulary
            return None

    def features(self, examples: Examples) -> Any:
        """Shape (examples, terms)."""
        from scipy import sparse

        pairs = zip(self.vectorizers, _columns(examples), strict=True)
        return sparse.hstack([v.transform(texts) for v, texts in pairs]).tocsr()


def _columns(examples: Examples) -> list[list[str]]:
    return [part for part in (examples.text, examples.text_pair) if part is not None]


def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), max_features=FEATURES, token_pattern=r"(?u)\b\w+\b"
    )
