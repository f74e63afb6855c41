"""The settings of a run: every option with its default, limits and help text.

Not a source of environment variables: a run reads the same from its config.yaml in any shell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdnas.config.choices import (
    Augmentation,
    Cost,
    LatencyRuntime,
    LayerMapping,
    Normalisation,
    Objective,
    Precision,
    RandomControl,
    Sampler,
)
from kdnas.config.stages import SCORES, Stage, problem_of, problem_of_mini
from kdnas.config.weights import Share, Weight, problem_of_shares, problem_of_weights

# Options of the recipe without `stages`; stages set their own.
PLAIN_RECIPE = (
    "epochs",
    "lr",
    "task_epochs",
    "task_lr",
    "temperature",
    "logit_weight",
    "hidden_weight",
)


def setting(default: Any, description: str, panel: str, **limits: Any) -> Any:
    """One option: its default, its help text, and the help panel of the command line."""
    return Field(default, description=description, json_schema_extra={"panel": panel}, **limits)


class Settings(BaseModel):
    """Every option of `kdnas search`. A YAML key and a flag carry the same name."""

    model_config = ConfigDict(
        extra="forbid", validate_default=True, frozen=True, allow_inf_nan=False
    )

    teacher: str | None = setting(
        None, "Hub id or local folder; default: the MiniLM of an installed package.", "Main"
    )
    task: str | None = setting(
        None,
        "Name of a task (the nine GLUE tasks, rotten-tomatoes), or a YAML file that defines one; "
        "default: the Rotten Tomatoes snippets of an installed package.",
        "Main",
    )
    out: Path | None = setting(None, "Run folder; default: runs/TEACHER-TASK.", "Main")
    trials: int = setting(
        20, "Candidates to evaluate in total; with --rungs, what so many would cost.", "Main", ge=1
    )
    seed: int = setting(
        0, "Random seed (the texts and masks of a corpus have their own).", "Main", ge=0
    )

    data_dir: Path | None = setting(
        None,
        "Folder in the official GLUE layout, or <task>/{train,validation,test}.{csv,tsv,jsonl,"
        "parquet}; default: KDNAS_DATA_DIR, else the hub.",
        "Data",
    )
    corpus: str | None = setting(
        None,
        "Unlabelled text to distil on instead of the task's texts: a text, JSON-lines or Parquet "
        "file, a folder of them, or a hub data set (NAME or NAME:CONFIG).",
        "Data",
    )
    corpus_rows: int = setting(50_000, "Use at most this many texts of the corpus.", "Data", ge=1)
    corpus_pairs: float | None = setting(
        None,
        "Share of the corpus read as pairs of similar texts; default: 0.5 for general stages, "
        "else 0.",
        "Data",
        ge=0,
        le=1,
    )
    max_train_rows: int | None = setting(
        None, "Use a stratified sample of at most this many training rows.", "Data", ge=1
    )
    max_length: int = setting(128, "Longest input, in tokens.", "Data", ge=8)
    tasks: dict[str, dict[str, Any]] = setting(
        {}, "Definitions of further tasks (YAML only).", "Data"
    )

    general_teacher: str | None = setting(
        None,
        "Teacher of general stages; default: the teacher before fine-tuning.",
        "Teacher",
    )
    teacher_as_is: bool = setting(False, "Do not fine-tune the teacher.", "Teacher")
    teacher_epochs: float = setting(3, "Epochs of fine-tuning the teacher.", "Teacher", gt=0)
    teacher_lr: float = setting(
        5e-5, "Peak learning rate of fine-tuning the teacher.", "Teacher", gt=0
    )

    space: dict[str, list[int | str]] = setting(
        {},
        "Values to choose from by config field, in place of the derived ones (YAML only).",
        "Search",
    )
    sampler: Sampler = setting(
        "lstm",
        "Proposes candidates: lstm (a controller trained by reinforcement), or one of Optuna's "
        "samplers.",
        "Search",
    )
    objective: Objective = setting(
        "reward", "Maximise a reward of loss and cost, or find the Pareto front of both.", "Search"
    )
    alpha: float = setting(-0.06, "Exponent of the relative cost in the reward.", "Search", le=0)
    beta: float = setting(
        0.6, "Target cost in the reward, as a share of the teacher's.", "Search", gt=0
    )
    cost: Cost = setting(
        "latency", "Cost in the reward: latency, multiply-accumulates or parameters.", "Search"
    )
    speedup: float | None = setting(
        None,
        "Only choose students at least this many times as fast as the teacher.",
        "Search",
        gt=0,
    )
    max_params: int | None = setting(
        None, "Only choose students with at most this many parameters.", "Search", gt=0
    )
    scorer: str = setting(
        "mini-kd", "What scores candidates: mini-kd, or a scorer that a plug-in adds.", "Search"
    )
    rungs: int = setting(
        1,
        "Successive halving: compare candidates at this many stages of training and drop the worse "
        "ones; 1 trains all to the end. The total budget stays.",
        "Search",
        ge=1,
        le=6,
    )
    reduction: int = setting(
        3, "Promote one candidate in this many from a rung to the next.", "Search", ge=2
    )
    warm_start: bool = setting(
        True, "Start with the corners of the space and well-known student architectures.", "Search"
    )
    random_control: RandomControl = setting(
        "search",
        "Random search with the same budget as a control: off, search (its trials), or full (also "
        "distil its winner).",
        "Search",
    )
    storage: str | None = setting(
        None, "Optuna storage URL; default: study.db in the run folder.", "Search"
    )
    study: str = setting("kdnas", "Name of the study in the storage.", "Search")
    worker_timeout: int = setting(
        120,
        "Seconds without a heartbeat after which a worker on another machine counts as dead and "
        "its candidate is queued again.",
        "Search",
        ge=4,
    )

    proxy_fraction: float = setting(
        0.3, "Share of the distillation data used by mini-KD (the proxy).", "Mini-KD", gt=0, le=1
    )
    heldout_fraction: float = setting(
        0.1, "Share of the proxy held out for the score.", "Mini-KD", gt=0, lt=1
    )
    mini_epochs: float = setting(3, "Epochs of mini-KD per candidate.", "Mini-KD", gt=0)
    mini_lr: float = setting(5e-4, "Peak learning rate of mini-KD.", "Mini-KD", gt=0)
    mini_steps: int | None = setting(
        None, "At most this many steps of mini-KD per candidate.", "Mini-KD", ge=1
    )
    mini_seconds: float | None = setting(
        None,
        "At most this many seconds of mini-KD per candidate; the learning rate then decays by the "
        "clock, and results depend on the machine.",
        "Mini-KD",
        gt=0,
    )
    mini_stride: int = setting(
        2,
        "Train mini-KD on the hidden states of every n-th token, with another offset each batch; "
        "the score is over all tokens.",
        "Mini-KD",
        ge=1,
    )
    mini_losses: dict[str, Weight] = setting(
        {"hidden": 1.0},
        "Losses of mini-KD with their weights, as in a stage (YAML only).",
        "Mini-KD",
        min_length=1,
    )
    mini_score: str = setting(
        "hidden",
        "The loss whose held-out value scores a candidate (hidden and logits: the share left "
        "unexplained), or mean: of hidden and logits.",
        "Mini-KD",
    )
    normalisation: Normalisation = setting(
        "layer",
        "Hidden-state loss: mean squared error relative to the teacher's variance per layer, per "
        "dimension, or raw.",
        "Mini-KD",
    )
    mapping: LayerMapping = setting(
        "skip+last", "Layer map: which teacher layers the student's layers learn from.", "Mini-KD"
    )
    shared_projection: bool = setting(False, "Share one projection between all layers.", "Mini-KD")
    mask_probability: float = setting(
        0.0,
        "Share of tokens masked in the proxy, for teacher and student alike.",
        "Mini-KD",
        ge=0,
        lt=1,
    )
    inherit: bool = setting(True, "Initialise students from the teacher's weights.", "Mini-KD")

    epochs: float = setting(3, "Epochs of full KD on hidden states.", "Full KD", ge=0)
    lr: float = setting(5e-4, "Peak learning rate of full KD on hidden states.", "Full KD", gt=0)
    task_epochs: float = setting(3, "Epochs of task training.", "Full KD", gt=0)
    task_lr: float = setting(2e-4, "Peak learning rate of task training.", "Full KD", gt=0)
    temperature: float = setting(2.0, "Temperature of the logit loss.", "Full KD", gt=0)
    logit_weight: float = setting(
        1.0, "Weight of the logit loss in task training.", "Full KD", ge=0
    )
    hidden_weight: float = setting(
        1.0, "Weight of the hidden-state loss in task training.", "Full KD", ge=0
    )

    stages: tuple[Stage, ...] = setting(
        (), "Stages of full KD, in place of hidden states and task (YAML only).", "Full KD"
    )
    transfer_rows: int = setting(
        20_000, "Rows of the transfer set, including the task's own.", "Full KD", ge=1
    )
    transfer_methods: dict[Augmentation, Share] = setting(
        {},
        "Augmentations that make the other rows, with their shares (YAML only); default: all that "
        "apply.",
        "Full KD",
    )
    transfer_tasks: tuple[str, ...] = setting(
        (),
        "Tasks whose texts, without labels, make up to half of the other rows (YAML only).",
        "Full KD",
    )

    batch_size: int = setting(32, "Examples per batch.", "Machine", ge=1)
    precision: Precision = setting(
        "auto", "fp32, bf16, or auto: bf16 where the hardware multiplies it natively.", "Machine"
    )
    threads: int | None = setting(None, "CPU threads; default: torch decides.", "Machine", ge=1)
    device: str | None = setting(
        None, "cpu, cuda or mps; default: the fastest available.", "Machine"
    )
    latency_batch: int = setting(1, "Examples per batch when latency is measured.", "Machine", ge=1)
    latency_length: int = setting(
        128,
        "Tokens per example when latency is measured; default: 128, or the teacher's limit.",
        "Machine",
        ge=1,
    )
    latency_runtime: LatencyRuntime = setting(
        "torch",
        "Runtime that serves students and measures latency: torch (eager) or onnx (ONNX Runtime, "
        "on the CPU).",
        "Machine",
    )
    latency_quiet: bool = setting(
        True,
        "Measure latency only while no other kdnas process of this user computes on the machine.",
        "Machine",
    )

    @property
    def recipe(self) -> tuple[Stage, ...]:
        """The stages of full KD."""
        return self.stages or plain_recipe(self)

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
            losses={name: weight for name, weight in self.mini_losses.items()},
            epochs=self.mini_epochs,
            lr=self.mini_lr,
            stride=self.mini_stride,
            freeze_embeddings=self.inherit,
        )

    @property
    def scored_losses(self) -> tuple[str, ...]:
        """The losses whose held-out values, averaged, score a candidate."""
        return SCORES.get(self.mini_score, (self.mini_score,))

    @model_validator(mode="before")
    @classmethod
    def _without_switches(cls, values: Any) -> Any:
        """YAML reads a bare `off` as false, and pydantic a `true` as 1."""
        values = dict(values)
        if values.get("random_control") is False:
            values["random_control"] = "off"
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field and field.annotation is not bool:
                said = str(value).lower()
                raise ValueError(
                    f"invalid --{name.replace('_', '-')} {said}: only switches take true or false"
                )
        return values

    @model_validator(mode="before")
    @classmethod
    def _in_words(cls, values: Any) -> Any:
        """Checks first what pydantic would explain at length."""
        problems = []
        if "mini_losses" in values:
            given = values["mini_losses"]
            problems.append(problem_of_weights("mini_losses", given))
        if "transfer_methods" in values:
            given = values["transfer_methods"]
            problems.append(problem_of_shares("transfer_methods", given, get_args(Augmentation)))
        for problem in filter(None, problems):
            raise ValueError(problem)
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        problem = problem_of(self.stages, self.corpus)
        problem = problem or problem_of_mini(self.mini_losses)
        if self.transfer_methods and not any(self.transfer_methods.values()):
            problem = "all shares of transfer_methods are 0"
        if problem:
            raise ValueError(problem)
        for name in PLAIN_RECIPE if self.stages else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"invalid --{name.replace('_', '-')} {getattr(self, name)}: the recipe has "
                    "stages, which set their own; change it there"
                )
        return self


def plain_recipe(settings: Settings) -> tuple[Stage, ...]:
    """Hidden states first, then the task with the teacher's logits and hidden states."""
    hidden = Stage(
        name="hidden",
        data="corpus" if settings.corpus else "task",
        teacher="task",
        losses={"hidden": 1.0},
        epochs=settings.epochs or 1,
        lr=settings.lr,
    )
    options: dict[str, Any] = {"temperature": settings.temperature}
    task = Stage(
        name="task",
        data="task",
        losses={
            "task": 1.0,
            "logits": settings.logit_weight,
            "hidden": settings.hidden_weight,
        },
        epochs=settings.task_epochs,
        lr=settings.task_lr,
        **options,
    )
    return (hidden, task) if settings.epochs else (task,)
