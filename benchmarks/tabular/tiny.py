"""Tables of tiny teachers, in minutes: other tasks and teachers for replays.

    python benchmarks/tabular/tiny.py --run runs/tiny

Writes tiny-mrpc.csv and tiny-animals.csv beside this file. Teachers are a small BERT and a small
RoBERTa, trained from scratch on the data that the tests learn. Like make.py, it can be stopped and
repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make import make_table
from support.stepwise import Stepwise
from support.tiny import save_animals, save_mrpc, save_teacher

from kdnas.config import Settings
from kdnas.runs.run_folder import Run

SHARED: dict[str, Any] = {
    **{"teacher_epochs": 8, "teacher_lr": 1e-3, "proxy_fraction": 1, "heldout_fraction": 0.25},
    **{"mini_epochs": 3, "mini_lr": 2e-3, "batch_size": 16, "latency_length": 32, "threads": 1},
    **{"device": "cpu", "precision": "fp32", "force": True},
}


@dataclass(frozen=True)
class Tiny:
    """A teacher, its task, and the students in its table."""

    model_type: str
    shape: dict[str, int]
    save: Callable[[Path], Path]
    space: dict[str, list[int | float | str]]


TABLES = {
    "mrpc": Tiny(
        "bert",
        {"num_hidden_layers": 6, "hidden_size": 48, "intermediate_size": 96},
        save_mrpc,
        {
            **{"num_hidden_layers": [1, 2, 3, 4, 5, 6], "num_attention_heads": [4]},
            **{"hidden_size": [12, 20, 28, 36, 48], "intermediate_size": [24, 48, 96]},
            "hidden_act": ["gelu"],
        },
    ),
    "animals": Tiny(
        "roberta",
        {"num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 192},
        save_animals,
        {
            **{"num_hidden_layers": [1, 2, 3, 4], "num_attention_heads": [4]},
            **{"hidden_size": [16, 24, 40, 56, 64], "intermediate_size": [48, 96, 144, 192]},
            "hidden_act": ["gelu"],
        },
    ),
}


def main() -> None:
    """Makes what is missing of the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder to work in.")
    parser.add_argument("--tables", nargs="*", default=list(TABLES), choices=TABLES)
    parser.add_argument("--most", type=int, default=40, help="Students of a table, at random.")
    args = parser.parse_args()
    for name in args.tables:
        folder = args.run.resolve() / name
        pipeline = Stepwise(Run.create(settings_of(TABLES[name], name, folder)))
        file = Path(__file__).with_name(f"tiny-{name}.csv")
        make_table(pipeline, folder, file, most=args.most)


def settings_of(tiny: Tiny, name: str, folder: Path) -> Settings:
    """Settings of a table, whose teacher and data are saved below its folder."""
    teacher, data = folder / "untrained", folder / "data"
    if not (teacher / "config.json").exists():
        teacher.mkdir(parents=True)
        save_teacher(teacher, tiny.model_type, **tiny.shape)
    if not data.exists():
        data.mkdir()
        tiny.save(data)
    file = data / f"{name}.yaml"
    task = str(file) if file.exists() else name
    places: dict[str, Any] = {"teacher": str(teacher), "data_dir": data, "out": folder / "run"}
    return Settings(**places, **SHARED, task=task, space=tiny.space)


if __name__ == "__main__":
    main()
