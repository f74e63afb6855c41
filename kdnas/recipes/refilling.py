"""Rows with words that the masked LM of the teacher's checkpoint predicted.

After Jiao et al. 2020, TinyBERT, with the teacher's own masked LM.
"""

from __future__ import annotations

from torch import Tensor

from kdnas.recipes.sources import NEAREST_WORDS, Random, Row, Sources, pick, rewritten

MASKED = 0.15


def refilled_rows(sources: Sources, rows: list[Row], rng: Random) -> list[Row]:
    """Rows in which some words were masked, all at once, and predicted.

    Args:
        sources: With a masked LM.
        rows: One or two texts each.
        rng: Draws the words to mask, and one of the likeliest words for each.
    """
    assert sources.masked_lm is not None
    words, mask = list(sources.known_words), sources.tokenizer.mask_token
    if not words:
        return []
    hit: list[list[str]] = []
    masked: list[str] = []

    def hide(text: str) -> str:
        own: list[str] = []

        def masking(word: str) -> str:
            own.append(word)
            return str(mask)

        # A mask of the text's own is not ours to fill.
        share = 0.0 if mask in text else MASKED
        hit.append(own)
        masked.append(rewritten(sources, text, share, rng, masking))
        return masked[-1]

    hidden = [(hide(first), None if second is None else hide(second)) for first, second in rows]
    logits = sources.masked_lm.logits(masked, list(sources.known_words.values()))
    filled = iter(
        _filled(text, mask, own, found, words, rng)
        for text, own, found in zip(masked, hit, logits, strict=True)
    )
    return [(next(filled), None if second is None else next(filled)) for _, second in hidden]


def _filled(
    text: str, mask: str, own: list[str], logits: Tensor, words: list[str], rng: Random
) -> str:
    """A text with each mask replaced by one of the likeliest words, or by its own where cut off.

    Args:
        text: With masks.
        mask: The mask token.
        own: The words that stood there.
        logits: Shape (masks, words), without those that were cut off.
        words: What they are the logits of.
        rng: Draws.
    """
    best = logits.topk(min(NEAREST_WORDS + 1, len(words))).indices.tolist()
    for i, word in enumerate(own):
        likely = [words[j] for j in best[i]] if i < len(best) else []
        others = [other for other in likely if other.lower() != word.lower()]
        text = text.replace(mask, pick(others[:NEAREST_WORDS], rng) if others else word, 1)
    return text
