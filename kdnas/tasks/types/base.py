"""What kdnas must know of a kind of task: one object, from raw label cells to the hub's tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from kdnas.errors import KdnasError
from kdnas.tasks import snippets
from kdnas.tasks.encode import EncodedExamples, Units, describe_cut, tokenise
from kdnas.tasks.examples import (
    Examples,
    Label,
    NoLabel,
    RawSplit,
    Spans,
    is_empty,
    kind_of,
    label_words,
    shown,
)
from kdnas.tasks.types.metric import Array, Metric

if TYPE_CHECKING:
    from torch import Tensor

# Words that data sets write for no label.
MARKS = ("-", "-1", "-100", "?", "n/a", "none", "null", "nan")
LogitLoss = Literal["kl", "ce", "mse"]
# The key of a config under which a model keeps what `TaskType.choose_threshold` chose for it.
THRESHOLD = "kdnas_threshold"


class LabelScale(NamedTuple):
    """Mean and spread of training labels; in standard units a label is (label - mean) / spread."""

    mean: float = 0.0
    spread: float = 1.0

    def standard(self, labels: Array) -> Array:
        """Labels in standard units."""
        if self == UNSCALED:
            return labels
        return ((labels.astype(np.float64) - self.mean) / self.spread).astype(labels.dtype)

    def restored(self, outputs: Array) -> Array:
        """Outputs in standard units in the unit of the labels."""
        if self == UNSCALED:
            return outputs
        return outputs.astype(np.float64) * self.spread + self.mean


UNSCALED = LabelScale()


class Constant(NamedTuple):
    """The best answer of who knows training labels but no text."""

    name: str
    predict: Callable[[Any], Array]  # what it says of the rows of some examples


class Submission(BaseModel):
    """The predictions file that a benchmark takes for an unlabelled test split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, str] = {}  # names by split
    ids: bool = False  # whether classes stand there as ids rather than names
    bounds: tuple[float, float] | None = None  # between which a score is cut


# Of tasks that label whole texts: relations beside labels and logits were better than hidden states
# (docs/results.md, Recipes).
RELATIONS: Mapping[str, Any] = {"intermediate_losses": {"relations": 1.0}}


class TaskType:
    """A kind of task; an instance of a subclass stands in `TASK_TYPES` under its name.

    A model's logits come in units: one for each example, unless `encode` fills the `units` of its
    examples, e.g. with the tokens that are classified. Labels have one row for each unit. Every
    method that takes logits takes shape (units, outputs). `labels` are the names of the classes in
    the order of their ids, empty for a type without classes.

    Scores are of rows: what the data have one of, a text or a question. Where a unit is not a row,
    a type has its own `predictions` and `truths`, which read the `references` that its `encode`
    fills.
    """

    name: ClassVar[str]  # its key in `TASK_TYPES`
    head: ClassVar[str]  # what the names of its models' classes end with
    problem_type: ClassVar[str | None] = None  # the config's; None where transformers has none
    # Whether a config that names no problem_type may be of this type: so transformers reads them.
    unnamed_problem: ClassVar[bool] = True
    several_labels: ClassVar[bool] = False  # whether a row may have several, in several columns
    has_classes: ClassVar[bool] = True  # whether an entry lists class names, or its data have them
    has_outputs: ClassVar[bool] = True  # whether a head has outputs of a task's own
    whole_texts: ClassVar[bool] = True  # whether a model's logits are of whole rows
    needs_decoder: ClassVar[bool] = False  # whether its models are encoder-decoders
    generates: ClassVar[bool] = False  # whether predictions come from `generate`, not from logits
    smooths: ClassVar[bool] = False  # whether `task_loss` takes `smoothing` by name
    no_label: ClassVar[float] = -100  # the label that stands for none
    label_dtype: ClassVar[Any] = np.int64
    metrics: ClassVar[Mapping[str, Metric]]
    default_metrics: ClassVar[tuple[str, ...]]  # for an entry that names none, the main one first
    # The metric that comes before them where one of three classes or more is rare; None: no other.
    metric_of_rare: ClassVar[str | None] = None
    # Told beside the metrics of every task of the type: lower is better, in the labels' unit.
    errors: ClassVar[Mapping[str, Metric]] = {}
    # The metric that is 0 for whoever answers always the same; None where there is none.
    skill: ClassVar[str | None] = None
    # Outputs of an ONNX file, each with the names of its free axes.
    onnx_outputs: ClassVar[Mapping[str, Mapping[int, str]]] = {"logits": {0: "batch"}}
    # Of the code in an export's README: packages, how tokenizer and files are opened, its example,
    # how that becomes rows of tokens, and those outputs.
    onnx_packages: ClassVar[tuple[str, ...]] = ("onnxruntime", "tokenizers", "numpy")
    onnx_load: ClassVar[str] = snippets.ONNX_LOAD
    onnx_texts: ClassVar[str] = '["a text"]'
    onnx_rows: ClassVar[str] = snippets.ONNX_ROWS
    onnx_run: ClassVar[str] = snippets.ONNX_RUN
    # Of files beside the hub's sets: keys of FORMATS in `kdnas.tasks.formats.files`, the one that
    # is tried first ahead.
    formats: ClassVar[tuple[str, ...]] = ("table",)
    defaults: ClassVar[Mapping[str, Any]] = {}  # of settings of a run, where they differ
    # Those that need students with all heads, of a teacher whose layers are known.
    defaults_with_heads: ClassVar[Mapping[str, Any]] = {}
    # Keys of a task's entry that one of this type need not give, with their values.
    entry_defaults: ClassVar[Mapping[str, Any]] = {}
    least_texts: ClassVar[int] = 1  # that a row has
    most_texts: ClassVar[int] = 2
    example_texts: ClassVar[tuple[str, str]] = ("a text", "another")  # for `predict_example`
    predict_does: ClassVar[str] = "label texts"  # what it is for, as an imperative
    told_texts: ClassVar[tuple[str, ...]] = ("text", "text_pair")  # beside an answer, in one line
    beside_label: ClassVar[tuple[str, ...]] = ()  # columns that `label_cell` reads, where there
    long_texts: ClassVar[str] = "cut"  # what is done with those longer than a model is given
    # Whether the two texts of a pair are of one kind: either may come first.
    pairs_alike: ClassVar[bool] = True
    answers_by_id: ClassVar[bool] = False  # whether predictions name rows by their ids
    predictions_ending: ClassVar[str] = ".tsv"  # of a predictions file's name
    encode_settings: ClassVar[tuple[str, ...]] = ()  # settings of a run that `encode` takes by name
    has_threshold: ClassVar[bool] = False  # whether `choose_threshold` chooses one
    # That of models from elsewhere, whose config keeps none; None: a type's answers need none.
    given_threshold: ClassVar[float | None] = None
    has_bias: ClassVar[bool] = False  # whether `choose_bias` may
    # Of a file with a teacher's predictions: columns that `read_prediction` takes; none: no file.
    prediction_columns: ClassVar[tuple[str, ...]] = ()
    pipeline_tag: ClassVar[str]  # the hub's tag, also that of the pipeline of transformers
    hub_name: ClassVar[str]  # the hub's name of the task

    def predict_example(self, texts: int) -> str:
        """What `kdnas predict` takes behind a model whose rows have one text, or two."""
        first, second = self.example_texts
        pair = f" --text-pair '{second}'" if max(texts, self.least_texts) > 1 else ""
        return f"'{first}'{pair}"

    @property
    def every_metric(self) -> Mapping[str, Metric]:
        """The metrics and the errors."""
        return {**self.metrics, **self.errors}

    # The task's entry and the model's head.

    @property
    def auto_class(self) -> Any:
        """The class of transformers that loads a model with its head; a subclass may name one."""
        import transformers

        return getattr(transformers, f"AutoModel{self.head}")

    def is_head(self, class_name: str) -> bool:
        """Whether a class of transformers, by its name, is a model with a head for such tasks."""
        return class_name.endswith(self.head)

    def entry_problems(self, labels: Sequence[str] | None, metrics: Sequence[str]) -> Iterator[str]:
        """What is wrong in an entry of this type beside unknown metrics; nothing by default."""
        yield from ()

    def num_outputs(self, labels: Sequence[str]) -> int:
        """Outputs of the head: one for each class."""
        return len(labels)

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
        """Config fields that describe the head."""
        # Where transformers has none for such heads, what a teacher's config says of another goes.
        fields: dict[str, Any] = {"num_labels": self.num_outputs(labels)}
        fields["problem_type"] = self.problem_type
        if self.has_classes:
            fields["id2label"] = dict(enumerate(labels))
            fields["label2id"] = {name: i for i, name in enumerate(labels)}
        return fields

    def output_names(self, config: Any) -> list[str] | None:
        """The class names in a model's config; None for a type without classes."""
        if not self.has_classes:
            return None
        return [str(config.id2label[i]) for i in range(config.num_labels)]

    # Raw cells.

    def read_text(self, cell: Any) -> tuple[str, Spans | None]:
        """A cell's text, empty where it has none, and for types on words where its words are."""
        return (cell if isinstance(cell, str) else ""), None

    def text_fault(self, cell: Any) -> str:
        """What a cell holds instead of text, as in `a number instead of text`; else nothing."""
        sound = isinstance(cell, str) or is_empty(cell)
        return "" if sound else f"{kind_of(cell)} instead of text"

    def has_text(self, cell: Any) -> bool:
        """Whether a cell holds something to learn from or to score."""
        return bool(self.read_text(cell)[0].strip())

    def label_fault(self, cell: Any, label: Any) -> str:
        """What is wrong with a row's label cell beside its text, as in `2 tags for 3 words`."""
        return ""

    def find_classes(self, raw: RawSplit) -> tuple[str, ...]:
        """The class names in a training split whose task lists none; KdnasError without classes."""
        raise NotImplementedError

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """A split as read, its label cells as `parser` takes them; by default as they are.

        What was assumed of them is added to `assumed`. `labels` are empty where they are not known
        yet: of the training split of a task that lists none.
        """
        return raw

    def parser(self, labels: Sequence[str]) -> Callable[[str], Label | None]:
        """Gives the id or score that a label cell, as a word, stands for; None where for none."""
        raise NotImplementedError

    def expected(self, labels: Sequence[str]) -> str:
        """What a label cell may hold, for error messages."""
        raise NotImplementedError

    def label_cell(self, cell: Any, beside: Mapping[str, Any]) -> Any:
        """A label cell with what those of `beside_label` that are there say of the same row."""
        return cell

    def beside(self, header: Sequence[str], label: Sequence[str]) -> list[str]:
        """Columns of a table that `label_cell` reads beside those of labels, where it has them."""
        return list(self.beside_label)

    def label_cells(self, raw: RawSplit) -> list[Any]:
        """Each label cell as it is compared, or why a row has no label: by default a plain word."""
        return [NoLabel.MISSING if word == "" else word for word in label_words(raw)]

    def label_array(self, values: Sequence[Any]) -> Array:
        """Parsed labels as `Examples` holds them."""
        return np.array(values, dtype=self.label_dtype)

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        """Each row's id or score, or why it has none; KdnasError where a cell holds neither."""
        if raw.cells is None:
            return [NoLabel.UNLABELLED] * len(raw.text)
        parse, known = self.parser(labels), dict[str | NoLabel, Label]()
        words = label_words(raw)
        for word, place in zip(words, raw.places, strict=True):
            if word not in known:
                value = word if isinstance(word, NoLabel) else parse(word)
                if value is None:
                    mark = f"; if {word!r} stands for none, set `unlabelled: {word!r}` in the task"
                    raise KdnasError(
                        f"{raw.source}, {raw.unit} {place}: invalid label {shown(str(word))!r}; "
                        f"expected {self.expected(labels)}{mark if word in MARKS else ''}"
                    )
                known[word] = value
        return [known[word] for word in words]

    def label_notes(self, raw: RawSplit, labels: Sequence[Label]) -> Iterator[str]:
        """What a person should know of how the rows' labels were parsed; by default nothing."""
        yield from ()

    def balanced_weights(self, labels: Array, classes: int) -> NDArray[np.float32] | None:
        """Weights of the classes in `task_loss`, shape (classes,); None where it takes none."""
        return None

    def class_counts(self, labels: Array, classes: int) -> NDArray[np.int64] | None:
        """Shape (classes,): rows that have each class; None where that cannot be counted."""
        return None

    def label_range(self, labels: Array) -> tuple[float, float] | None:
        """The lowest and the highest label; None where labels are no numbers."""
        return None

    def label_counts(self, data: EncodedExamples, labels: Sequence[str]) -> dict[str, int]:
        """How often each label occurs, by the name that people see; empty for numbers."""
        counts = None
        if data.labels is not None and len(data.labels):
            counts = self.class_counts(data.labels, self.num_outputs(labels))
        return {} if counts is None else dict(zip(labels, counts.tolist(), strict=True))

    # Examples.

    def encode_options(self, given: Mapping[str, Any], config: Any) -> dict[str, Any]:
        """What `encode` takes by name, from values of `encode_settings` and a model's config."""
        return dict(given)

    def adapt(
        self,
        model: Any,
        options: Mapping[str, Any],
        tokenizer: Any = None,
        positions: int | None = None,
    ) -> None:
        """Makes a loaded model, in place, one that knows by itself how its inputs are encoded.

        `options` are as `encode_options` gives them, or none; `positions` are those of a decoder.

        Raises:
            KdnasError: It and its tokenizer contradict each other.
        """

    def encode(
        self, examples: Examples, tokenizer: Any, max_length: int, **options: Any
    ) -> EncodedExamples:
        """Tokenises texts, at most max_length tokens each, and lays their targets out by unit.

        `options` are as `encode_options` gives them; without one its default holds.
        """
        return tokenise(examples, tokenizer, max_length)

    def encoding_notes(
        self, examples: Examples, data: EncodedExamples, tokenizer: Any, max_length: int
    ) -> Iterator[str]:
        """What a person should know of how some examples were encoded: how many were cut."""
        if cut := describe_cut(examples, data, tokenizer, max_length):
            yield cut

    def collate_labels(self, labels: Array) -> Tensor:
        """The labels of a batch's units as a tensor."""
        import torch

        return torch.from_numpy(labels)

    def add_unlabelled(self, labels: Array, count: int) -> Array:
        """The labels of some examples, and then those of `count` others that have none."""
        shape = (count, *labels.shape[1:])
        return np.concatenate([labels, np.full(shape, self.no_label, labels.dtype)])

    def strata(self, labels: Array) -> NDArray[np.int64] | None:
        """Groups of examples, one number each, that a sample holds in their shares; None: none."""
        return None

    def label_scale(self, labels: Array) -> LabelScale:
        """The scale of training labels; by default they have none."""
        return UNSCALED

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """Answers that know no text, from training rows; by default there are none.

        Of several a metric says which is best; the first is the most frequent.
        """
        return ()

    def linear_model(self, seed: int) -> Any:
        """An untrained model of scikit-learn for the floor; None where there is none."""
        return None

    def linear_logits(self, model: Any, features: Any, outputs: int) -> Array:
        """What a fitted `linear_model` says of features, shape (rows, outputs), as logits.

        By default of a model with log-probabilities of the classes that it has seen.
        """
        logits = np.full((features.shape[0], outputs), -np.inf)
        logits[:, model.classes_] = model.predict_log_proba(features)
        return np.maximum(logits, -1e3)

    def simple_model(
        self, train: Examples, labels: Sequence[str], seed: int
    ) -> tuple[str, Callable[[Examples], Array]] | None:
        """The floor of a type without a `linear_model`: its name, and its predictions of rows."""
        return None

    # Training.

    def pick_logits(self, output: Any, units: Units) -> Tensor:
        """The logits of a batch's units in a model's raw output, shape (units, outputs)."""
        logits: Tensor = output.logits.float()
        return logits if units.position is None else logits[units.example, units.position]

    def labelled(self, labels: Tensor) -> Tensor:
        """Which units have a label."""
        return labels != self.no_label

    def count(self, units: Units, labels: Tensor | None = None) -> int:
        """What the losses below are means over: units; those with a label for the task's loss."""
        return len(units) if labels is None else int(self.labelled(labels).sum())

    def task_loss(self, logits: Tensor, labels: Tensor, units: Units) -> Tensor:
        """The loss on labels: mean over the units that have one, 0 where none has.

        A type whose `balanced_weights` are not None takes them as a fourth argument, a tensor of
        shape (classes,). One that `smooths` takes `smoothing`, the share of a label that is spread
        evenly over all outputs (Szegedy et al. 2016).
        """
        raise NotImplementedError

    def logit_loss(
        self, student: Tensor, teacher: Tensor, units: Units, temperature: float, kind: LogitLoss
    ) -> Tensor:
        """The distillation loss on a teacher's logits: mean over units, 0 where there are none.

        By default of one softmax: the distance of class probabilities softened by temperature T,
        times T squared (Hinton et al. 2015, Distilling the Knowledge in a Neural Network). `kl` is
        the divergence from the teacher; `ce`, the soft cross-entropy, is larger by the teacher's
        entropy and has the same gradient; `mse` is the squared error of the logits, without T (Ba
        and Caruana 2014, Do Deep Nets Really Need to be Deep?).
        """
        import torch.nn.functional as F

        student, teacher = student.float(), teacher.float()
        if not len(student):  # a batch of examples without a unit
            return student.sum()
        if kind == "mse":
            return F.mse_loss(student, teacher)
        given = F.log_softmax(student / temperature, dim=-1)
        if kind == "ce":
            return F.cross_entropy(given, (teacher / temperature).softmax(-1)) * temperature**2
        wanted = F.log_softmax(teacher / temperature, dim=-1)
        return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2

    def centred(self, logits: Tensor, units: Units) -> Tensor:
        """Logits in float32 without what changes no prediction; by default a unit's mean."""
        logits = logits.float()
        return logits - logits.mean(-1, keepdim=True)

    def predicted(self, logits: Tensor, units: Units) -> Tensor:
        """What logits predict, as numbers whose distances compare: by default probabilities.

        Of all models that predict the same, whatever the scale of their logits, it is the same.

        Returns:
            Shape (units, outputs), float32.
        """
        return logits.float().softmax(-1)

    # A teacher whose head was trained elsewhere.

    def better_order(self, logits: Array, labels: Array) -> list[int] | None:
        """The order of the outputs that fits the labels far better; None where there is none."""
        return None

    def unit_of(self, logits: Array, labels: Array) -> LabelScale:
        """The unit of the outputs, where the labels clearly have another: the scale restores it."""
        return UNSCALED

    # A black-box teacher: a file has its predictions.

    def read_prediction(
        self, cells: Mapping[str, Any], labels: Sequence[str], examples: Examples, row: int
    ) -> Any:
        """What a file says of a row of some examples; by default logits, shape (outputs,).

        `cells` are those of `prediction_columns` that hold something, by name.

        Raises:
            PredictionError: They hold no prediction of this task, or do not fit the row.
        """
        raise NotImplementedError

    def prediction_of(self, label: Any, labels: Sequence[str]) -> Any:
        """What a file would say that has a row's label, as `Examples` holds it, and no more."""
        raise NotImplementedError

    def unit_logits(
        self, predictions: Sequence[Any], data: EncodedExamples, labels: Sequence[str]
    ) -> Array:
        """The logits, shape (units, outputs), that predictions of all rows of some examples mean.

        Those of a regression are in the unit of the labels.
        """
        found = np.array(list(predictions), np.float32)
        return found.reshape(len(predictions), self.num_outputs(labels))

    def details(
        self, predicted: Array, truth: Array, labels: Sequence[str]
    ) -> dict[str, Any] | None:
        """What lies below a score, plain values by name: for classes, each one's own scores."""
        return None

    # Scores, and what leaves kdnas.

    def generate(self, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        """Token ids that a model generates for a batch, shape (examples, tokens).

        For types that say so, predictions come from these; every method below that takes logits
        then takes the token ids of all examples.
        """
        raise NotImplementedError

    def with_answers(
        self, data: EncodedExamples, answers: Sequence[Any], options: Mapping[str, Any]
    ) -> EncodedExamples:
        """Examples with answers, as `predictions` gives them, in place of labels.

        For types that generate. `options` are as `encode` took them.
        """
        raise NotImplementedError

    def raw_outputs(self, model: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """What a model gives for a batch, to see that it works."""
        output = model(**inputs)
        return [getattr(output, name) for name in self.onnx_outputs]

    def decode(self, logits: Array) -> Array:
        """What each unit's logits say; by default class ids."""
        ids: Array = logits.argmax(axis=-1)
        return ids

    def predictions(
        self, logits: Array, data: EncodedExamples, threshold: float | None = None
    ) -> Array:
        """Each row's prediction, as the metrics take it; by default a row is a unit.

        Args:
            logits: Of all units of the data.
            data: Examples.
            threshold: What `choose_threshold` chose for the model, if anything.
        """
        return self.decode(logits)

    def truths(self, data: Examples | EncodedExamples) -> Array:
        """What each row's prediction is scored against; by default its label."""
        assert data.labels is not None
        return data.labels

    def known(self, truths: Array) -> NDArray[np.bool_]:
        """Which rows have a truth."""
        import torch

        if truths.dtype == object:
            return np.array([truth is not None for truth in truths], dtype=bool)
        found: NDArray[np.bool_] = self.labelled(torch.from_numpy(truths)).numpy()
        return found

    def as_rows(self, values: Sequence[Any]) -> Array:
        """Predictions or truths that were written as JSON."""
        return np.asarray(values)

    def differ(self, ours: Array, theirs: Array) -> NDArray[np.bool_]:
        """On which rows two models say different things."""
        return np.asarray(ours != theirs, dtype=bool)

    def choose_threshold(self, logits: Array, data: EncodedExamples) -> float | None:
        """The threshold with the best main score on labelled rows that a model was not trained on.

        A model keeps it in its config, under THRESHOLD. None for types without one.
        """
        return None

    def usual_threshold(self, learnt: EncodedExamples) -> float | None:
        """That of a model that learnt from some rows, where `choose_threshold` chooses none."""
        return None

    def choose_bias(
        self, logits: Array, data: EncodedExamples, labels: Sequence[str]
    ) -> Array | None:
        """What to add to a student's outputs, by labelled rows that it was not trained on.

        It is added to the bias of the head, so that any program that loads it answers likewise.

        Returns:
            Shape (outputs,); None where the outputs stay as they are.
        """
        return None

    def answers(self, logits: Array, labels: Sequence[str]) -> list[dict[str, Any]]:
        """What `kdnas predict` says of each unit: plain values."""
        raise NotImplementedError

    def row_answers(
        self,
        logits: Array,
        labels: Sequence[str],
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[dict[str, Any]]:
        """What `kdnas predict` says of each row; by default a row is a unit."""
        return self.answers(logits, labels)

    def row_probabilities(
        self, logits: Array, labels: Sequence[str], data: EncodedExamples
    ) -> list[dict[str, Any]]:
        """What `read_prediction` needs of each row beside `row_answers`; by default nothing."""
        return [{} for _ in range(data.row_count)]

    def in_words(self, answer: Any, labels: Sequence[str]) -> str:
        """One prediction as `decode` gives it, or one label: its class's name, else the number."""
        return str(labels[int(answer)]) if self.has_classes else f"{float(answer):.4g}"

    def row_in_words(self, answer: Any, labels: Sequence[str], examples: Examples, row: int) -> str:
        """One row's prediction or truth, as a person reads it beside the row's text."""
        return self.in_words(answer, labels)

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        """One of the answers as `kdnas predict` prints it before the text."""
        return f"{answer['score']:.4f}"

    def submission(self, logits: Array, labels: Sequence[str], form: Submission) -> list[str]:
        """Each unit's prediction as a benchmark's predictions file writes it."""
        raise NotImplementedError

    def row_submission(
        self,
        logits: Array,
        labels: Sequence[str],
        form: Submission,
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[str]:
        """Each row's prediction as a predictions file writes it; by default a row is a unit."""
        return self.submission(logits, labels, form)

    def predictions_text(self, words: Sequence[str], data: EncodedExamples | None) -> str:
        """The text of a predictions file from the words of `row_submission`.

        By default it is tab-separated, in the form that GLUE's server takes: `index`, the row's
        place from 0 on, and `prediction`.
        """
        return "\n".join(["index\tprediction", *(f"{i}\t{w}" for i, w in enumerate(words))]) + "\n"

    def onnx_reading(self, *, fast: bool) -> snippets.Reading:
        """How the code of an export's README reads texts; `fast`: from a tokenizer.json."""
        own = (self.onnx_packages, self.onnx_load, self.onnx_rows, snippets.ONNX_ARRAY)
        return snippets.Reading(*own) if fast else snippets.SLOW

    def onnx_truncation(self, longest: int, side: str = "right", **options: Any) -> str:
        """What `enable_truncation` of the package tokenizers takes beside the longest input.

        `side` is where texts are cut, `options` are those of `encode_settings` that the run's rows
        were encoded by.
        """
        return "" if side == "right" else f', direction="{side}"'

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        """Python lines for an export's README that print the answers in what `onnx_run` made."""
        raise NotImplementedError

    def export_facts(self, labels: Sequence[str]) -> dict[str, Any]:
        """What export.json says beside the labels' names, for programs without kdnas."""
        return {}

    def torch_answer(self, threshold: float | None = None) -> str:
        """Python lines for a model card that print the answers of `model` and `tokenizer`."""
        return ""


def threshold_of(config: Any) -> float | None:
    """The threshold that a model's config keeps, if any."""
    found = getattr(config, THRESHOLD, None)
    return None if found is None else float(found)


def object_rows(values: Sequence[Any]) -> Array:
    """Values of any kind, one a row, lists as tuples: shape (rows,)."""
    found = np.empty(len(values), dtype=object)
    found[:] = [_plain(value) for value in values]
    return found


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | np.ndarray) else value
