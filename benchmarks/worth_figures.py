"""The figures of benchmarks/search_worth.py: pairs of equally fast students, and what they show.

    python benchmarks/worth_figures.py docs/results.json

prints the first table of docs/results.md, from all pairs of the entry `search-worth`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from command_line import a_file, in_one_line
from quality import TEACHER, rows_in, spread
from scipy.stats import ttest_rel

from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json

SEARCH, PICKED = "search", "hand-picked"
METHODS = (SEARCH, PICKED, "random recipes", "random search", "tpe")
# How far the speeds of a pair may be apart.
AS_FAST = 0.05
# The speed of the search's student, timed side by side with a picked shape.
BESIDE = "searchs_speedup"
CELL = ["task", "speed", "seed"]
# How much of its teacher a search's student shall keep, by speed-up.
AIMS = {2: 0.995, 4: 0.985, 8: 0.975}
TASKS = {"mrpc": "MRPC", "wnut17": "WNUT-17", "qqp": "QQP", "stsb": "STS-B", "sst2": "SST-2"}
# Of each cell.
COLUMNS = [*CELL, "method", "score", "teacher", "speedup", "tried", "seconds", "missed"]


def seed_folder(out: Path, seed: int) -> Path:
    """Where a seed's teachers and cells are."""
    return out / f"seed-{seed}"


def results_files(out: Path) -> list[Path]:
    """The cells of each seed."""
    return sorted(out.glob("seed-*/results.jsonl"))


def results(out: Path) -> pd.DataFrame:
    """A line a cell, with its score and its teacher's; without a student it is `missed`."""
    rows = [(row, file.parent) for file in results_files(out) for row in rows_in(file)]
    for row, folder in rows:
        row["missed"] = not row["scores"]
        row["score"] = next(iter(row["scores"].values()), math.nan)
        row["teacher"] = _teacher(folder / row["task"] / TEACHER)
    return pd.DataFrame([row for row, _ in rows], columns=None if rows else COLUMNS)


def pairs(frame: pd.DataFrame, rival: str, apart: float = AS_FAST) -> pd.DataFrame:
    """Scores of the search and of a rival by cell, whose speeds are no further `apart`.

    Of a shape that a person picks, its speed beside the search's was timed in one go.
    """
    ours, theirs = (frame[frame.method == one].set_index(CELL) for one in (SEARCH, rival))
    both = ours[["score", "speedup"]].join(theirs[["score", "speedup"]], rsuffix="_rival")
    if BESIDE in theirs:
        both["speedup"] = theirs[BESIDE].fillna(both.speedup)
    both = both.dropna()
    return both[(both.speedup / both.speedup_rival - 1).abs() <= apart]


def gain(frame: pd.DataFrame, rival: str, apart: float = AS_FAST) -> dict[str, Any]:
    """What the search gains over a rival: mean, paired t-test with its 95% interval, worst task."""
    both = pairs(frame, rival, apart)
    if both.empty:
        return {"pairs": 0}
    more = both.score - both.score_rival
    tasks = more.groupby("task").mean()
    tested = len(both) > 1 and more.std() > 0
    test = ttest_rel(both.score, both.score_rival) if tested else None
    interval = test.confidence_interval() if test else ()
    return {
        "pairs": len(both),
        "won": int((more > 0).sum()),
        "gain": round(float(more.mean()), 5),
        "interval": [round(float(end), 5) for end in interval],
        "p_value": round(float(test.pvalue), 5) if test else None,
        "worst_task_gain": round(float(tasks.min()), 5),
    }


def entry(frame: pd.DataFrame) -> dict[str, Any]:
    """As docs/results.json has it; `missed` counts cells in which a method kept no speed-up."""
    every, frame = frame, frame[~frame.missed.astype(bool)]
    picked = gain(frame, PICKED)
    own = frame[frame.method == SEARCH]
    share = own.score / own.teacher
    kept = share.groupby([own.speed, own.task]).mean().groupby("speed").mean()
    return {
        "gain_over_hand_picked": picked.get("gain"),
        "p_value": picked.get("p_value"),
        "worst_task_gain": picked.get("worst_task_gain"),
        "retention": {f"{speed}x": round(float(value), 4) for speed, value in kept.items()},
        "seconds": frame.groupby("method").seconds.median().round(1).to_dict(),
        "missed": every.groupby("method").missed.sum().astype(int).to_dict(),
        "against": {rival: gain(frame, rival) for rival in METHODS[1:]},
        "at_any_speed": gain(frame, PICKED, math.inf),
        "tasks": sorted(set(own.task)),
        "seeds": sorted(map(int, set(own.seed))),
    }


def _teacher(file: Path) -> float:
    """A teacher's main score; a pipeline that measures students keeps more beside the scores."""
    known = read_json(file) or {}
    return float(next(iter(known.get("scores", known).values()), math.nan))


def table(frame: pd.DataFrame) -> list[str]:
    """Markdown: scores and speeds by task, speed and method, and how many cells missed theirs."""
    head = ("task", "asked", "method", "score", "speed", "tried", "seconds", "missed")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (task, speed, method), rows in frame.groupby(["task", "speed", "method"], sort=False):
        made = rows[~rows.missed.astype(bool)]
        cells = ["-"] * 4
        if len(made):
            middle = made[["speedup", "tried", "seconds"]].astype(float).median()
            cells = [spread(made.score), f"{middle.speedup:.2f}x"]
            cells += [f"{middle.tried:.0f}", f"{middle.seconds:.0f}"]
        cells = [str(task), f"{speed}x", str(method), *cells, str(len(rows) - len(made))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def published(found: Mapping[str, Any]) -> list[str]:
    """Markdown: the pairs of an entry by task and speed, whatever their speeds; what is kept."""
    both = pd.DataFrame([*found["pairs"], *found["slow_cores"]["pairs"]])
    both["gain"] = both.search - both.hand_picked
    rows = [_published(TASKS[task], both[both.task == task]) for task in TASKS]
    rows.append(["**all**", *(f"**{cell}**" for cell in _published("all", both)[1:])])
    by_speed = [both[both.speed == speed] for speed in AIMS]
    kept = [found["retention"][f"{speed}x"] for speed in AIMS]
    missed = (share < aim for share, aim in zip(kept, AIMS.values(), strict=True))
    rows.append(_aside("won", (str(int((own.gain > 0).sum())) for own in by_speed)))
    rows.append(_aside("p", map(_p_value, by_speed)))
    rows.append(_aside("**kept of the teacher**", (f"**{share:.1%}**" for share in kept)))
    rows.append(_aside("goal", (f"{aim:.1%}" for aim in AIMS.values())))
    rows.append(_aside("", ("**missed**" if one else "reached" for one in missed)))
    head = ["task", "pairs", "won", "gain, points", "p", *(f"at {speed}x" for speed in AIMS)]
    lines = [f"| {' | '.join(row)} |".replace("  ", " ") for row in (head, *rows)]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def _published(name: str, own: pd.DataFrame) -> list[str]:
    at = [own[own.speed == speed] for speed in AIMS]
    cells = [f"{100 * one.gain.mean():+.1f} ({len(one)})" if len(one) else "-" for one in at]
    won = str(int((own.gain > 0).sum()))
    return [name, str(len(own)), won, f"{100 * own.gain.mean():+.1f}", _p_value(own), *cells]


def _aside(name: str, cells: Iterable[str]) -> list[str]:
    return [name, "", "", "", "", *cells]


def _p_value(own: pd.DataFrame) -> str:
    """Of a paired t-test, two-sided; of one pair there is none."""
    if len(own) < 2:
        return "-"
    return f"{ttest_rel(own.search, own.hand_picked).pvalue:.3f}"


@in_one_line()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="The first table of docs/results.md.")
    parser.add_argument("file", type=a_file, help="docs/results.json")
    file = parser.parse_args().file
    whole = read_json(file) or {}
    if "search-worth" not in whole:
        raise KdnasError(f"{file} has no entry search-worth; give docs/results.json")
    print("\n".join(published(whole["search-worth"])))


if __name__ == "__main__":
    main()
