"""Pairs of a corpus's texts, so that a general student learns to compare two texts, too."""

from __future__ import annotations

import numpy as np

from kdnas.recipes.transfer.sources import near

Pair = tuple[str, str]

BLOCK = 4096


def similar_pairs(texts: list[str], share: float, seed: int = 0) -> tuple[list[str], list[Pair]]:
    """Splits texts into single ones and pairs of similar ones.

    Args:
        texts: All different.
        share: Of the texts, how many become the first of a pair.
        seed: Decides which, and with which of those that are most like it.

    Returns:
        The texts that stay alone, and the pairs. Likeness is looked for among some thousands of
        texts at a time.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))
    alone: list[str] = []
    pairs: list[Pair] = []
    for start in range(0, len(texts), BLOCK):
        block = [texts[i] for i in order[start : start + BLOCK]]
        first = block[: round(share * len(block))]
        found = near(first, block)
        for text in block:
            others = found.get(text)
            if others:
                pairs.append((text, others[int(rng.integers(len(others)))]))
            else:
                alone.append(text)
    return alone, pairs
