"""Ctrl-C (or SIGTERM) takes effect at once, or after a storage operation, and is never lost.

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
    number: int = signal.SIGINT  # of the last signal
    remedy: str = ""  # the command that continues what was interrupted


_heard = _Heard()


# What ends a command, with what handles it by default. Windows has no SIGHUP.
SIGNALS = {
    getattr(signal, name): default
    for name, default in (
        ("SIGINT", signal.default_int_handler),
        ("SIGTERM", signal.SIG_DFL),
        ("SIGHUP", signal.SIG_DFL),
    )
    if hasattr(signal, name)
}


@contextmanager
def listening() -> Iterator[None]:
    """Handles Ctrl-C, SIGTERM and SIGHUP alike within the block, unless this process ignores them.

    The last two end schedulers' jobs and closed terminals: they are no other than Ctrl-C.
    """
    own = SIGNALS if _in_main_thread() else {}
    heard = {number: usual for number, usual in own.items() if signal.getsignal(number) is usual}
    for number in heard:
        signal.signal(number, _on_signal)
    reported = sys.unraisablehook

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        """Says nothing of an interrupt that was swallowed: `check` raises it again."""
        if not (_heard.came and isinstance(unraisable.exc_value, KeyboardInterrupt)):
            reported(unraisable)

    if heard:
        sys.unraisablehook = report
    _heard.remedy = ""
    try:
        yield
    finally:
        for number, usual in heard.items():
            signal.signal(number, usual)
        if heard:
            sys.unraisablehook = reported
        _heard.came, _heard.held = False, 0


def exit_code() -> int:
    """Of a command that was interrupted: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + _heard.number


@contextmanager
def continued_by(command: str) -> Iterator[None]:
    """What is interrupted within the block goes on with this command."""
    try:
        yield
    except KeyboardInterrupt:
        _heard.remedy = command
        raise


def message() -> str:
    """Of a command that was interrupted."""
    return f"interrupted; continue with: {_heard.remedy}" if _heard.remedy else "interrupted"


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
    again, _heard.came, _heard.number = _heard.came, True, number
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
