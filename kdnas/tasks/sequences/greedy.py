"""Greedy writing, of each row the likeliest token that a checkpoint's generation config allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.tasks.sequences.generate import PLAIN, length_options

# Fields of a generation config that change what is written and that rules do not have, each with
# the value that changes nothing. Of sampling the one is enough that turns it on.
LEFT_OUT: dict[str, Any] = {
    "begin_suppress_tokens": None,
    "do_sample": False,
    "dola_layers": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "exponential_decay_length_penalty": None,
    "force_words_ids": None,
    "guidance_scale": 1.0,
    "penalty_alpha": 0.0,
    "repetition_penalty": 1.0,
    "sequence_bias": None,
    "stop_strings": None,
    "watermarking_config": None,
}


@dataclass(frozen=True)
class GreedyRules:
    """How texts are written token by token.

    Attributes:
        start: What a decoder reads first.
        pad: What fills shorter texts.
        ends: Tokens that end a text.
        max_new_tokens: Tokens at most, behind `start`.
        min_new_tokens: Tokens before which no text ends.
        first: The first token written, such as a language; None: any.
        last: The last of `max_new_tokens`; None: any.
        banned: Tokens that are never written.
        no_repeat: The length of sequences of tokens that a text has once at most; 0: any number.
    """

    start: int
    pad: int
    ends: tuple[int, ...]
    max_new_tokens: int
    min_new_tokens: int = 0
    first: int | None = None
    last: int | None = None
    banned: tuple[int, ...] = ()
    no_repeat: int = 0

    def choose(self, logits: NDArray[np.float32], written: NDArray[np.int64]) -> NDArray[np.int64]:
        """The next token of each row, shape (rows,).

        Args:
            logits: Shape (rows, vocabulary); they are changed.
            written: All tokens so far, `start` included, shape (rows, tokens).
        """
        step = written.shape[1] - 1
        forced = self.first if step == 0 else None
        forced = self.last if step == self.max_new_tokens - 1 and self.last is not None else forced
        if forced is not None:
            return np.full(len(logits), forced)
        logits[:, [*self.banned, *(self.ends if step < self.min_new_tokens else ())]] = -np.inf
        if self.no_repeat:
            for row, tokens in zip(logits, written.tolist(), strict=True):
                row[list(_would_repeat(tokens, self.no_repeat))] = -np.inf
        found: NDArray[np.int64] = logits.argmax(axis=-1)
        return found


def _would_repeat(tokens: list[int], size: int) -> Iterator[int]:
    """What would end a sequence of `size` tokens that is there already.

    Golden: [5, 7, 8, 5, 7] with 3 -> 8.
    """
    last = tokens[len(tokens) - size + 1 :]
    for at in range(len(tokens) - size + 1):
        if tokens[at : at + size - 1] == last:
            yield tokens[at + size - 1]


def greedy_rules(model: Any, longest: int) -> tuple[GreedyRules, list[str]]:
    """How a model writes without beams and sampling, by its generation config.

    Args:
        model: Of transformers.
        longest: New tokens at most where its generation config says nothing of it.

    Returns:
        The rules, and names of settings of the generation config that they leave out.

    Raises:
        KdnasError: It does not say what the decoder reads first.
    """
    own = model.generation_config
    names = ("decoder_start_token_id", "bos_token_id")
    known = (getattr(config, name, None) for name in names for config in (own, model.config))
    start = next((token for token in known if token is not None), None)
    if start is None:
        raise KdnasError(
            "the student's generation_config.json lacks decoder_start_token_id; add the token that "
            "its decoder reads first"
        )
    ends, banned, left = _several(own.eos_token_id), set(_several(own.suppress_tokens)), []
    for words in own.bad_words_ids or ():
        if len(words) > 1:
            left.append("bad_words_ids")
        elif words[0] not in ends:
            banned.add(words[0])
    for name, none in LEFT_OUT.items():
        if getattr(own, name, none) not in (None, none):
            left.append(name)
    most = own.max_new_tokens or length_options(model, longest).get("max_new_tokens")
    least = own.min_new_tokens if own.min_new_tokens is not None else (own.min_length or 0) - 1
    pad = own.pad_token_id if own.pad_token_id is not None else next(iter(ends), start)
    rules = GreedyRules(
        int(start),
        int(pad),
        ends,
        most or own.max_length - 1,
        max(0, least),
        own.forced_bos_token_id,
        # Of several, transformers scores all alike and then takes the lowest.
        min(_several(own.forced_eos_token_id), default=None),
        tuple(sorted(banned)),
        own.no_repeat_ngram_size or 0,
    )
    return rules, sorted(set(left))


def greedy_config(rules: GreedyRules) -> Any:
    """The generation config with which a model of transformers writes by these rules alone."""
    from transformers import GenerationConfig

    return GenerationConfig(
        decoder_start_token_id=rules.start,
        pad_token_id=rules.pad,
        eos_token_id=list(rules.ends) or None,
        max_new_tokens=rules.max_new_tokens,
        min_new_tokens=rules.min_new_tokens or None,
        forced_bos_token_id=rules.first,
        forced_eos_token_id=rules.last,
        suppress_tokens=list(rules.banned) or None,
        no_repeat_ngram_size=rules.no_repeat or None,
        num_beams=1,
        **PLAIN,
        do_sample=False,
    )


def _several(tokens: Any) -> tuple[int, ...]:
    """One token, several, or none."""
    if tokens is None:
        return ()
    return tuple(map(int, tokens)) if isinstance(tokens, list | tuple) else (int(tokens),)
