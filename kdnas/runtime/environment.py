"""What a command needs of the process that it runs in, before anything large is imported."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted

# Threads of OpenMP that wait for work spin for long by default. Beside another busy process they
# spin on the core that the thread they wait for needs, and training all but stops. A short spin is
# as fast on a quiet machine, where sleeping at once is not. Both are read when torch is loaded.
BRIEF = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
WAITING = {*BRIEF, "OMP_WAIT_POLICY"}
# Lines of other packages' C++ that say nothing to somebody who searches for a student.
SILENT = {"TORCH_CPP_LOG_LEVEL": "ERROR", "KINETO_LOG_LEVEL": "99"}
LOGGERS = ("torch", "transformers", "huggingface_hub", "datasets", "fsspec", "urllib3")
# Whoever read our output has gone: a pipe that is closed, a terminal that hung up.
GONE = {errno.EPIPE, errno.EIO}

# What tells the processes of a team apart, and where they find the first one.
OF_A_PROCESS = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
OF_THE_FIRST = ("MASTER_ADDR", "MASTER_PORT")

_THREADS = re.compile(r"\s*\d{1,4}\s*(,\s*\d{1,4}\s*)*")


def prepare_process() -> None:
    """Opens closed streams, lets every character be printed, and quiets other packages."""
    _open_streams()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is getattr(sys, f"__{name}__"):  # nobody redirected it
            stream = _patient(getattr(sys, name))
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    _quiet_warnings()
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    wait_briefly()


def wait_briefly() -> None:
    """Lets threads without work sleep soon, unless the user decided how they wait."""
    if not WAITING & os.environ.keys():
        os.environ.update(BRIEF)


def check_environment() -> None:
    """Raises KdnasError where the process stands nowhere, or a variable is not what it must be."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        raise KdnasError("the working folder no longer exists; change to another one") from None
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        given = os.environ.get(name)
        if given and not (_THREADS.fullmatch(given) and int(given.split(",")[0])):
            raise KdnasError(f"invalid {name} {quoted(given)}: expected a number of threads")
    _check_launch()
    with suppress(OSError):
        tempfile.gettempdir()
        return
    raise KdnasError("no folder for temporary files can be written; set TMPDIR to one that can be")


def _check_launch() -> None:
    """Refuses half of what `accelerate launch` sets for the processes of a team."""
    for name in OF_A_PROCESS:
        _check_number(name)
    if not is_launched():
        return
    _check_number("MASTER_PORT")
    if missing := [name for name in (*OF_A_PROCESS, *OF_THE_FIRST) if not os.environ.get(name)]:
        raise KdnasError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but there is no {', '.join(missing)}; "
            "start several processes with accelerate launch, or unset WORLD_SIZE"
        )


def _check_number(name: str) -> None:
    value = os.environ.get(name)
    if value and not re.fullmatch(r"\d{1,6}", value):
        raise KdnasError(f"invalid {name} {quoted(value)}: expected a whole number; unset it")


def is_launched() -> bool:
    """Whether this process is one of a team of several, in an environment that was checked."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


class _Patient(TextIOWrapper):
    """A stream whose reader may go, such as `| head` that has read enough: the work goes on."""

    def write(self, text: str) -> int:
        with self._without_reader():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._without_reader():
            super().flush()

    @contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in GONE:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def _patient(stream: TextIO) -> TextIO:
    """A standard stream that outlives its reader and spells out what its encoding lacks."""
    if not isinstance(stream, TextIOWrapper):
        return stream
    stream.flush()
    encoding, lines = stream.encoding, stream.line_buffering
    return _Patient(stream.detach(), encoding, errors="kdnas", line_buffering=lines)


def flush_streams() -> None:
    """Prints what is left.

    Raises:
        KdnasError: It cannot be, such as on a full disk.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or it fails at the end
            raise KdnasError(f"cannot write to standard output: {error.strerror}") from None


def _open_streams() -> None:
    """Closed streams lead to nowhere; a file that took their number would get our lines."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if number else os.O_RDONLY)  # takes the lowest number
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _quiet_warnings() -> None:
    """Warnings of other packages are not shown unless asked for, and never end a command."""
    if not sys.warnoptions:
        warnings.showwarning = lambda *_, **__: None
        return
    for i, (action, *rest) in enumerate(warnings.filters):
        if action == "error":
            warnings.filters[i] = ("default", *rest)  # type: ignore[index]
