"""Pieces of work that are handed out to processes side by side."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Any

import pytest
import torch

from kdnas.errors import KdnasError
from kdnas.runtime.console import progress, watched
from kdnas.runtime.hand_out import Tell, hand_out
from kdnas.runtime.side_by_side import can_fork

pytestmark = pytest.mark.skipif(
    not can_fork(torch.device("cpu")), reason="processes are not forked here"
)


def test_each_piece_is_done_once_and_tells_how_far_it_is() -> None:
    numbers, results, news = iter(range(5)), dict[int, tuple[int, int]](), list[tuple[int, Any]]()

    def do(number: int, tell: Tell) -> tuple[int, int]:
        with watched(lambda title, share: tell((title, share))), progress("squares", 2) as advance:
            advance("")
            with progress("inner", 2) as inner:  # a part of the second step
                inner("")
        return os.getpid(), number**2

    with progress("all of them", 5):
        hand_out(
            *(2, lambda: next(numbers, None), do, results.__setitem__),
            heard=lambda number, told: news.append((number, told)),
        )
    assert {number: square for number, (_, square) in results.items()} == {
        number: number**2 for number in range(5)
    }
    assert os.getpid() not in {process for process, _ in results.values()}
    assert [told for number, told in news if number == 3] == [("squares", 0.5), ("squares", 0.75)]


def test_the_piece_of_a_killed_process_does_not_end(capsys: pytest.CaptureFixture[str]) -> None:
    numbers, results = iter(range(4)), dict[int, int]()

    def do(number: int, _: Tell) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    hand_out(2, lambda: next(numbers, None), do, results.__setitem__)
    assert results == {0: 0, 2: 2, 3: 3}
    assert "what it worked on is done again" in capsys.readouterr().out


def test_one_that_fails_ends_all() -> None:
    numbers = count()

    def do(number: int, _: Tell) -> None:
        if number == 3:
            raise KdnasError("the third failed")

    with pytest.raises(KdnasError, match="the third failed"):
        hand_out(2, lambda: next(numbers), do, lambda *_: None)
