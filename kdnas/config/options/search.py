"""What a search chooses between, and how."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import field_validator

from kdnas.config.choices import SHAPE, Cost, Objective, RandomControl, Sampler
from kdnas.config.options.base import MOST_FINALISTS, MOST_SECONDS, Options, setting

# What is written for a limit that is not wanted.
NO_LIMIT = "none"


class SearchOptions(Options):
    """The panel Search of --help."""

    panel: ClassVar[str] = "Search"

    space: dict[str, list[int | float | str]] = setting(
        {},
        "Values to choose from by config field, in place of the derived ones; the word teacher is "
        "the teacher's own value (YAML only).",
    )
    recipes: str | None = setting(
        None,
        "Recipes to choose from beside shapes: names (kdnas recipes lists them) or files with "
        "commas between them, such as relations,relations@logits=2, or all; default: --recipe "
        "alone.",
        main=True,
        form="LIST",
    )
    vocabularies: str | None = setting(
        None,
        "Vocabularies to choose from beside shapes, such as teacher,task,task-5; default: "
        "--vocabulary alone.",
        form="LIST",
    )
    search_over: str = setting(
        SHAPE,
        "What a search chooses: shape, with commas behind it any of recipe (of --recipes, by "
        "default all), vocabulary (of --vocabularies) and pruning (the teacher with fewer heads "
        "and neurons, too), such as shape,recipe; default: shape, and what --recipes "
        "and --vocabularies give several of; without these and within --speedup also pruning, "
        "where the teacher can be pruned.",
        main=True,
        form="LIST",
    )
    offered: dict[str, dict[str, Any]] = setting(
        {}, "The recipes of --recipes as they were read, by name; kdnas writes it (YAML only)."
    )
    sampler: Sampler = setting(
        "gp",
        "Proposes candidates: gp (Gaussian processes learn what gives good scores and what is fast "
        "enough), lstm (an ensemble of LSTMs learns it), or one of Optuna's samplers.",
        main=True,
    )
    objective: Objective = setting(
        "reward", "Maximise a reward of loss and cost, or find the Pareto front of both."
    )
    alpha: float = setting(-0.06, "Exponent of the relative cost in the reward.", ge=-10, le=0)
    beta: float = setting(
        0.6, "Target cost in the reward, as a share of the teacher's.", ge=0.001, le=10
    )
    cost: Cost = setting(
        "latency", "Cost in the reward: latency, multiply-accumulates or parameters.", main=True
    )
    speedup: float | None = setting(
        None,
        "Only choose students at least this many times as fast as the teacher; none: as fast as "
        "they are. Default: 2 where a search has no other limit, cost or objective.",
        gt=0,
        le=10_000,
        main=True,
    )
    max_params: int | None = setting(
        None, "Only choose students with at most this many parameters.", gt=0, le=10**12, main=True
    )
    scorer: str = setting(
        "mini-kd", "What scores candidates: mini-kd, or a scorer that a plug-in adds."
    )
    rungs: int = setting(
        1,
        "Successive halving: compare candidates at this many stages of training and drop the "
        "worse ones; 1 trains all to the end. The total budget stays.",
        ge=1,
        le=6,
    )
    reduction: int = setting(
        3, "Promote one candidate in this many from a rung to the next.", ge=2, le=100
    )
    warm_start: bool = setting(
        True,
        "Begin with a person's picks, the best of --screen and well-known shapes, not with what "
        "the sampler proposes.",
    )
    screen: int = setting(
        24,
        "Score at most this many candidates as they are initialised, without any training, and "
        "begin with the best of them; 0 is none. At most two a trial.",
        ge=0,
        le=10_000,
    )
    learn_from: str | None = setting(
        None,
        "Earlier runs, of any task and teacher, with commas between them, whose students the "
        "search learns from: gp and lstm from all of them, other samplers begin with the best.",
        form="RUN,...",
    )
    finalists: int = setting(
        3,
        "Distil this many of the best candidates in full; the best of them on held-out training "
        "rows is the search's student.",
        ge=1,
        le=MOST_FINALISTS,
        main=True,
    )
    random_control: RandomControl = setting(
        "search",
        "Random search with the same budget as a control: off, search (its trials), or full (also"
        " distil its winner).",
        main=True,
    )
    storage: str | None = setting(
        None, "Optuna storage URL; default: study.db in the run folder.", main=True, form="URL"
    )
    study: str = setting("kdnas", "Name of the study in the storage.")
    worker_timeout: int = setting(
        120,
        "Seconds without a heartbeat after which a worker counts as dead and its candidate is "
        "queued again.",
        ge=4,
        le=MOST_SECONDS,
    )

    @field_validator("speedup", mode="before")
    @classmethod
    def _without_limit(cls, value: Any) -> Any:
        return None if value == NO_LIMIT else value
