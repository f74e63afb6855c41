"""The settings of a run: every option with its default, limits and help text.

Not a source of environment variables: a run reads the same from its config.yaml in any shell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from kdnas.config.black_box import problem_of_black_box, with_defaults
from kdnas.config.choices import (
    ClassWeights,
    Cost,
    LatencyRuntime,
    Normalisation,
    Objective,
    Precision,
    RandomControl,
    Sampler,
    Tracker,
)
from kdnas.config.layer_mapping import LayerMapping
from kdnas.config.recipe import (
    LEAST_EPOCHS,
    LEAST_LR,
    MOST_BATCH,
    MOST_EPOCHS,
    MOST_LR,
    MOST_WEIGHT,
    Shares,
    Stage,
    Weights,
    problem_of,
)
from kdnas.config.shape import Shape, read_shape, shape_text
from kdnas.runtime.shown import shown

# Options of the recipe without `stages`; stages set their own.
PLAIN_RECIPE = (
    *("epochs", "lr", "task_epochs", "task_lr"),
    *("temperature", "logit_weight", "hidden_weight"),
)
# What may change when a run continues: at any time; of the teacher and of scoring, until a
# candidate is scored. Teachers and students that were trained otherwise are trained again.
CHANGEABLE = (
    *("trials", "final_seeds", "threads", "jobs", "device", "cache_limit", "force", "track"),
)
OF_FULL_KD = (
    *("recipe", "stages", "after_mini_kd"),
    *("epochs", "lr", "task_epochs", "task_lr", "logit_weight", "hidden_weight"),
)
OF_FINE_TUNING = ("teacher_epochs", "teacher_lr", "class_weights")
OF_THE_TEACHER = (*OF_FINE_TUNING, "fresh_head", "label_map")
OF_SCORING = (
    *("mini_epochs", "mini_lr", "mini_steps", "mini_seconds", "mini_stride", "mini_losses"),
    *("temperature", "batch_size"),
)
# What a recipe may set: all that is part of a method.
OF_A_RECIPE = (
    *("stages", *PLAIN_RECIPE, "space", "inherit", "after_mini_kd", "class_weights", "batch_size"),
    *("mapping", "normalisation", "shared_projection", "mask_probability"),
    *("transfer_rows", "transfer_methods", "transfer_tasks", "corpus_rows", "corpus_pairs"),
    *("mini_losses", "mini_score", "mini_epochs", "mini_lr", "mini_stride"),
)
# Of a search alone, beside the panel Search: one student of a given shape has no use for them. The
# last ones contradict a shape.
SEARCH = "Search"
OF_SEARCHING = ("trials", "jobs")
AGAINST_A_SHAPE = ("speedup", "max_params", "space", "recipes")
# What may differ for another trial of a run.
OF_A_TRIAL = ("threads", "device", "final_seeds")
# Limits that several options share, here and in stages. Seeds are added to, below 2**32.
MOST_SEED = 2**31 - 1
MOST_FINAL_SEEDS = 100
MOST_ROWS = 1_000_000_000
MOST_TOKENS = 65_536
MOST_THREADS = 1024
MOST_SECONDS = 7 * 24 * 3600
# The losses that a score other than a single one is the mean of.
SCORES = {"mean": ("hidden", "logits")}
# The score that is of no loss, but of predictions, after a short run of the candidate's own recipe.
AGREEMENT = "agreement"
# What --search-over takes.
OVER_SHAPES, OVER_RECIPES = "shape", "shape,recipe"
# The panels of --help, each by its first option.
PANELS = {
    "teacher": "Run",
    "data_dir": "Data",
    "general_teacher": "Teacher",
    "space": SEARCH,
    "proxy_fraction": "Mini-KD",
    "recipe": "Full KD",
    "batch_size": "Machine",
}


def setting(
    default: Any, description: str, *, main: bool = False, form: str | None = None, **limits: Any
) -> Any:
    """One option: its default and its help text.

    Args:
        main: Whether a person needs it in the first week; --help then shows it.
        form: What stands for its value in help, such as URL; default: by its type, such as INT.
    """
    shown_in_help: JsonDict = {"main": main, "form": form}
    return Field(default, description=description, json_schema_extra=shown_in_help, **limits)


class Settings(BaseModel):
    """Every option of `kdnas search`. A YAML key and a flag carry the same name."""

    model_config = ConfigDict(
        extra="forbid", validate_default=True, frozen=True, allow_inf_nan=False
    )

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
        "Run folder; default: runs/TEACHER-TASK, of a given shape runs/TEACHER-TASK-SHAPE.",
        main=True,
        form="FOLDER",
    )
    architecture: str | None = setting(
        None,
        "Shape of the one student of kdnas distill: 6x256 (layers x hidden size), with heads, "
        "feed-forward size and activation 6x256-h8-f1024-relu, or half; what is left out is in the "
        "teacher's proportions.",
        main=True,
        form="SHAPE",
    )
    trials: int = setting(
        20,
        "Candidates to evaluate in total; with --rungs, what so many would cost.",
        ge=1,
        le=1_000_000,
        main=True,
    )
    seed: int = setting(
        0,
        "Random seed (the texts and masks of a corpus have their own).",
        ge=0,
        le=MOST_SEED,
        main=True,
    )

    data_dir: Path | None = setting(
        None,
        "Folder in the official GLUE layout, or "
        "<task>/{train,validation,test}.{csv,tsv,jsonl,parquet}; default: KDNAS_DATA_DIR, else "
        "the hub.",
        main=True,
        form="FOLDER",
    )
    skip_malformed: bool = setting(
        False,
        "Leave out malformed rows, however many; default: refuse any in a split of fewer than "
        "1,000 rows, and more than 1% in a larger one.",
    )
    corpus: str | None = setting(
        None,
        "Unlabelled text to distil on instead of the task's texts: a text, JSON-lines or Parquet "
        "file, a folder of them, or a hub data set (NAME or NAME:CONFIG).",
        main=True,
        form="FILE",
    )
    corpus_rows: int = setting(
        50_000, "Use at most this many texts of the corpus.", ge=1, le=MOST_ROWS
    )
    corpus_pairs: float | None = setting(
        None,
        "Share of the corpus read as pairs of similar texts; default: 0.5 for general stages, "
        "else 0.",
        ge=0,
        le=1,
    )
    max_train_rows: int | None = setting(
        None,
        "Use a stratified sample of at most this many training rows.",
        ge=1,
        le=MOST_ROWS,
        main=True,
    )
    max_length: int = setting(128, "Longest input, in tokens.", ge=8, le=MOST_TOKENS, main=True)
    label_all_pieces: bool = setting(
        False,
        "Token classification: train on all pieces of a word, not on its first one alone; scores "
        "and answers are of first pieces all the same.",
    )
    window_stride: int = setting(
        128,
        "Question answering: tokens that two windows on a long context share.",
        ge=0,
        le=MOST_TOKENS,
    )
    max_target_length: int = setting(
        128,
        "Sequence-to-sequence: longest target, in tokens.",
        ge=2,
        le=MOST_TOKENS,
    )
    source_prefix: str | None = setting(
        None,
        "Sequence-to-sequence: what is put before each source, such as 'translate English to "
        "German: ' for T5; default: the prefix in the teacher's config, if any.",
        form="TEXT",
    )
    tasks: dict[str, dict[str, Any]] = setting({}, "Definitions of further tasks (YAML only).")

    general_teacher: str | None = setting(
        None, "Teacher of general stages; default: the teacher before fine-tuning."
    )
    teacher_as_is: bool = setting(False, "Do not fine-tune the teacher.", main=True)
    label_map: str | None = setting(
        None,
        "The outputs of the teacher's head, by name or number and with commas between them, in "
        "the order of the task's labels; default: matched by their names, else as they are.",
        form="LIST",
    )
    fresh_head: bool = setting(
        False, "Train a new head for the teacher, also where it has one for the task."
    )
    labels_stand_in: bool = setting(
        False,
        "Let the labels of training rows stand in for predictions that a black-box teacher's file "
        "lacks; default: of at most 1% of the rows.",
    )
    force: bool = setting(
        False, "Go on with a teacher that is not clearly better than one constant answer."
    )
    teacher_epochs: float = setting(
        3, "Epochs of fine-tuning the teacher.", ge=LEAST_EPOCHS, le=MOST_EPOCHS, main=True
    )
    teacher_lr: float = setting(
        5e-5, "Peak learning rate of fine-tuning the teacher.", ge=LEAST_LR, le=MOST_LR
    )

    space: dict[str, list[int | str]] = setting(
        {},
        "Values to choose from by config field, in place of the derived ones; the word teacher is "
        "the teacher's own value (YAML only).",
    )
    recipes: str | None = setting(
        None,
        "Recipes to choose from beside shapes: names (kdnas recipes lists them) or files with "
        "commas between them, or all; default: --recipe alone.",
        main=True,
        form="LIST",
    )
    search_over: str = setting(
        OVER_SHAPES,
        f"What a search chooses: {OVER_SHAPES}, or {OVER_RECIPES} (of --recipes, by default all); "
        f"default: {OVER_RECIPES} where --recipes gives several.",
        form="LIST",
    )
    offered: dict[str, dict[str, Any]] = setting(
        {}, "The recipes of --recipes as they were read, by name; kdnas writes it (YAML only)."
    )
    sampler: Sampler = setting(
        "lstm",
        "Proposes candidates: lstm (a controller trained by reinforcement), or one of Optuna's "
        "samplers.",
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
        "Only choose students at least this many times as fast as the teacher.",
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
        True, "Start with the corners of the space and well-known student architectures."
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
        "Seconds without a heartbeat after which a worker on another machine counts as dead and "
        "its candidate is queued again.",
        ge=4,
        le=MOST_SECONDS,
    )

    proxy_fraction: float = setting(
        0.3, "Share of the distillation data used by mini-KD (the proxy).", gt=0, le=1
    )
    heldout_fraction: float = setting(0.1, "Share of the proxy held out for the score.", gt=0, lt=1)
    mini_epochs: float = setting(
        3, "Epochs of mini-KD per candidate.", ge=LEAST_EPOCHS, le=MOST_EPOCHS
    )
    mini_lr: float = setting(5e-4, "Peak learning rate of mini-KD.", ge=LEAST_LR, le=MOST_LR)
    mini_steps: int | None = setting(
        None, "At most this many steps of mini-KD per candidate.", ge=1, le=1_000_000_000
    )
    mini_seconds: float | None = setting(
        None,
        "At most this many seconds of mini-KD per candidate; the learning rate then decays by the"
        " clock, and results depend on the machine.",
        ge=0.01,
        le=MOST_SECONDS,
    )
    mini_stride: int = setting(
        2,
        "Train mini-KD on the hidden states of every n-th token, with another offset each batch; "
        "the score is over all tokens.",
        ge=1,
        le=1000,
    )
    mini_losses: Weights = setting(
        {"hidden": 1.0}, "Losses of mini-KD with their weights, as in a stage (YAML only)."
    )
    mini_score: str = setting(
        "hidden",
        "The loss whose held-out value scores a candidate (hidden and logits: the share left "
        "unexplained), mean: of hidden and logits, or agreement: with the teacher's predictions, "
        "after a short run of the candidate's own recipe.",
    )
    normalisation: Normalisation = setting(
        "layer",
        "Hidden-state loss: mean squared error relative to the teacher's variance per layer, per "
        "dimension, or raw.",
    )
    mapping: LayerMapping = setting(
        "skip+last",
        "Layer map, which teacher layers the student's layers learn from: a name, or the teacher "
        "layer of each student layer, such as 3,6,9.",
        form="NAME|LIST",
    )
    shared_projection: bool = setting(False, "Share one projection between all layers.")
    mask_probability: float = setting(
        0.0, "Share of tokens masked in the proxy, for teacher and student alike.", ge=0, lt=1
    )
    inherit: bool = setting(True, "Initialise students from the teacher's weights.")

    recipe: str = setting(
        "default",
        "How students are trained in full: the name of a recipe (kdnas recipes lists them), or a "
        "YAML file in their form.",
        main=True,
        form="NAME|FILE",
    )
    after_mini_kd: bool = setting(
        True, "Full KD goes on from the student that mini-KD trained; without it, starts afresh."
    )
    epochs: float = setting(
        3, "Epochs of full KD on hidden states.", ge=0, le=MOST_EPOCHS, main=True
    )
    lr: float = setting(
        5e-4, "Peak learning rate of full KD on hidden states.", ge=LEAST_LR, le=MOST_LR
    )
    task_epochs: float = setting(
        3, "Epochs of task training.", ge=LEAST_EPOCHS, le=MOST_EPOCHS, main=True
    )
    task_lr: float = setting(2e-4, "Peak learning rate of task training.", ge=LEAST_LR, le=MOST_LR)
    temperature: float = setting(2.0, "Temperature of the logit loss.", ge=0.01, le=1000)
    logit_weight: float = setting(
        1.0, "Weight of the logit loss in task training.", ge=0, le=MOST_WEIGHT
    )
    hidden_weight: float = setting(
        1.0, "Weight of the hidden-state loss in task training.", ge=0, le=MOST_WEIGHT
    )
    class_weights: ClassWeights = setting(
        "none",
        "Weights of the classes in the loss on labels, of teacher and students: none, or balanced: "
        "the rarer a class, the more a row of it counts.",
        main=True,
    )
    final_seeds: int = setting(
        1,
        "Train the student and its controls in full this often, with seeds of their own; the best "
        "on held-out training rows ships, mean and spread are reported.",
        ge=1,
        le=MOST_FINAL_SEEDS,
        main=True,
    )

    stages: tuple[Stage, ...] = setting(
        (), "Stages of full KD, in place of hidden states and task (YAML only)."
    )
    transfer_rows: int = setting(
        20_000, "Rows of the transfer set, including the task's own.", ge=1, le=MOST_ROWS
    )
    transfer_methods: Shares = setting(
        {},
        "Augmentations that make the other rows, with their shares (YAML only); default: all that"
        " apply.",
    )
    transfer_tasks: tuple[str, ...] = setting(
        (), "Tasks whose texts, without labels, make up to half of the other rows (YAML only)."
    )

    batch_size: int = setting(32, "Examples per batch.", ge=1, le=MOST_BATCH, main=True)
    precision: Precision = setting(
        "auto", "fp32, bf16, or auto: bf16 where the hardware multiplies it natively."
    )
    threads: int | Literal["auto"] | None = setting(
        None,
        "CPU threads; auto: as many as there are cores without other work; default: torch decides.",
    )
    jobs: int | Literal["auto"] = setting(
        "auto",
        "Candidates scored side by side, one thread each; auto: on Linux and the CPU as many as "
        "there are cores without other work, else 1, with all threads.",
        main=True,
    )
    device: str | None = setting(
        None, "cpu, cuda or mps; default: the fastest available.", main=True
    )
    track: Tracker = setting(
        "off",
        "Also tell trials, losses, scores and settings to a tracker, whose package must be "
        "installed.",
        main=True,
    )
    cache_limit: str | None = setting(
        None,
        "Largest size of the cache that runs share, such as 20GB, or none: what was used least "
        "recently is removed; default: KDNAS_CACHE_LIMIT, else 20GB.",
        form="SIZE",
    )
    latency_batch: int = setting(
        1,
        "Examples per batch when latency is measured; default: 1, on a GPU 32.",
        ge=1,
        le=MOST_BATCH,
    )
    latency_length: int = setting(
        128,
        "Tokens per example when latency is measured; default: 128, or the teacher's limit.",
        ge=1,
        le=MOST_TOKENS,
    )
    latency_runtime: LatencyRuntime = setting(
        "torch",
        "Runtime that serves students and measures latency: torch (eager) or onnx (ONNX Runtime, "
        "on the CPU).",
        main=True,
    )
    latency_quiet: bool = setting(
        True,
        "Measure latency only while no other kdnas process of this user computes on the machine.",
    )

    @property
    def searches(self) -> bool:
        """Whether a study finds the student's shape; else it is given."""
        return self.architecture is None

    @property
    def shape(self) -> Shape:
        """What is given of the student's shape; empty where a study finds it."""
        return {} if self.architecture is None else read_shape(self.architecture)

    @property
    def base(self) -> str | None:
        """The model that students get shape, tokenizer and weights from; None: the embedded one."""
        return self.teacher if self.teacher_predictions is None else self.student_base

    @property
    def full_stages(self) -> tuple[Stage, ...]:
        """The stages of full KD: by default hidden states, then the task with both losses.

        Of a black-box teacher: its logits, then the task with them.
        """
        return self.stages or (
            self._of_hidden if self.teacher_predictions is None else self._of_logits
        )

    @property
    def _of_logits(self) -> tuple[Stage, ...]:
        first = Stage(
            name="logits",
            data="transfer",
            losses={"logits": 1.0},
            epochs=self.epochs or 1,
            lr=self.lr,
            **self._softened,
        )
        task = Stage(
            name="task",
            data="transfer",
            losses={"task": 1.0, "logits": self.logit_weight},
            epochs=self.task_epochs,
            lr=self.task_lr,
            **self._softened,
        )
        return (first, task) if self.epochs else (task,)

    @property
    def _softened(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    @property
    def _of_hidden(self) -> tuple[Stage, ...]:
        hidden = Stage(
            name="hidden",
            data="corpus" if self.corpus else "task",
            teacher="task",
            losses={"hidden": 1.0},
            epochs=self.epochs or 1,
            lr=self.lr,
        )
        task = Stage(
            name="task",
            data="task",
            losses={"task": 1.0, "logits": self.logit_weight, "hidden": self.hidden_weight},
            epochs=self.task_epochs,
            lr=self.task_lr,
            **self._softened,
        )
        return (hidden, task) if self.epochs else (task,)

    @property
    def mini_stage(self) -> Stage:
        """Mini-KD as one more stage, whose data are the proxy.

        Inherited word embeddings stay as they are: they are most of a small student's weights, and
        the teacher's already.
        """
        return Stage(
            name="mini-kd",
            data="corpus" if self.corpus else "task",
            teacher="task",
            losses=self.mini_losses,
            epochs=self.mini_epochs,
            lr=self.mini_lr,
            stride=self.mini_stride,
            freeze_embeddings=self.inherit,
        )

    @property
    def scores_agreement(self) -> bool:
        """Whether candidates are scored by their predictions, after a run of their recipe."""
        return self.mini_score == AGREEMENT

    @property
    def scored_losses(self) -> tuple[str, ...]:
        """The losses whose held-out values, averaged, score a candidate; none for agreement."""
        if self.scores_agreement:
            return ()
        return SCORES.get(self.mini_score, (self.mini_score,))

    @property
    def short_stages(self) -> tuple[Stage, ...]:
        """The short run of a recipe that candidates are scored after; its data are the proxy.

        It takes --mini-epochs in all. Where predictions are scored, these are the recipe's own
        stages, which keep their shares of the epochs; else the one stage of mini-KD stands for it.
        """
        if not self.scores_agreement:
            return (self.mini_stage,)
        whole = sum(stage.epochs for stage in self.full_stages)
        return tuple(
            stage.model_copy(update={"epochs": self.mini_epochs * stage.epochs / whole})
            for stage in self.full_stages
        )

    @field_validator("architecture", mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> Any:
        """The text of a shape, which YAML may also give as a mapping."""
        return None if value is None else shape_text(read_shape(value))

    @field_validator("recipes", "search_over", mode="before")
    @classmethod
    def _one_text(cls, value: Any) -> Any:
        """Names with commas between them, which YAML may also give as a list."""
        return joined(value)

    @field_validator("threads", "jobs", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any, info: ValidationInfo) -> Any:
        """A word where a number could stand would give two errors, one for each kind."""
        if value is None or value == "auto":
            return value
        words = isinstance(value, str) and re.fullmatch(r"\s*\d{1,4}\s*", value)
        number = int(value) if words or isinstance(value, int) else 0
        if not 1 <= number <= MOST_THREADS:
            raise PydanticCustomError(  # type: ignore[arg-type]
                str(info.field_name), f"expected 1 to {MOST_THREADS}, or auto"
            )
        return number

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, values: Any) -> Any:
        """YAML reads a bare `off` as false, and pydantic a `true` as 1; a path may not be empty."""
        values = dict(values)
        for name in ("random_control", "track"):
            if values.get(name) is False:
                values[name] = "off"
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field and (problem := _problem(value, field.annotation)):
                raise ValueError(f"invalid --{name.replace('_', '-')} {problem}")
        return with_defaults(values)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.fresh_head and (self.label_map or self.teacher_as_is):
            other = "label-map" if self.label_map else "teacher-as-is"
            raise ValueError(f"--fresh-head and --{other} contradict each other: give one of them")
        for name in AGAINST_A_SHAPE if not self.searches else ():
            if getattr(self, name):
                option = name.replace("_", "-")
                raise ValueError(
                    f"--{option} and --architecture contradict each other: the shape is given, and "
                    f"nothing is chosen; leave --{option} out"
                )
        if 0 < self.epochs < LEAST_EPOCHS:
            raise ValueError(
                f"invalid --epochs {self.epochs}: expected 0, or {LEAST_EPOCHS} or more"
            )
        if self.scores_agreement and self.rungs > 1:
            raise ValueError(
                f"invalid --rungs {self.rungs}: --mini-score {AGREEMENT} compares whole runs of "
                "recipes, many of which train the head last; leave --rungs out"
            )
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        problem = self._problem_of_offer() or problem_of(self.stages, self.corpus)
        if problem := problem or problem_of_black_box(dict(self), defaults, self.full_stages):
            raise ValueError(problem)
        for name in PLAIN_RECIPE if self.stages else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                named = self.recipe != type(self).model_fields["recipe"].default
                own = f" (kdnas recipes {self.recipe} prints them)" if named else ""
                raise ValueError(
                    f"invalid --{name.replace('_', '-')} {getattr(self, name)}: the recipe has "
                    f"stages, which set their own; change it there{own}"
                )
        return self

    def _problem_of_offer(self) -> str | None:
        """What is wrong with what a search chooses, in words."""
        over, usual = split(self.search_over), type(self).model_fields["recipe"].default
        asked = f"invalid --search-over {self.search_over}"
        another = "stages" if self.recipe == usual else f"--recipe {shown(self.recipe)}"
        problems = (
            (
                "vocabulary" in over,
                f"{asked}: students have the teacher's vocabulary; give {OVER_RECIPES}",
            ),
            (
                not set(over) <= set(split(OVER_RECIPES)),
                f"{asked}: expected {OVER_SHAPES} or {OVER_RECIPES}",
            ),
            (
                OVER_SHAPES not in over,
                f"{asked}: a search chooses the shape, too; give {OVER_RECIPES}, and one shape in "
                "`space` where it is known",
            ),
            (
                ("recipe" in over) != bool(self.offered),
                f"--search-over {self.search_over} and --recipes {self.recipes} contradict each "
                "other: leave one of them out",
            ),
            (
                self.offered and (self.recipe != usual or self.stages),
                f"{another} and --recipes contradict each other: give one of them",
            ),
            (
                self.offered and not self.scores_agreement,
                f"invalid --mini-score {self.mini_score}: it does not compare recipes; with "
                f"several --recipes the score is {AGREEMENT}: leave --mini-score out",
            ),
        )
        return next((text for wrong, text in problems if wrong), None)


def joined(value: Any) -> Any:
    """A list of names as one text: `a,b`."""
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        value = ",".join(value)
    return ",".join(split(value)) if isinstance(value, str) else value


def split(text: str) -> list[str]:
    """The names in such a text."""
    return [word.strip() for word in text.split(",") if word.strip()]


def is_main(name: str) -> bool:
    """Whether --help of a command with many options shows this one."""
    return bool(_in_help(name)["main"])


def panel_of(name: str) -> str:
    """The panel of --help that an option stands in."""
    names = list(Settings.model_fields)
    return next(PANELS[n] for n in reversed(names[: names.index(name) + 1]) if n in PANELS)


def is_of_a_search(name: str) -> bool:
    """Whether an option matters to a search alone."""
    return name in OF_SEARCHING or panel_of(name) == SEARCH


def shown_as(name: str) -> str | None:
    """What stands for an option's value in help, where its type does not say it."""
    form = _in_help(name)["form"]
    return None if form is None else str(form)


def _in_help(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict), "every field is made by `setting`"
    return dict(extra)


def _problem(value: Any, kind: Any) -> str | None:
    """A value that no option of its kind takes, and what to give instead."""
    if isinstance(value, bool) and kind is not bool:
        is_text = str in (kind, *get_args(kind)) or Path in get_args(kind)
        hint = "; put it in quotes" if is_text else ""
        return f"{shown(value)}: only switches take true or false{hint}"
    if isinstance(value, str) and not value.strip():
        return f"'{shown(value)}': it is empty; leave it out for the default"
    if isinstance(value, str | Path) and "\0" in str(value):
        return f"{shown(value)}: no text or path may hold a NUL character"
    return None
