"""Targets: read from a cell, tokenised, and shifted to what a decoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples, offsets_of
from kdnas.tasks.examples import BadLabel, Label, NoLabel, is_empty, kind_of

FORM = "a text, or a list of texts"
LONGEST = 128  # of a target, in tokens, by default
_CHUNK = 4096

References = tuple[str, ...]  # the first one is learnt


class Pair(NamedTuple):
    """What decoding and scoring read of a row."""

    read: str  # the source behind the prefix
    targets: References | None  # None where they are not known
    id: str | None  # what its source calls it


def read_targets(cell: Any) -> Label:
    """The references in a cell; NoLabel where it holds none, BadLabel where it is no text.

    Golden: ' Ein Hund. ' -> ('Ein Hund.',); ['a', '', 'b'] -> ('a', 'b').
    """
    if isinstance(cell, NoLabel):
        return cell
    several = isinstance(cell, list | tuple | np.ndarray)
    cells = [one for one in cell if not is_empty(one)] if several else [cell]
    if not several and is_empty(cell):
        return NoLabel.MISSING
    for one in cells:
        if not isinstance(one, str):
            return BadLabel("a target that is no text", f"{kind_of(one)}; expected {FORM}")
    return tuple(text for one in cells if (text := one.strip())) or NoLabel.MISSING


def with_targets(
    data: EncodedExamples,
    targets: Sequence[str | None],
    tokenizer: Any,
    max_length: int,
    start: int | None,
) -> EncodedExamples:
    """Examples of sources with their targets: units are target tokens, the end token included.

    Args:
        data: One example for each source.
        targets: None where one is not known; such an example has no unit. Without any the data
            have no labels.
        tokenizer: Of both.
        max_length: Most tokens of a target, special tokens included.
        start: What a decoder reads first, before all tokens but the last; None: the last one, as
            mBART does.
    """
    ids = _token_ids(targets, tokenizer, max_length)
    counts = np.array([len(row) for row in ids], dtype=np.int64)
    labels = np.concatenate([np.zeros(0, np.int64), *ids])
    unlabelled = all(target is None for target in targets)
    units = offsets_of(counts)
    read = np.zeros(len(labels), np.int32)
    read[1:] = labels[:-1]
    begun, ended = units[:-1][counts > 0], units[1:][counts > 0] - 1
    read[begun] = labels[ended] if start is None else start
    places = np.arange(len(labels)) - np.repeat(units[:-1], counts)
    return replace(
        data,
        labels=None if unlabelled else labels,
        units=units,
        positions=places.astype(np.int32),
        decoder_ids=read,
    )


def _token_ids(
    targets: Sequence[str | None], tokenizer: Any, max_length: int
) -> list[NDArray[np.int64]]:
    """Tokens of each target; none where it is not known."""
    found = [np.zeros(0, np.int64)] * len(targets)
    known = [(row, text) for row, text in enumerate(targets) if text is not None]
    if known:
        check_language(tokenizer)
    for begin in range(0, len(known), _CHUNK):
        part = known[begin : begin + _CHUNK]
        chunk = tokenizer(
            text_target=[text for _, text in part],
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        for (row, _), ids in zip(part, chunk, strict=True):
            found[row] = np.array(ids, dtype=np.int64)
    return found


def check_language(tokenizer: Any) -> None:
    """Refuses a tokenizer that marks sources with their language, and does not know the targets'.

    It would mark targets with the language of the sources.

    Raises:
        KdnasError: It is one.
    """
    source = getattr(tokenizer, "src_lang", None)
    if source is not None and getattr(tokenizer, "tgt_lang", source) is None:
        raise KdnasError(
            f"the tokenizer ({type(tokenizer).__name__}) marks texts with their language and has "
            "none for targets; set tokenizer.src_lang and tokenizer.tgt_lang, such as 'en_XX' and "
            "'de_DE', and save it beside the model with tokenizer.save_pretrained"
        )


def last_token(tokenizer: Any) -> int:
    """What every target ends with: its language, or the end token.

    Raises:
        KdnasError: See `check_language`.
    """
    return int(_token_ids(["a"], tokenizer, LONGEST)[0][-1])


def first_read(config: Any) -> int | None:
    """What a decoder reads first, by its model's own shift; None: the last token of the target.

    Raises:
        KdnasError: The config does not say it.
    """
    import torch
    from torch import nn
    from transformers import AutoModelForSeq2SeqLM

    mapping: Any = AutoModelForSeq2SeqLM._model_mapping  # type: ignore[attr-defined]
    kind = mapping[type(config)]
    model = kind.__new__(kind)
    nn.Module.__init__(model)  # without a weight: a shift reads the config alone
    model.config = config
    start = getattr(config, "decoder_start_token_id", None)
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if shift is not None:
        names = ("pad_token_id", "eos_token_id", "bos_token_id")
        special = (start, *(getattr(config, name, None) for name in names))
        first, last = [token for token in range(6) if token not in special][:2]
        try:
            start = int(shift(torch.tensor([[first, last]]))[0, 0])
        except (TypeError, ValueError, RuntimeError):
            start = None
        if start == last:
            return None
    if start is None:
        raise KdnasError(
            "the teacher's config lacks decoder_start_token_id or pad_token_id; add the ids with "
            "which the model was trained to its config.json"
        )
    return int(start)
