"""Processes that are forked from this one to compute side by side, each with one thread.

Small models leave several threads waiting for each other; several models, one thread each, do not.
Forked processes share what was loaded and tokenised before. They cannot use several threads, nor a
GPU: what needs either is asked of this process, which does nothing else meanwhile.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from kdnas.errors import KdnasError
from kdnas.runtime.console import relayed, say
from kdnas.runtime.distributed import team
from kdnas.runtime.interrupt import check, listening

POLL_SECONDS = 0.5
# A process that was told to end has this long to leave its work to others.
END_SECONDS = 60.0

Ask = Callable[[Any], Any]


def can_fork(device: torch.device) -> bool:
    """Whether this process can be forked to compute: on Linux, on the CPU, not in a team."""
    free = not multiprocessing.current_process().daemon and team().size == 1
    return sys.platform == "linux" and device.type == "cpu" and free


def side_by_side(
    count: int, work: Callable[[Ask], None], answer: Callable[[Any], Any], tick: Callable[[], None]
) -> None:
    """Lets `count` forked processes do some work, and ends them all if one fails.

    A process that is killed is missed by nobody: whoever calls this looks at what is left to do.

    Args:
        count: Of processes.
        work: What each does; it may ask this process something.
        answer: What this process replies; what it raises is raised in the one that asked.
        tick: Is called now and then.

    Raises:
        KdnasError: The first that a process ended with.
    """
    jobs: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(count):
            ours, process = _forked(work)
            jobs[ours] = process
        _serve(jobs, answer, tick)
    finally:
        _end(list(jobs.values()))


def _forked(work: Callable[[Ask], None]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, work, os.getpid()))
    process.start()
    theirs.close()
    return ours, process


def _serve(
    jobs: dict[Connection, BaseProcess], answer: Callable[[Any], Any], tick: Callable[[], None]
) -> None:
    """Answers and prints until all processes have ended."""
    said, served = set[str](), set(jobs)
    while served:
        for each in wait(list(served), POLL_SECONDS):
            assert isinstance(each, Connection)
            try:
                kind, value = each.recv()
            except (EOFError, ConnectionError):
                served.remove(each)
                _tell_if_killed(jobs[each])
                continue
            if kind == "failed":
                raise value
            if kind == "asks":
                _reply(each, answer, value)
            elif value not in said:  # of what concerns them all, all tell
                said.add(value)
                say(value)
        check()
        tick()


def _reply(to: Connection, answer: Callable[[Any], Any], question: Any) -> None:
    try:
        found = True, answer(question)
    except Exception as error:
        found = False, _as_sent(error)
    try:
        to.send(found)
    except ConnectionError:  # it was killed meanwhile
        return


def _tell_if_killed(process: BaseProcess) -> None:
    process.join(END_SECONDS)
    if process.exitcode not in (0, None):
        code = process.exitcode or 0
        how = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
        say(f"a process of this run was {how}; what it worked on is done again")


def _end(processes: list[BaseProcess]) -> None:
    """Lets all processes give back what they work on, and waits for them."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    limit = time.monotonic() + END_SECONDS
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _run(to: Connection, work: Callable[[Ask], None], parent: int) -> None:
    """A forked process, from its beginning to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent tells it to end
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)  # others do not survive a fork
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            to.send((kind, value))

    def ask(question: Any) -> Any:
        send("asks", question)
        fine, found = to.recv()
        if not fine:
            raise found
        return found

    try:
        with listening(), relayed(lambda line: send("says", line)):
            work(ask)
    except (KeyboardInterrupt, ConnectionError, EOFError):  # told to end; the parent is gone
        return
    except Exception as error:
        send("failed", _as_sent(error))


def _as_sent(error: Exception) -> Exception:
    """An error as another process can make it anew from its arguments."""
    plain = all(isinstance(each, str | int | float) for each in error.args)
    try:
        return type(error)(*error.args) if plain else _in_words(error)
    except TypeError:
        return _in_words(error)


def _in_words(error: Exception) -> KdnasError:
    return KdnasError(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _end_with(parent: int) -> None:
    """Ends this process when its parent has."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
