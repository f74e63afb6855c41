"""Pruned students: which heads and neurons of the teacher go, and how many."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from kdnas.config.choices import PruningMethod
from kdnas.config.options.base import Options, setting


class PruningOptions(Options):
    """The panel Pruning of --help."""

    panel: ClassVar[str] = "Pruning"

    pruned: PruningMethod | None = setting(
        None,
        "The student of kdnas distill is the teacher without the heads and feed-forward neurons "
        "that matter least by this method, as many as --sparsity or --speedup say; with "
        "--search-over shape,pruning, how candidates are pruned (ziplm unless given).",
        main=True,
    )
    sparsity: float | None = setting(
        None,
        "With --pruned: the share of heads and neurons (ziplm: of their weights) that goes, such "
        "as 0.8.",
        ge=0,
        lt=1,
        main=True,
    )
    kept_layers: int | None = setting(
        None,
        "With --pruned: how many of the teacher's layers stay, the last among them; the others go "
        "before heads and neurons do. Default: all.",
        ge=1,
        le=1000,
    )
    assistants: str | None = setting(
        None,
        "Of kdnas distill: students that teach in the teacher's place, each the next one, the last "
        "the student: a trial of RUN, such as trial-3, or the folder of a checkpoint, behind it "
        "students trained for this, of shapes as for --architecture, such as 4x384,3x384, or of "
        "sparsities of --pruned, such as 0.6,0.8 or 60%,80%; or auto: one whose sparsity is found "
        "by training several in one network. A folder called like a shape: ./4x384.",
        form="LIST|auto",
    )
    lower_rates: bool = setting(
        True,
        "Lower the learning rates of pruned students that keep much of the teacher: multiply them "
        "by 0.15 / (the share of its layers' weights that is left), at most 1.",
    )
    speedups: tuple[Annotated[float, Field(gt=1, le=10_000)], ...] = setting(
        (),
        "With --pruned: several students, each pruned from the one before it and trained; "
        "--speedup 2,4,8 gives them (YAML only).",
    )
