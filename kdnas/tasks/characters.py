"""Characters of a text, found again in another that is the same, spaces aside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.examples import Spans


class Characters:
    """Moves places in one text to another that has the same characters, spaces aside."""

    def __init__(self, of: str, to: str) -> None:
        self._of, self._to, self._last = _inked(of), _inked(to), len(to)

    def first(self, character: int) -> int:
        """The first character of something; of a space, the character behind it.

        Golden, of 'a b' to ' a  b': 0 -> 1; 1 -> 4; 2 -> 4; 3 -> 5, where the text ends.
        """
        at = int(np.searchsorted(self._of, character, side="left"))
        return int(self._to[at]) if at < len(self._to) else self._last

    def behind(self, character: int) -> int:
        """The character behind the last of something; behind a space, that before the space.

        Golden, of 'a b' to ' a  b': 0 -> 0; 1 -> 2; 2 -> 2; 3 -> 5.
        """
        at = int(np.searchsorted(self._of, character, side="left"))
        return int(self._to[at - 1]) + 1 if at else 0

    def spans(self, spans: Spans) -> Spans:
        """Where words are, shape (words, 2)."""
        moved = [(start := self.first(a), max(start, self.behind(b))) for a, b in spans.tolist()]
        return np.array(moved, np.int64).reshape(-1, 2)


def _inked(text: str) -> NDArray[np.int64]:
    """The places of a text's characters that are no spaces."""
    return np.flatnonzero([not character.isspace() for character in text])
