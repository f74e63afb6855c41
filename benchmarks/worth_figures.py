"""The figures of benchmarks/search_worth.py: pairs of equally fast students, and what they show.

    python benchmarks/worth_figures.py docs/results.json

prints the first table of docs/results.md, from all pairs of the entry `search-worth`, whoever's
tasks they are.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from command_line import a_file, entry_in, in_one_line
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
# What tells a published pair from others; pairs of before machines were noted have none.
PAIR = (*CELL, "machine")
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
    return as_fast(both.dropna(), apart)


def as_fast(both: pd.DataFrame, apart: float = AS_FAST) -> pd.DataFrame:
    """Those of some pairs whose speeds are no further `apart`."""
    return both[(both.speedup / both.speedup_rival - 1).abs() <= apart]


def gain(both: pd.DataFrame) -> dict[str, Any]:
    """What pairs gain: mean, paired t-test with its 95% interval, worst task."""
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
    picked = gain(pairs(frame, PICKED))
    own = frame[frame.method == SEARCH]
    kept = kept_of(own).groupby([own.speed, own.task]).mean().groupby("speed").mean().dropna()
    return {
        "gain_over_hand_picked": picked.get("gain"),
        "p_value": picked.get("p_value"),
        "worst_task_gain": picked.get("worst_task_gain"),
        "retention": {f"{speed:g}x": round(float(value), 4) for speed, value in kept.items()},
        "seconds": frame.groupby("method").seconds.median().round(1).to_dict(),
        "missed": every.groupby("method").missed.sum().astype(int).to_dict(),
        "against": {rival: gain(pairs(frame, rival)) for rival in METHODS[1:]},
        "at_any_speed": gain(pairs(frame, PICKED, math.inf)),
        "tasks": sorted(set(own.task)),
        "seeds": sorted(map(int, set(own.seed))),
        "pairs": listed(frame),
    }


def kept_of(frame: pd.DataFrame) -> pd.Series:
    """The share of its teacher's score that each student keeps; NaN of a teacher without any."""
    return frame.score / frame.teacher.where(frame.teacher > 0)


def listed(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Each pair of search and hand-picked shape, at any speed, with its teacher and machine."""
    columns = [*CELL, *(name for name in ("teacher", "machine") if name in frame)]
    searches = frame.loc[frame.method == SEARCH, columns]
    both = pairs(frame, PICKED, math.inf).reset_index().merge(searches, on=CELL)
    found = []
    for row in both.to_dict("records"):
        one = {"task": row["task"], "speed": plain(row["speed"]), "seed": row["seed"]}
        one |= {"search": round(row["score"], 5), "hand_picked": round(row["score_rival"], 5)}
        one |= {"speedups": [round(row[name], 3) for name in ("speedup", "speedup_rival")]}
        if not math.isnan(row["teacher"]):
            one |= {"teacher": round(row["teacher"], 5)}
        # Cells of before machines were noted are of this one, as far as anybody knows.
        machine = row.get("machine")
        found.append({**one, "machine": machine if isinstance(machine, str) else machine_kind()})
    return found


def machine_kind() -> str:
    """The kind of this machine's cores, as docs/results.md calls them."""
    kinds = {"AMX": "_is_amx_tile_supported", "AVX-512 bf16": "_is_avx512_bf16_supported"}
    has = (kind for kind, check in kinds.items() if getattr(torch.cpu, check, lambda: False)())
    return next(has, "slow")


def merged(before: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the pairs of a new one, which replace those of the same cell and machine.

    What pairs say is of all of them; what else a new entry has (`seconds`, `missed`, `against`,
    `at_any_speed`, `tasks`, `command`) is of its own cells. Other keys stay, and so does what was
    kept of teachers at a speed, where a pair does not say what its teacher had.
    """
    both = {tuple(map(one.get, PAIR)): one for one in before.get("pairs", ())}
    both |= {tuple(map(one.get, PAIR)): one for one in found["pairs"]}
    own = of_pairs(list(both.values()))
    kept = {**found["retention"], **before.get("retention", {}), **own["retention"]}
    return {**before, **found, **own, "retention": kept}


def of_pairs(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of published pairs, and these; retention of speeds whose teachers are all known.

    The first three count the pairs whose speeds are no further apart than `AS_FAST`.
    """
    both = as_published(given)
    counted = gain(as_fast(both))
    whole = gain(both)
    kept = kept_of(both).groupby(["speed", "task"]).mean().groupby("speed").mean()
    known = both.teacher.notna().groupby("speed").all()
    return {
        **{key: counted.get(key) for key in ("p_value", "worst_task_gain")},
        "gain_over_hand_picked": counted.get("gain"),
        "counted_pairs": counted["pairs"],
        "gain_of_all_pairs": whole.get("gain"),
        "p_value_of_all_pairs": whole.get("p_value"),
        "seeds": sorted({one["seed"] for one in given}),
        "retention": {
            f"{s:g}x": round(float(kept[s]), 4)
            for s in known.index
            if known[s] and pd.notna(kept[s])
        },
        "pairs": list(given),
    }


def as_published(given: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Published pairs in the columns of `pairs`, with their teachers' scores where known."""
    both = pd.DataFrame(given, columns=[*CELL, "search", "hand_picked", "speedups", "teacher"])
    both["speedup"] = both.speedups.str[0].astype(float)
    both["speedup_rival"] = both.speedups.str[1].astype(float)
    names = {"search": "score", "hand_picked": "score_rival"}
    return both.drop(columns="speedups").rename(columns=names).set_index(CELL)


def plain(speed: float) -> float:
    """A speed without a point where it is whole, as names of cells have it."""
    return int(speed) if float(speed).is_integer() else float(speed)


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
        cells = [str(task), f"{speed:g}x", str(method), *cells, str(len(rows) - len(made))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def published(found: Mapping[str, Any]) -> list[str]:
    """Markdown: the pairs of an entry by task and speed, whatever their speeds; what is kept."""
    both = as_published(found["pairs"]).reset_index()
    both["gain"] = both.score - both.score_rival
    speeds = sorted({*both.speed})
    own = (task for task in dict.fromkeys(both.task) if task not in TASKS)
    tasks = [*(task for task in TASKS if task in {*both.task}), *own]
    rows = [_published(TASKS.get(task, task), both[both.task == task], speeds) for task in tasks]
    rows.append(["**all**", *(f"**{cell}**" for cell in _published("all", both, speeds)[1:])])
    by_speed = [both[both.speed == speed] for speed in speeds]
    kept = [found["retention"].get(f"{speed:g}x") for speed in speeds]
    aims = [AIMS.get(speed) for speed in speeds]
    rows.append(_aside("won", (str(int((own.gain > 0).sum())) for own in by_speed)))
    rows.append(_aside("p", map(_p_value, by_speed)))
    rows.append(_aside("**kept of the teacher**", (f"**{_percent(share)}**" for share in kept)))
    rows.append(_aside("goal", map(_percent, aims)))
    rows.append(_aside("", map(_verdict, kept, aims)))
    head = ["task", "pairs", "won", "gain, points", "p", *(f"at {speed:g}x" for speed in speeds)]
    lines = [f"| {' | '.join(row)} |".replace("  ", " ") for row in (head, *rows)]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _verdict(share: float | None, aim: float | None) -> str:
    """Nothing where either is not known."""
    if share is None or aim is None:
        return "-"
    return "**missed**" if share < aim else "reached"


def _published(name: str, own: pd.DataFrame, speeds: Sequence[float]) -> list[str]:
    at = [own[own.speed == speed] for speed in speeds]
    cells = [f"{100 * one.gain.mean():+.1f} ({len(one)})" if len(one) else "-" for one in at]
    won = str(int((own.gain > 0).sum()))
    return [name, str(len(own)), won, f"{100 * own.gain.mean():+.1f}", _p_value(own), *cells]


def _aside(name: str, cells: Iterable[str]) -> list[str]:
    return [name, "", "", "", "", *cells]


def _p_value(own: pd.DataFrame) -> str:
    """Of a paired t-test, two-sided; of one pair there is none."""
    if len(own) < 2:
        return "-"
    return f"{ttest_rel(own.score, own.score_rival).pvalue:.3f}"


@in_one_line()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="The first table of docs/results.md.")
    parser.add_argument("file", type=a_file, help="docs/results.json")
    file = parser.parse_args().file
    found = entry_in(file, "search-worth")
    if not found.get("pairs"):
        raise KdnasError(f"{file} has no pairs in an entry search-worth; give docs/results.json")
    print("\n".join(published(found)))


if __name__ == "__main__":
    main()
