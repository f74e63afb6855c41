"""The check that a teacher can read its tokenizer's output."""

from __future__ import annotations

from typing import Any

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples


def check_inputs(data: EncodedExamples, tokenizer: Any, config: Any) -> EncodedExamples:
    """Refuses tokens and token types for which the teacher has no embedding; returns the data.

    Raises:
        KdnasError: There is one.
    """
    token = int(data.input_ids.max(initial=0))
    kind = 0 if data.token_type_ids is None else int(data.token_type_ids.max(initial=0))
    given = {"vocab_size": ("token", token), "type_vocab_size": ("token type", kind)}
    for field, (what, largest) in given.items():
        # Some families have no token types, or 0 of them, and read none.
        size = getattr(config, field, None)
        if size and largest >= size:
            raise KdnasError(
                f"the teacher's tokenizer gives {what} {largest}, but the model's {field} is "
                f"{size}; give the tokenizer that the model was trained with"
            )
    return data
