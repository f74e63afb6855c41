"""Threads of one process that begin a job at a time."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kdnas.errors import KdnasError
from kdnas.runtime.jobs import job

refused = pytest.raises(KdnasError, match="another kdnas job runs in this process: wait for it, or")


@contextmanager
def in_another_thread(alone: bool) -> Iterator[None]:
    """A job of another thread while the block lasts."""
    begun, over = threading.Event(), threading.Event()

    @job(alone=alone)
    def work() -> None:
        begun.set()
        over.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_what_is_to_be_alone_is() -> None:
    for alone in (True, False):
        with in_another_thread(alone):
            with refused, job():
                pass
            if alone:
                with refused, job(alone=False):
                    pass
        with job():
            pass


def test_others_go_side_by_side() -> None:
    with in_another_thread(alone=False), job(alone=False):
        with refused, job():
            pass
        with in_another_thread(alone=False):
            pass


def test_a_job_may_begin_another() -> None:
    with job():
        with job(alone=False), job():
            pass
        told: list[str] = []
        thread = threading.Thread(target=tried, args=(told,))
        thread.start()
        thread.join()
    assert told and "another kdnas job" in told[0]


def tried(told: list[str]) -> None:
    """Tries to begin a job, and keeps the refusal."""
    try:
        with job(alone=False):
            pass
    except KdnasError as error:
        told.append(str(error))


def test_a_job_that_fails_is_over() -> None:
    with pytest.raises(OSError, match="gone"), job():
        raise OSError("gone")
    with in_another_thread(alone=True):
        pass


def test_a_fork_has_jobs_of_its_own() -> None:
    with in_another_thread(alone=True):
        child = multiprocessing.get_context("fork").Process(target=job()(print))
        child.start()
        child.join(60)
    assert child.exitcode == 0
