"""The command line on a PostgreSQL server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from conftest import kdnas
from optuna.trial import TrialState
from servers import PostgreSQL

from kdnas.search.study import read_study
from kdnas.search.workers import WORKER


def test_a_search_and_a_worker_reach_exactly_the_total(
    postgresql: PostgreSQL, quick_flags: list[str], tmp_path: Path
) -> None:
    run, url = tmp_path / "run", postgresql.database()
    assert url.startswith("postgresql://")
    given = ["--trials", "8", "--storage", url, "--mini-epochs", "40", "--out", str(run)]
    search = subprocess.Popen(
        [sys.executable, "-m", "kdnas", "search", *quick_flags, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (run / "config.yaml").exists():
        assert search.poll() is None, search.communicate()[0]
        time.sleep(0.1)
    worker = kdnas("worker", run, "--threads", 1)
    output, _ = search.communicate(timeout=240)
    assert worker.returncode == search.returncode == 0, output + worker.stderr
    assert "secret" not in output + worker.stdout
    study = read_study(url, "kdnas", run)
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(complete) == 8 == len({tuple(t.params.values()) for t in complete})
    assert len({t.user_attrs[WORKER] for t in complete}) == 2
    assert "secret" not in json.dumps(study.user_attrs)
    assert json.loads((run / "report.json").read_text())["search"]["trials"] == 8
    assert not (run / "study.db").exists()
