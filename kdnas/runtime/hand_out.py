"""Pieces of work that are handed out to processes side by side, one at a time to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kdnas.runtime.side_by_side import Ask, side_by_side

Result = TypeVar("Result")
# Sends this process word of a piece while it is done.
Tell = Callable[[Any], None]


def hand_out(
    jobs: int,
    take: Callable[[], int | None],
    do: Callable[[int, Tell], Result],
    ended: Callable[[int, Result], None],
    heard: Callable[[int, Any], None] = lambda _piece, _news: None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Lets forked processes do pieces of work; whoever has done one gets the next.

    The piece of a process that is killed does not end: the caller looks at what is left to do.

    Args:
        jobs: Processes.
        take: Gives the number of the next piece; None ends the process that asked for it. This and
            the next three are called in this process alone.
        do: Does a piece in one of the others. What it returns, and what it tells, are plain values.
        ended: Called with the number of a piece and what `do` returned.
        heard: Called with the number of a piece and what it sent.
        tick: Called every half second or so.

    Raises:
        KdnasError: A piece failed; the others are ended.
    """

    def work(ask: Ask) -> None:
        done: tuple[int, Result] | None = None
        while (piece := ask((True, done))) is not None:

            def tell(news: Any, piece: int = piece) -> None:
                ask((False, (piece, news)))

            done = piece, do(piece, tell)

    def answer(question: tuple[bool, Any]) -> int | None:
        is_free, value = question
        if not is_free:
            heard(*value)
            return None
        if value is not None:
            ended(*value)
        return take()

    side_by_side(jobs, work, answer, tick)
