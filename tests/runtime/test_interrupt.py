from __future__ import annotations

import signal
import sys
import threading

import pytest

from kdnas.runtime.console import manner, progress
from kdnas.runtime.interrupt import check, held, listening

pytestmark = pytest.mark.usefixtures("hearing_ctrl_c")


class Finalized:
    """Ctrl-C is pressed while it is thrown away; what that raises, Python swallows."""

    def __del__(self) -> None:
        press()


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def swallowed() -> None:
    finalized = Finalized()
    del finalized


def test_ctrl_c_counts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("quiet", [False, True])
def test_a_swallowed_one_ends_the_job_at_its_next_step(quiet: bool) -> None:
    with manner(quiet=quiet), progress("a job", 3) as advance:
        advance("before")
        swallowed()
        with pytest.raises(KeyboardInterrupt):
            advance("after")


def test_what_is_swallowed_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[object]()
    monkeypatch.setattr(sys, "unraisablehook", lambda found: told.append(found.exc_type))

    class Failing:
        def __del__(self) -> None:
            raise ValueError

    signal.signal(signal.SIGINT, signal.default_int_handler)
    usual = sys.unraisablehook
    with listening():
        swallowed()
        Failing()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert told == [ValueError] and sys.unraisablehook is usual


def test_it_waits_for_what_is_held() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        with held():
            press()
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_pressed_again_it_does_not_wait() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        press()
        done.append("first")
        press()
        done.append("second")
    assert done == ["first"]


def test_what_is_done_on_the_way_out_is_done() -> None:
    done = []
    try:
        press()
    except KeyboardInterrupt:
        with held():
            done.append("held")
        check()
        done.append("checked")
    assert done == ["held", "checked"]


def test_an_error_does_not_hide_it() -> None:
    with pytest.raises(KeyboardInterrupt), held():
        press()
        raise ValueError


def test_other_threads_are_left_alone() -> None:
    done = []

    def work() -> None:
        with held():
            check()
        done.append(True)

    with pytest.raises(KeyboardInterrupt), held():
        press()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert done


def test_a_job_that_is_told_to_ignore_it_does() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with listening():
        press()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    check()
