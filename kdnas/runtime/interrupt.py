"""Ctrl-C: at once where that is safe, after a storage's operation where it is not, never lost.

Python raises KeyboardInterrupt wherever it happens to be. In a finalizer or a weak reference's
callback it is swallowed, and the job goes on as if nothing had been said; in the middle of a
transaction it leaves a lock that others, this process's clean-up among them, wait for.
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
    """What this process knows of Ctrl-C.

    Attributes:
        came: Whether it was pressed.
        held: In how many operations this process is that it waits for.
    """

    came: bool = False
    held: int = 0


_heard = _Heard()


@contextmanager
def listening() -> Iterator[None]:
    """Takes care of Ctrl-C as long as it lasts, unless this process is told to ignore it."""
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
    """What is inside is done to its end before Ctrl-C counts; pressed again, it counts at once.

    Raises:
        KeyboardInterrupt: Afterwards, where it was pressed.
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
    """To be called by whatever takes long, once a step.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and no one has acted on it.
    """
    if _heard.came and not _heard.held and _in_main_thread() and not _ending():
        raise KeyboardInterrupt


def _on_signal(number: int, frame: FrameType | None) -> None:
    again, _heard.came = _heard.came, True
    if again or not _heard.held:
        raise KeyboardInterrupt


def _ending() -> bool:
    """Whether this is what is done on the way out of an interrupted job."""
    error = sys.exception()
    while error:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
