"""Workers that die at random moments, and what becomes of their study.

    python benchmarks/soak.py --json docs/results.json

Four workers on PostgreSQL work on a study of quick trials; thirty times one of them is killed by
SIGKILL at a random moment and another takes its place. Then the trials are counted. Teacher, data
and space are tiny; everything else, mini-KD included, is what `kdnas worker` does. Two workers have
host names of their own where this user may give them, so that their deaths show in their silence
alone, as another machine's would.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import tests_path  # noqa: F401
from command_line import a_count, a_result, in_one_line, write_entry
from optuna.study import Study
from optuna.trial import TrialState
from support.postgresql import own_postgresql
from support.processes import Child, command
from support.stepwise import Stepwise
from support.tiny import save_mrpc, save_teacher

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.runtime.process import is_here
from kdnas.study.attributes import GIVEN_BACK, RETRY_OF, WORKER
from kdnas.study.storage import storage_url
from kdnas.study.study import evaluated, load_run_study

SPACE: dict[str, list[int | float | str]] = {
    "num_hidden_layers": [1, 2, 3],
    "num_attention_heads": [1, 2, 4],
    "hidden_size": [8, 16, 24, 32],
    "intermediate_size": [16, 32, 48, 64],
}
CLONE_NEWUTS = 0x04000000
# The last kills must find a study that is still worked on.
UNTIL = 0.95


@in_one_line()
def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as name, own_postgresql() as server:
        folder = Path(name)
        os.environ |= {"KDNAS_CACHE": str(folder / "cache"), "KDNAS_LOCKS": str(folder / "locks")}
        run = make_run(folder, server.database(), args)
        start = time.perf_counter()
        kills, codes = soak(run, args)
        found = counted(run, kills) | {"seconds": round(time.perf_counter() - start)}
    found["workers"], found["exit_codes"] = args.workers, codes
    for key, value in found.items():
        print(f"{key}: {value}")
    if args.json:
        write_entry(args.json, "soak", found)


def make_run(folder: Path, url: str, args: argparse.Namespace) -> Run:
    """A run that nobody has begun, its teacher fine-tuned and its store built."""
    (folder / "teacher").mkdir()
    (folder / "data").mkdir()
    settings = Settings(
        teacher=str(save_teacher(folder / "teacher")),
        task="mrpc",
        data_dir=save_mrpc(folder / "data"),
        out=folder / "run",
        storage=url,
        trials=args.trials,
        space=SPACE,
        sampler="random",
        warm_start=False,
        teacher_epochs=0.5,
        mini_steps=10,
        batch_size=16,
        latency_length=16,
        threads=1,
        device="cpu",
        precision="fp32",
        random_control="off",
        force=True,
        worker_timeout=args.worker_timeout,
    )
    run = Run.create(settings)
    pipeline = Stepwise(run)
    pipeline.open_study()
    if len(pipeline.space.architectures) <= args.trials:
        most = len(pipeline.space.architectures)
        raise KdnasError(f"--trials {args.trials}: the space has {most} shapes; give fewer")
    return run


def soak(run: Run, args: argparse.Namespace) -> tuple[int, list[int]]:
    """Works on a run and kills; returns how many were killed, and how the others ended."""
    rng = random.Random(args.seed)
    moments = sorted(rng.uniform(0, UNTIL * args.trials) for _ in range(args.kills))
    study = _study(run)
    workers = {place: _worker(run, place) for place in range(args.workers)}
    kills = 0
    for moment in moments:
        while len(evaluated(study)) < moment:
            assert any(w.code is None for w in workers.values()), _outputs(workers)
            time.sleep(0.2)
        time.sleep(rng.uniform(0, args.delay))
        place = rng.randrange(args.workers)
        if workers[place].code is None:
            workers[place].kill()
            workers[place].wait()
            kills += 1
            say(f"{len(evaluated(study))} trials finished, {kills} workers killed")
            workers[place] = _worker(run, place)
    end = time.monotonic() + args.patience
    while any(w.code is None for w in workers.values()) and time.monotonic() < end:
        time.sleep(0.2)
    codes = [-1 if w.code is None else w.code for w in workers.values()]
    for worker in workers.values():
        if worker.code is None:
            worker.kill()
    if any(codes):
        print(_outputs(workers))
    return kills, codes


def counted(run: Run, kills: int) -> dict[str, Any]:
    """What became of the study."""
    study = _study(run)
    trials = study.trials
    states = Counter(t.state for t in trials)
    paid = evaluated(study)
    open_ = states[TrialState.RUNNING] + states[TrialState.WAITING]
    return {
        "finished": len(paid),
        "duplicated": len(paid) - len({tuple(t.params.values()) for t in paid}),
        "lost": max(0, run.settings.trials - len(paid)) + open_,
        "kills": kills,
        "planned": run.settings.trials,
        "retried": len({t.user_attrs[RETRY_OF] for t in trials if RETRY_OF in t.user_attrs}),
        "given_back": sum(GIVEN_BACK in t.user_attrs for t in trials),
        "on_other_hosts": sum(not is_here(t.user_attrs[WORKER]) for t in paid),
    }


def _study(run: Run) -> Study:
    return load_run_study(
        storage_url(run.settings.storage, run.folder), run.settings.study, run.folder
    )


def _worker(run: Run, place: int) -> Child:
    return Child(work, str(run.folder), place)


def work(folder: str, place: int) -> None:
    """What a worker does; every second one on a host of another name."""
    if place % 2 and ctypes.CDLL(None).unshare(CLONE_NEWUTS) == 0:
        socket.sethostname(f"soak-{place}")
    command("worker", folder)


def _outputs(workers: dict[int, Child]) -> str:
    return "\n".join(worker.output for worker in workers.values())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=a_count, default=4)
    parser.add_argument("--trials", type=a_count, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=2.0, help="Seconds a kill waits at most.")
    parser.add_argument("--worker-timeout", type=a_count, default=15)
    parser.add_argument("--patience", type=float, default=300.0)
    parser.add_argument("--json", type=a_result, help="Write the counts to this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
