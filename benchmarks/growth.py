"""How a search's seconds grow with its trials, its rows and its workers.

    python benchmarks/growth.py --json docs/results.json

Teacher and space are tiny, so that what grows is the tool's own work and not the students'
arithmetic; all else is what `kdnas search` and `kdnas worker` do. Prints a table each, and the
exponent of growth between neighbours: 1 is in proportion. Workers share a study on PostgreSQL;
their seconds begin with the first trial that ends.

`--json` writes the entry `growth`: each part, `trials`, `rows` and `workers`, as soon as it is
measured, with its command in `commands`. A part without sizes (`--rows` alone) is left out, and
stays as the file has it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tests_path  # noqa: F401
from command_line import a_count, a_file, a_result, entry_in, in_one_line, this_command
from setting import read_sentences
from support.postgresql import own_postgresql
from support.processes import Child, command
from support.stepwise import Stepwise
from support.tiny import save_mrpc, save_teacher

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.run_folder import Run
from kdnas.study.study import evaluated

SPACE: dict[str, list[int | float | str]] = {
    "num_hidden_layers": [1, 2, 3],
    "num_attention_heads": [1, 2, 4],
    "hidden_size": [8, 16, 24, 28, 32],
    "intermediate_size": [16, 32, 40, 48, 64],
}
PLAIN: dict[str, Any] = {
    **{"space": SPACE, "warm_start": False, "random_control": "off", "teacher_epochs": 0.5},
    **{"mini_steps": 10, "batch_size": 16, "latency_length": 16, "threads": 1, "jobs": 1},
    **{"device": "cpu", "precision": "fp32", "force": True, "finalists": 1},
}
TASK = """\
name: sentences
type: classification
text: [text]
label: label
labels: [short, long]
"""
# Sentences beside the rows to train on.
VALIDATION = 100
PARTS = ("trials", "rows", "workers")
Row = dict[str, float]


@in_one_line()
def main() -> None:
    """Measures what is asked for; prints tables, writes the entry `growth`."""
    args = _arguments()
    check_sizes({part: getattr(args, part) for part in PARTS})
    if args.rows:  # too few sentences shall show before anything is measured
        read_sentences(args.sentences, max(args.rows) + VALIDATION)
    parts: dict[str, tuple[Sequence[int], Callable[[Path, int, argparse.Namespace], Row]]] = {
        "trials": (args.trials, _trials),
        "rows": (args.rows, _rows),
        "workers": (args.workers, _workers),
    }
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["KDNAS_LOCKS"] = str(home / "locks")
        for part, (counts, measure) in parts.items():
            found: dict[str, Row] = {}
            for count in counts:
                # A cache of its own: nothing may be ready from another size.
                os.environ["KDNAS_CACHE"] = str(home / f"cache-{part}-{count}")
                folder = home / f"{part}-{count}"
                folder.mkdir()
                found[str(count)] = measure(folder, count, args)
                print(part, count, found[str(count)], flush=True)
            if args.json and found:
                entry = merged(entry_in(args.json, "growth"), part, found)
                write_json(args.json, (read_json(args.json) or {}) | {"growth": entry})
            if found:
                print("\n".join(_table(part, found)), flush=True)


def check_sizes(given: Mapping[str, Sequence[int]]) -> None:
    """Raises KdnasError where no part has a size, or a part has one twice."""
    for part, sizes in given.items():
        if twice := [size for size in sizes if sizes.count(size) > 1]:
            raise KdnasError(f"--{part} has {twice[0]} twice; give each once")
    if not any(given.values()):
        options = ", ".join(f"--{part}" for part in given)
        raise KdnasError(f"nothing to measure: {options} are all empty; give one of them a number")


def merged(before: Mapping[str, Any], part: str, found: Mapping[str, Row]) -> dict[str, Any]:
    """The entry with a part that is new; one command made all parts of an earlier version's."""
    kept = {name: before[name] for name in PARTS if name in before}
    known = before.get("commands") or dict.fromkeys(kept, before.get("command"))
    return {**kept, part: dict(found), "commands": {**known, part: this_command()}}


def _trials(folder: Path, count: int, args: argparse.Namespace) -> Row:
    """A search of so many trials, with the sampler that is the default."""
    step = _stepwise(folder, trials=count, sampler="lstm")
    _ = step.prepared
    seconds = _seconds(step.search)
    inside = sum(t.user_attrs["seconds"] for t in evaluated(step.open_study()))
    return {"search": seconds, "training and timing": inside, "the rest": seconds - inside}


def _rows(folder: Path, count: int, args: argparse.Namespace) -> Row:
    """Steps 1 to 3 with so many rows of real sentences, and a trial."""
    texts = read_sentences(args.sentences, count + VALIDATION)
    middle = sorted(map(len, texts))[len(texts) // 2]
    data = folder / "data" / "sentences"
    data.mkdir(parents=True)
    (folder / "sentences.yaml").write_text(TASK)
    for name, part in (("train", texts[VALIDATION:]), ("validation", texts[:VALIDATION])):
        write_lines(data / f"{name}.jsonl", part, middle)
    task = str(folder / "sentences.yaml")
    step = _stepwise(folder, task=task, trials=1, sampler="random", teacher_epochs=0.1)
    found = {"read and encode": _seconds(lambda: step.inputs)}
    found["teacher"] = _seconds(lambda: step.teacher)
    found["signal"] = _seconds(lambda: step.prepared)
    found["trial"] = _seconds(step.search)
    return found


def write_lines(file: Path, texts: Sequence[str], middle: int) -> None:
    """JSON lines whose label says whether a text is longer than the middle one."""
    rows = ({"text": text, "label": "long" if len(text) > middle else "short"} for text in texts)
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


def _workers(folder: Path, count: int, args: argparse.Namespace) -> Row:
    """Trials of a study that so many workers share."""
    with own_postgresql() as server:
        options: dict[str, Any] = {"storage": server.database(), "sampler": "random"}
        step = _stepwise(folder, trials=args.shared, **options)
        _ = step.prepared
        study = step.open_study()
        workers = [Child(work, str(step.run.folder)) for _ in range(count)]
        while not evaluated(study):
            assert all(worker.code is None for worker in workers), workers[0].output
            time.sleep(0.05)
        first, start = len(evaluated(study)), time.perf_counter()
        for worker in workers:
            assert worker.wait() == 0, worker.output
        seconds = time.perf_counter() - start
        return {"trials a second": (len(evaluated(study)) - first) / seconds}


def work(folder: str) -> None:
    """What a worker does."""
    command("worker", folder)


def _stepwise(folder: Path, **changes: Any) -> Stepwise:
    (folder / "teacher").mkdir()
    values = {**PLAIN, "teacher": str(save_teacher(folder / "teacher")), **changes}
    if "task" not in values:
        (folder / "data").mkdir()
        save_mrpc(folder / "data")
        values["task"] = "mrpc"
    return Stepwise(Run.create(Settings(**values, data_dir=folder / "data", out=folder / "run")))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _table(part: str, found: dict[str, Row]) -> list[str]:
    """Markdown: a line a size, with the exponent of growth from the size before."""
    names = list(next(iter(found.values())))
    lines = ["", f"| {part} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    before: tuple[int, Row] | None = None
    for size, row in found.items():
        cells = []
        for name in names:
            grown = ""
            if before:
                ratio = row[name] / max(before[1][name], 1e-9)
                power = math.log(max(ratio, 1e-9)) / math.log(int(size) / before[0])
                grown = f" ({power:+.2f})"
            cells.append(f"{row[name]:.1f}{grown}")
        lines.append(f"| {int(size):,} | {' | '.join(cells)} |")
        before = int(size), row
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=a_count, nargs="*", default=[12, 50, 200])
    parser.add_argument("--rows", type=a_count, nargs="*", default=[2_000, 20_000, 200_000])
    parser.add_argument("--workers", type=a_count, nargs="*", default=[1, 2, 4])
    parser.add_argument("--shared", type=a_count, default=48, help="Trials that workers share.")
    parser.add_argument("--sentences", type=a_file, help="A text file, plain or gzip.")
    parser.add_argument("--json", type=a_result, help="Write the figures to this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
