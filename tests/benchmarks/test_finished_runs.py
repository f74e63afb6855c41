"""A benchmark's run is finished once: begun where nobody began it, left alone where it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdnas.runs.run_folder import Run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_search_that_nobody_began_is_done_and_then_read(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import seq2seq

    run = make_run(trials=1, screen=0, sampler="random")
    done = seq2seq.finished(run)
    assert done.report is not None
    assert len(done.trials) == 1

    def nothing(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished run was done again")

    monkeypatch.setattr(seq2seq, "complete", nothing)
    again = seq2seq.finished(make_run(trials=1, screen=0, sampler="random"))
    assert again.report == done.report
