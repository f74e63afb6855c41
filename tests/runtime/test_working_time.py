from __future__ import annotations

import time

import pytest

from kdnas.runtime.working_time import waiting, working_seconds


def test_waiting_is_no_work() -> None:
    start, began = time.perf_counter(), working_seconds()
    with waiting():
        time.sleep(0.05)
    with pytest.raises(OSError, match="gone"), waiting():
        time.sleep(0.05)
        raise OSError("gone")
    time.sleep(0.02)
    waited = (time.perf_counter() - start) - (working_seconds() - began)
    assert waited == pytest.approx(0.1, abs=0.05)
    assert working_seconds() - began >= 0.02
