"""Exceptions whose message is for the user."""

from typing import ClassVar


class KdnasError(Exception):
    """Bad input or a broken environment, in one line.

    The message says what is wrong, the value and its place, and what to give instead. The command
    line prints it without a traceback and exits with `exit_code`.
    """

    exit_code: ClassVar[int] = 2


class MissedLimitError(KdnasError):
    """No student keeps a hard limit; the message says what can be had instead."""

    exit_code = 3


class DivergedError(KdnasError):
    """A model's outputs are not finite: its training diverged."""
