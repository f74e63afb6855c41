"""The exceptions that a user is meant to read."""


class KdnasError(Exception):
    """Bad input or a broken environment, told in one line.

    The message names what was wrong, the value found, and what would be right. The command line
    prints it without a traceback and exits with code 2.
    """


class DivergedError(KdnasError):
    """A model's outputs are not finite: its training went wrong, not the input."""
