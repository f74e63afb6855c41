"""Tables of tiny teachers, in minutes: other tasks and teachers for replays.

    python benchmarks/tabular/tiny.py --run runs/tiny

Writes tiny-mrpc.csv and tiny-animals.csv beside this file, and with `--tables joint --most 0`
tiny-joint.csv: every shape with every recipe. Teachers are a small BERT and a small RoBERTa,
trained from scratch on the data that the tests learn. Like make.py, it can be stopped and repeated,
and shared by several processes (`--part`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make import make_table
from support.stepwise import Stepwise
from support.tiny import save_animals, save_mrpc, save_teacher

from kdnas.config import Settings, load_settings
from kdnas.runs.run_folder import Run

sys.path.append(str(Path(__file__).parents[1]))
from command_line import a_part, in_one_line

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
    task: str
    recipes: str = ""


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
        task="mrpc",
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
        task="animals",
    ),
    "joint": Tiny(
        "roberta",
        {"num_hidden_layers": 8, "hidden_size": 64, "intermediate_size": 192},
        save_animals,
        {
            **{"num_hidden_layers": [1, 2, 3, 4, 6, 8], "num_attention_heads": [4]},
            **{"hidden_size": [16, 24, 40, 64], "intermediate_size": [48, 96, 192]},
            "hidden_act": ["gelu"],
        },
        task="animals",
        recipes="relations,states,minilm-task,tinybert-task,pkd,logits",
    ),
}


@in_one_line()
def main() -> None:
    """Makes what is missing of the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="Folder to work in.")
    parser.add_argument("--tables", nargs="*", default=["mrpc", "animals"], choices=TABLES)
    parser.add_argument(
        "--most", type=int, default=40, help="Students of a table, at random; 0: all."
    )
    parser.add_argument("--part", type=a_part, default="0/1", help="I/N, as of make.py.")
    args = parser.parse_args()
    part, parts = args.part
    for name in args.tables:
        folder = args.run.resolve() / name
        pipeline = Stepwise(Run.create(settings_of(TABLES[name], folder)))
        file = Path(__file__).with_name(f"tiny-{name}.csv")
        make_table(pipeline, folder, file, part, parts, most=args.most or None)


def settings_of(tiny: Tiny, folder: Path) -> Settings:
    """Settings of a table, whose teacher and data are saved below its folder."""
    teacher, data = folder / "untrained", folder / "data"
    if not (teacher / "config.json").exists():
        teacher.mkdir(parents=True)
        save_teacher(teacher, tiny.model_type, **tiny.shape)
    if not data.exists():
        data.mkdir()
        tiny.save(data)
    file = data / f"{tiny.task}.yaml"
    task = str(file) if file.exists() else tiny.task
    places: dict[str, Any] = {"teacher": str(teacher), "data_dir": data, "out": folder / "run"}
    given = {**SHARED, **places, "task": task, "space": tiny.space}
    return load_settings(None, {**given, **({"recipes": tiny.recipes} if tiny.recipes else {})})


if __name__ == "__main__":
    main()
