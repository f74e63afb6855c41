"""report.json as a typed model: the only form in which a report is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev

from pydantic import (
    ConfigDict,
    ValidationError,
)

from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_text
from kdnas.report.part import Interval, Part, Ratio, Score, Shape
from kdnas.report.searched import Search
from kdnas.runtime.formatting import as_score, in_millions
from kdnas.space.candidate import TAUGHT_BY

VERSION = 1
HAND_PICKED = "hand-picked, as fast"
WITHOUT_ASSISTANTS = "without assistants"
BY_MAGNITUDE = "pruned by magnitude"
SEARCHED = "found by the search"
DISTILLED = "distilled"
ON_LABELS = "fine-tuned without KD"
# A control counts as equally fast up to this relative distance from the student's speed-up.
AS_FAST = 0.15
P_VALUE = 0.05
NEAREST = "hand-picked, nearest in speed"


class Seeds(Part):
    """Scores of several trainings of one model, each with a seed of its own.

    `scores` has those of each seed, `mean` and `deviation` (of the sample) those over all; `shown`
    is the seed whose checkpoint stands for the model, the best on held-out training rows.
    """

    scores: dict[int, dict[str, Score]]
    mean: dict[str, Score]
    deviation: dict[str, Score]
    shown: int

    @classmethod
    def of(cls, scores: Mapping[int, dict[str, float]], shown: int) -> Seeds:
        """From the scores of at least two seeds."""
        metrics = set.intersection(*(set(each) for each in scores.values()))
        values = {m: [each[m] for each in scores.values()] for m in scores[shown] if m in metrics}
        return cls(
            scores=dict(scores),
            mean={metric: fmean(each) for metric, each in values.items()},
            deviation={metric: stdev(each) for metric, each in values.items()},
            shown=shown,
        )

    @property
    def label(self) -> str:
        """What a table calls the row of the means."""
        return f"  mean ± std of {len(self.scores)} seeds"

    def told(self, metric: str) -> str:
        """`0.8123 ± 0.0045`; a dash where it is not known."""
        if metric not in self.mean:
            return "-"
        return f"{as_score(self.mean[metric])} ± {as_score(self.deviation[metric])}"


class EvaluatedModel(Part):
    """A model with its costs and its scores on the task."""

    name: str  # the teacher's as it was given, a student's label, a control's description
    architecture: Shape
    recipe: str | None = None  # its name, where a search chose between several
    vocabulary: str | None = None  # its name, where a search chose between several
    params: int
    macs: int  # of one example
    latency_ms: Ratio  # median of a batch
    speedup: Ratio  # the teacher's latency over this one's; passes alternate
    scores: dict[str, Score]  # by metric; empty for a teacher without a head for the task
    intervals: dict[str, Interval] = {}  # their 95% confidence intervals
    seeds: Seeds | None = None  # of a student that was trained several times
    # Of 1,000 rows, from token ids to answers, windows and all; None in older reports.
    seconds_per_1000: Ratio | None = None
    # Whether shape and costs are its own: those of a black-box teacher are the student base's.
    own_costs: bool = True

    def costs_told(self, digits: int = 1) -> tuple[str, str]:
        """Size and speed-up for a table; dashes where they are not its own."""
        if not self.own_costs:
            return "-", "-"
        return in_millions(self.params, digits), f"{self.speedup:.2f}x"


class PrunedFacts(Part):
    """How the student was pruned, and what that leaves; sizes are by form, sliced and dense.

    Speeds of a report are those of the sliced form.
    """

    method: str
    asked: str  # `80%`, or `4x`, after 2x `2x,4x`
    heads: list[int]  # left in each layer
    neurons: list[int]
    params: dict[str, int]
    params_without_embeddings: dict[str, int]
    macs: dict[str, int]  # of an example of `macs_length` tokens
    macs_length: int


class Student(EvaluatedModel):
    """The student that ships, with the interquartile range of its latency."""

    trial: int | None  # None where a control ships that no trial tried, or nothing was searched
    latency_iqr_ms: Ratio
    threshold: float | None = None  # of its answers, where its config keeps one
    pruned: PrunedFacts | None = None
    # Size and checksum of each file of the checkpoint that this is about; None in older reports.
    content: dict[str, list[int]] | None = None


class ControlModel(EvaluatedModel):
    """What the student is compared with; `folder` names its checkpoint and its loss curves."""

    folder: str


class Baseline(Part):
    """What a model must be better than: one constant answer, or a linear model on words."""

    name: str
    scores: dict[str, Score]


class Comparison(Part):
    """The student's main score less another model's, on the same rows.

    The 95% interval is a paired bootstrap's; the p-value is two-sided (McNemar's for accuracy).
    """

    name: str
    difference: Score
    interval: tuple[Score, Score]
    p: float

    @property
    def clear(self) -> bool:
        """Whether it is more than the noise of the evaluated rows."""
        low, high = self.interval
        return self.p < P_VALUE and not low <= 0 <= high


class Kept(Part):
    """The share of the teacher's main score that the student keeps, with its 95% interval."""

    share: Score
    interval: tuple[Score, Score]


class Member(Part):
    """A student of a family, each pruned from the one before it; `folder` has its own report.

    Sizes and the measured speed-up are those of the sliced form; `exported` has the speed-ups of
    ONNX files over the teacher's ONNX file, where there are any.
    """

    asked: Ratio  # the speed-up
    name: str = ""
    speedup: Ratio  # as measured
    exported: dict[str, Ratio] = {}
    macs: int | None = None  # of one example; None in older reports
    params: int
    params_without_embeddings: int | None = None  # None, too, where a dense control ships
    scores: dict[str, Score]
    interval: Interval | None = None  # of the main score
    kept: Kept | None = None
    controls: dict[str, Score]  # the main score of each control
    folder: str


class ClassScores(Part):
    """How the student does on one class; `support` counts its rows, or what `counted` says."""

    name: str
    precision: Score
    recall: Score
    f1: Score
    support: int


class Details(Part):
    """What lies below a score.

    Class by class: row i, column j of `confusion` are rows of class i taken for class j. Of texts
    the `signatures` of scores, by metric.
    """

    classes: list[ClassScores] = []
    confusion: list[list[int]] | None = None  # where each row has one class
    counted: str = "rows"  # what the support of a class counts
    signatures: dict[str, str] = {}


class SplitFacts(Part):
    """One split as the run read it."""

    rows: int
    # Rows, or what else the task's type counts, of each class; empty for tasks without classes.
    classes: dict[str, int] = {}
    label_range: Interval | None = None  # lowest and highest label of a task without classes
    median_tokens: int  # of the uncut texts, special tokens included
    longest_tokens: int
    cut: Score  # the share of texts that are longer than the model is given


class DataFacts(Part):
    """What the run trained on and what it is scored on."""

    length: int  # tokens at which texts are cut
    splits: dict[str, SplitFacts]
    proxy: int  # training rows (or corpus texts) that short trainings see
    assumed: list[str] = []  # how files were read where that is not the usual way
    stands_in: str | None = None  # the split that is a held-out tenth of the training rows
    texts: int = 1  # that a row has
    example: list[str] = []  # one training text, or pair, that is neither scored nor long


class Sample(Part):
    """A scored row on which teacher and student differ; answers as a person reads them."""

    text: str  # cut where it is long
    text_pair: str | None = None
    truth: str
    teacher: str
    student: str


class Disagreement(Part):
    """The scored rows on which teacher and student differ, and a few of them."""

    rows: int
    of: int
    samples: list[Sample]


class LatencyCell(Part):
    """Latencies at one batch size and length; without times where `repeats` is 0 (too slow)."""

    batch: int
    length: int
    repeats: int
    student_ms: float = 0.0
    student_quartiles_ms: Interval = (0.0, 0.0)
    teacher_ms: float = 0.0
    teacher_quartiles_ms: Interval = (0.0, 0.0)

    @property
    def speedup(self) -> float:
        """How many times as fast as the teacher the student is."""
        return self.teacher_ms / self.student_ms


class TrainedStage(Part):
    """A stage of the recipe; settings that differ from the default are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    data: str
    losses: dict[str, float | tuple[float, float]]
    epochs: float
    lr: float
    recipe_epochs: float | None = None  # where the student trained longer, as it is small


class Environment(Part):
    """Where the run was computed and how latencies were measured."""

    model_config = ConfigDict(extra="allow", frozen=True)

    device: str
    device_name: str
    precision: str
    threads: int
    torch: str
    transformers: str = ""
    processor: str = ""  # its model, where the system tells
    memory_gb: float | None = None  # of the machine
    python: str
    platform: str
    latency_batch: int
    latency_length: int
    latency_runtime: str
    latency_measured: str

    @property
    def point(self) -> tuple[int, int]:
        """The batch and the length, in tokens, that speed-ups are of."""
        return self.latency_batch, self.latency_length

    @property
    def timed_on(self) -> str:
        """Device and runtime of the latencies: `cuda`, or `cpu in onnxruntime 1.20.0`."""
        return self.device if self._in_torch else f"cpu in {self.latency_runtime}"

    @property
    def runtime_words(self) -> str:
        """The runtime of the latencies, without its version: `PyTorch`, or `ONNX Runtime`."""
        return "PyTorch" if self._in_torch else "ONNX Runtime"

    @property
    def _in_torch(self) -> bool:
        return self.latency_runtime.startswith("torch")


class Selection(Part):
    """Which of the students trained in full ships: main scores on held-out training rows."""

    rows: int
    shipped: str  # SEARCHED (DISTILLED without a search), or the name of a control
    scores: dict[str, Score]


class Report(Part):
    """The content of report.json."""

    version: int  # of this format
    kdnas: str  # version that wrote it
    task: str
    task_type: str  # key in TASK_TYPES
    dataset: str  # hub id of the data set, or the task's name
    dataset_config: str | None
    dataset_name: str
    evaluation: list[str]  # splits that are scored
    examples: dict[str, int] = {}  # their rows
    main_score: str  # the key in `scores` that stands for the others
    verdict: str
    speedup: Ratio  # the student's
    speedup_wanted: float | None  # what it was chosen for
    teacher: EvaluatedModel  # of a black box: its scores, and shape and costs of the student base
    student: Student
    baselines: list[Baseline] = []
    comparisons: list[Comparison] = []
    kept: Kept | None = None
    details: Details | None = None
    selection: Selection | None = None
    data: DataFacts | None = None
    disagreement: Disagreement | None = None
    student_base: str | None = None  # the model that students of a black-box teacher start from
    controls: list[ControlModel]
    search: Search | None  # None where the student was given
    family: list[Member] = []  # of pruned students, the slowest first; the last is this one
    latency: list[LatencyCell]
    recipe: list[TrainedStage]
    seconds: dict[str, float]  # wall time by step
    environment: Environment

    @property
    def ships_its_own(self) -> bool:
        """Whether the student is the run's own, not a control that was better on held-out rows."""
        return self.selection is None or self.selection.shipped in (SEARCHED, DISTILLED)

    @property
    def assisted(self) -> bool:
        """Whether the run's own student learnt from assistants, whichever student ships."""
        if self.ships_its_own:
            return TAUGHT_BY in self.student.name
        others = (one.name for one in self.controls)
        return self.ships_without_assistants or WITHOUT_ASSISTANTS in others

    @property
    def ships_without_assistants(self) -> bool:
        """Whether the student is the control that learnt from the teacher alone."""
        return self.selection is not None and self.selection.shipped == WITHOUT_ASSISTANTS

    @classmethod
    def read(cls, path: Path) -> Report:
        """The report in a file.

        Raises:
            KdnasError: The file is missing, damaged, or of another version of this format.
        """
        content, wrong = read_json(path), None
        if not isinstance(content, dict):
            wrong = "missing or damaged"
        elif content.get("version") != VERSION:
            wrong = f"version {content.get('version')}, expected {VERSION}"
        else:
            try:
                return cls.model_validate(content)
            except ValidationError as error:
                first = error.errors()[0]
                wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        again = f"`kdnas resume {path.parent}` writes it anew"
        raise KdnasError(f"cannot read {path}: {wrong}; {again}")

    def write(self, path: Path) -> None:
        """Writes report.json."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @property
    def reference(self) -> str:
        """Whose latency speed-ups are relative to, as people read it."""
        return "teacher" if self.student_base is None else "student base"

    @property
    def models(self) -> list[tuple[str, EvaluatedModel]]:
        """Teacher, student and controls by the names that people see; last the student base."""
        controls = [(shown_name(control, self.speedup), control) for control in self.controls]
        found = [("teacher", self.teacher), ("student", self.student), *controls]
        if self.student_base is None:
            return found
        changes = {"name": self.student_base, "scores": {}, "intervals": {}, "own_costs": True}
        return [*found, (self.reference, self.teacher.model_copy(update=changes))]


def shown_name(control: EvaluatedModel, speedup: float) -> str:
    """A control's name; a small space may have no hand-picked student of the same speed-up."""
    apart = abs(control.speedup / speedup - 1)
    return NEAREST if control.name == HAND_PICKED and apart > AS_FAST else control.name
