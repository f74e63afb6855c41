"""Ctrl-C takes effect at once, or after a storage operation, and is never lost.

Python raises KeyboardInterrupt wherever it is. A finalizer or a weak reference's callback swallows
it; in the middle of a transaction it leaves a lock that this process's own clean-up waits for.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class _Heard:
    """Whether Ctrl-C was pressed, and how many nested operations postpone it."""

    came: bool = False
    held: int = 0


_heard = _Heard()


@contextmanager
def listening() -> Iterator[None]:
    """Handles Ctrl-C within the block, unless this process ignores it."""
    if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _heard.came, _heard.held = False, 0


@contextmanager
def held() -> Iterator[None]:
    """Postpones Ctrl-C to the end of the block; a second Ctrl-C takes effect at once.

    Raises:
        KeyboardInterrupt: At the end, if it was pressed.
    """
    if not _in_main_thread():
        yield
        return
    _heard.held += 1
    try:
        yield
    finally:
        _heard.held -= 1
        check()


def check() -> None:
    """Long jobs call this once a step.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed and swallowed.
    """
    if _heard.came and not _heard.held and _in_main_thread() and not _ending():
        raise KeyboardInterrupt


def _on_signal(number: int, frame: FrameType | None) -> None:
    again, _heard.came = _heard.came, True
    if again or not _heard.held:
        raise KeyboardInterrupt


def _ending() -> bool:
    """Whether an interrupted job is already cleaning up."""
    error = sys.exception()
    while error:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
