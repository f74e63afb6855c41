"""What a run is about: teacher, task, folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from kdnas.config.options.base import MOST_SEED, MOST_TRIALS, Options, setting
from kdnas.config.vocabulary import TEACHERS


class RunOptions(Options):
    """The panel Run of --help."""

    panel: ClassVar[str] = "Run"

    teacher: str | None = setting(
        None, "Hub id or local folder; default: the MiniLM of an installed package.", main=True
    )
    teacher_predictions: Path | None = setting(
        None,
        "A black-box teacher: a .jsonl (or .jsonl.gz) or .parquet file with what it says of each "
        "text, as kdnas predict --json writes it; takes the place of --teacher.",
        main=True,
    )
    student_base: str | None = setting(
        None,
        "The encoder that gives students of a black-box teacher their shapes, tokenizer and first "
        "weights; hub id or folder; default: as for --teacher.",
        main=True,
    )
    task: str | None = setting(
        None,
        "Name of a task (the nine GLUE tasks, rotten-tomatoes, conll2003, wnut17, squad, squad2, "
        "multi30k, dialogsum), or a YAML file that defines one; default: the Rotten Tomatoes "
        "snippets of an installed package.",
        main=True,
    )
    out: Path | None = setting(
        None,
        "Run folder; default: runs/TEACHER-TASK, of a given shape runs/TEACHER-TASK-SHAPE, of a "
        "pruned one runs/TEACHER-TASK-METHOD.",
        main=True,
        form="FOLDER",
    )
    architecture: str | None = setting(
        None,
        "Shape of the one student of kdnas distill: 6x256 (layers x hidden size), with heads, "
        "feed-forward size and activation 6x256-h8-f1024-relu, or half; an encoder-decoder's "
        "decoder behind a plus, 6+2x256; factorised embeddings of width 64 with -e64; what is left "
        "out is in the teacher's proportions; "
        "0x128 has no layers and averages token vectors.",
        main=True,
        form="SHAPE",
    )
    vocabulary: str = setting(
        TEACHERS,
        "Tokens that students have: teacher (all of the teacher's), task (those of the task's "
        "training texts, and what the tokenizer needs to read any other text), or task-N (those "
        "that occur N times or more).",
        main=True,
        form="NAME",
    )
    trials: int = setting(
        20,
        "Candidates to evaluate in total; with --rungs, what so many would cost. With --budget, "
        "whichever ends first; none where --budget is given alone.",
        ge=1,
        le=MOST_TRIALS,
        main=True,
    )
    budget: str | None = setting(
        None,
        "End within this time, such as 45m, 1h30m or 90s: as many trials as leave time to distil "
        "the best and to evaluate it; default: --trials alone ends the search.",
        main=True,
        form="TIME",
    )
    seed: int = setting(
        0,
        "Random seed (the texts and masks of a corpus have their own).",
        ge=0,
        le=MOST_SEED,
        main=True,
    )
