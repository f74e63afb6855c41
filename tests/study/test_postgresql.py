"""The command line on a PostgreSQL server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState
from servers import PostgreSQL
from support.processes import kdnas_child

from kdnas.study.attributes import WORKER
from kdnas.study.study import load_run_study


@pytest.mark.slow
def test_a_search_and_a_worker_reach_exactly_the_total(
    postgresql: PostgreSQL, quick_flags: list[str], tmp_path: Path
) -> None:
    run, url = tmp_path / "run", postgresql.database()
    assert url.startswith("postgresql://")
    given = ["--trials", "8", "--storage", url, "--mini-epochs", "10", "--out", str(run)]
    search = kdnas_child("search", *quick_flags, *given)
    search.wait_until((run / "config.yaml").exists)
    worker = kdnas_child("worker", run, "--threads", 1)
    assert worker.wait() == 0, worker.output
    assert search.wait() == 0, search.output
    assert "secret" not in search.output + worker.output
    study = load_run_study(url, "kdnas", run)
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(complete) == 8 == len({tuple(t.params.values()) for t in complete})
    assert len({t.user_attrs[WORKER] for t in complete}) == 2
    assert "secret" not in json.dumps(study.user_attrs)
    assert json.loads((run / "report.json").read_text())["search"]["trials"] == 8
    assert not (run / "study.db").exists()
