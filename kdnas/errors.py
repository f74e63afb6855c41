"""Exceptions whose message is for the user."""


class KdnasError(Exception):
    """Bad input or a broken environment, in one line.

    The message says what is wrong, the value and its place, and what to give instead. The command
    line prints it without a traceback and exits with code 2.
    """


class DivergedError(KdnasError):
    """A model's outputs are not finite: its training diverged."""
