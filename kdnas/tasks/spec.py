"""A task as a YAML entry describes it: type, columns, labels, metrics, where its data are."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from kdnas.config import nearest
from kdnas.errors import KdnasError
from kdnas.tasks.examples import NoLabel, label_word, plain_word, shown
from kdnas.tasks.types import DEFAULT_TYPE, TASK_TYPES, Metric, Submission, TaskType

# Codecs of Python for names and literals, which no file is in.
_OF_NO_TEXT = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")


def _words(value: Any) -> Any:
    """Nothing, one word, or a list of words, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _label_cells(value: Any) -> Any:
    """One label cell or several, as words."""
    cells = value if isinstance(value, list | tuple) else () if value is None else (value,)
    if any(isinstance(cell, list | tuple | dict) for cell in cells):
        raise ValueError("give a word or a number, or a list of them")
    if any(isinstance(cell, bool) for cell in cells):
        raise ValueError("YAML reads bare yes/no/true/false as booleans; put them in quotes")
    return tuple(map(label_word, cells))


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Part):
    """A column by its canonical name, and the other headers under which files carry it."""

    name: str
    aliases: Words = ()

    @property
    def headers(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


class Hub(_Part):
    """A data set on the Hugging Face hub: its id, its configuration, and its branch or commit."""

    path: str
    name: str | None = None
    revision: str | None = None


def _columns(value: Any) -> Any:
    """`sentence`, `[premise, hypothesis]` or `{premise: [sentence1]}` as columns."""
    if isinstance(value, str):
        return ({"name": value},)
    if isinstance(value, Mapping):
        return tuple({"name": name, "aliases": others} for name, others in value.items())
    if isinstance(value, list):
        return tuple({"name": item} if isinstance(item, str) else item for item in value)
    return value


def _column(value: Any) -> Any:
    """`label` or `{label: [Quality]}` as a column."""
    if isinstance(value, Mapping) and set(value) == {"name", "aliases"}:
        return value
    columns = _columns(value)
    return columns[0] if isinstance(columns, tuple) and len(columns) == 1 else columns


def _hub(value: Any) -> Any:
    """`org/set` or `org/set:config` as a hub entry."""
    if not isinstance(value, str):
        return value
    path, _, name = value.partition(":")
    return {"path": path, "name": name or None}


def split_of(score: str, splits: Iterable[str]) -> str | None:
    """The split that a score is of, by its name (`TaskSpec.score_name`); None where it names none.

    Args:
        score: Such as `accuracy_matched`, or `f1 (spam)`.
        splits: Those that are scored.
    """
    known = list(splits)
    if len(known) == 1:
        return known[0]
    name = score.partition(" (")[0]
    of = [split for split in known if name.endswith(f"_{split.partition('_')[2]}")]
    return max(of, key=len, default=None)


class TaskSpec(_Part):
    """One task, as a YAML entry describes it. `regression: true` is short for its type."""

    model_config = ConfigDict(validate_default=True)

    name: str
    type: str = Field(DEFAULT_TYPE, description="The kind of task: a key of TASK_TYPES.")
    text: Annotated[tuple[Column, ...], BeforeValidator(_columns)] = Field(
        min_length=1, max_length=2, description="One or two text columns."
    )
    label: Annotated[tuple[Column, ...], BeforeValidator(_columns)] = Field(
        (Column(name="label"),),
        min_length=1,
        description="The label column; where a row may have several labels, also several columns, "
        "each of 0 and 1 and named as a class is.",
    )
    separator: str | None = Field(
        None,
        min_length=1,
        description="What stands between the labels of a cell, where a row may have several; null: "
        "found in the data.",
    )
    pairs_alike: bool | None = Field(
        None,
        description="Whether both texts of a pair are of one kind, so that new pairs are made by "
        "swapping them, unlike question and passage; null: as the type says.",
    )
    group: Annotated[Column | None, BeforeValidator(_column)] = Field(
        None,
        description="The column of the training file that names what a row belongs to, such as an "
        "article: where validation rows are held out of the training rows, its rows stay together.",
    )
    id: Annotated[Column | None, BeforeValidator(_column)] = Field(
        None, description="The column that names each row, in the training file at least."
    )
    labels: tuple[str, ...] | None = Field(
        None, description="Class names in the order of their ids; null: found in the train split."
    )
    positive: str | None = Field(
        None,
        description="The class that f1 is about; null: the second of `labels`, or where none are "
        "listed and there are two, the rarer one of the train split.",
    )
    unlabelled: Annotated[tuple[str, ...], BeforeValidator(_label_cells)] = Field(
        (), description="Label cells that stand for no label, such as `-` in SNLI; default: none."
    )
    metrics: Words = Field(
        default_factory=lambda entry: TASK_TYPES[entry["type"]].default_metrics,
        description="Official metrics, the main one first.",
    )
    hub: Annotated[Hub | None, BeforeValidator(_hub)] = Field(
        None, description="Hub data set, read when no folder is given."
    )
    embedded: bool = Field(False, description="The data come with an installed package.")
    folders: Words = Field((), description="Folder names besides the task's own.")
    files: dict[str, Words] = Field({}, description="File stems (or file names) of a split.")
    headerless: Words = Field((), description="Columns of a file without a header.")
    format: str | None = Field(
        None, description="Of its files: a format of its type; null: found by suffix and content."
    )
    quoting: bool = Field(
        True, description="Whether fields of .tsv files are quoted as in CSV; GLUE's are not."
    )
    encoding: str | None = Field(
        None, description="Of text files that are neither UTF-8 nor UTF-16, such as cp1252."
    )
    skip_malformed: bool = Field(False, description="Leave out malformed rows, however many.")
    evaluation: Words = Field(("validation",), description="The splits that are scored.")
    submission: Submission = Field(Submission(), description="Form of its predictions files.")
    benchmark: str | None = Field(None, description="The benchmark that it is a part of.")
    companions: Words = Field((), description="Tasks whose test rows its head also answers.")

    @property
    def task_type(self) -> TaskType:
        return TASK_TYPES[self.type]

    @property
    def lacks_classes(self) -> bool:
        """Whether its class names must be found in the training data."""
        return self.task_type.has_classes and self.labels is None

    @property
    def label_words(self) -> str:
        """The label columns, as a message names them."""
        return " or ".join(repr(column.name) for column in self.label)

    @property
    def own_columns(self) -> tuple[Column, ...]:
        """The columns of groups and ids that are its own, unlike those its type looks for."""
        usual = self.task_type.entry_defaults
        named = (("group", self.group), ("id", self.id))
        return tuple(one for key, one in named if one and one.name != usual.get(key))

    @property
    def names_metrics(self) -> bool:
        """Whether its entry names metrics, or its data chose them."""
        return "metrics" in self.model_fields_set

    @property
    def num_labels(self) -> int:
        """Outputs of the task's head; KdnasError before its data have been read for its classes."""
        if self.lacks_classes:
            raise KdnasError(
                f"task {self.name!r} lists no labels; read its data first (load_data finds them)"
            )
        return self.task_type.num_outputs(self.labels or ())

    @property
    def head_config(self) -> dict[str, Any]:
        """Config fields that describe the task's head; raises KdnasError as num_labels does."""
        _ = self.num_labels
        return self.task_type.head_config(self.labels or ())

    @property
    def main_score(self) -> str:
        """The key of the main metric in a report: `accuracy`, or `accuracy_matched` for MNLI."""
        return self.score_name(self.metrics[0], self.evaluation[0])

    @property
    def test_splits(self) -> tuple[str, ...]:
        """`test`, or one test split beside each evaluation split; none where these are scored."""
        tests = (split.replace("validation", "test", 1) for split in self.evaluation)
        return tuple(split for split in tests if split not in self.evaluation)

    @property
    def on_tests(self) -> TaskSpec:
        """The same task, scored on its test splits, which then need labels."""
        return self.model_copy(update={"evaluation": self.test_splits})

    def changed(self, **values: Any) -> TaskSpec:
        """The same task with other values of some fields, checked as those of an entry are.

        Metrics that no entry names stay those of the type. A task on its test splits stays there,
        which no entry may ask for.

        Raises:
            ValidationError: The values contradict the others.
        """
        own = self.model_dump(exclude=None if self.names_metrics else {"metrics"})
        plain = [re.sub("^test", "validation", split) for split in self.evaluation]
        checked = TaskSpec.model_validate({**own, "evaluation": plain, **values})
        return checked.model_copy(update={"evaluation": self.evaluation})

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", *self.evaluation, *self.test_splits)

    @property
    def positive_class(self) -> str | None:
        """The class that metrics of one class are about; None before the classes are known."""
        return self.labels[self._positive_id] if self.labels else self.positive

    @property
    def _positive_id(self) -> int:
        """Of listed labels the second."""
        if self.positive is None:
            return 1
        found = self.task_type.parser(self.labels or ())(label_word(self.positive))
        return found if isinstance(found, int) else 1

    def metric(self, name: str) -> Metric:
        """A metric, about the task's positive class; KdnasError as num_labels raises it."""
        metric, _ = self.task_type.every_metric[name], self.num_labels
        if metric.of_labels and metric.counts is not None:
            metric = replace(metric, counts=partial(metric.counts, labels=self.labels or ()))
        if not metric.of_class:
            return metric
        return replace(metric, compute=partial(metric.compute, positive=self._positive_id))

    def score_name(self, metric: str, split: str | None) -> str:
        """The metric's key in a report: `accuracy`, `accuracy_matched`, `f1 (spam)`.

        It carries the split only where several are scored. It names the class of a metric of one
        class, except in a benchmark, whose names of metrics are fixed.
        """
        name = metric
        if split is not None and len(self.evaluation) > 1:
            name = f"{metric}_{split.partition('_')[2]}"
        of_class = self.task_type.every_metric[metric].of_class and self.benchmark is None
        return f"{name} ({self.positive_class})" if of_class and self.positive_class else name

    def predictions_file(self, split: str) -> str:
        """Name of the predictions file of a test split."""
        suffix = split.partition("_")[2]
        name = f"{self.name}-{suffix}" if suffix else self.name
        return self.submission.files.get(split, f"{name}{self.task_type.predictions_ending}")

    @field_validator("positive", mode="before")
    @classmethod
    def _class_name(cls, value: Any) -> Any:
        return next(iter(_label_cells(None if value is None else [value])), None)

    @field_validator("labels", mode="before")
    @classmethod
    def _label_names(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        labels = _label_cells([v for v in value if not isinstance(v, list | tuple | dict)])
        if len(labels) < len(value) or "" in labels:
            raise ValueError("labels has something else than a name; give words or numbers")
        return labels

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
            known = codecs.lookup(value or "utf-8").name not in _OF_NO_TEXT
        except (LookupError, ValueError):  # also of codecs that are not of text, such as zip
            known = False
        if not known:
            raise ValueError(
                f"unknown encoding {str(value)[:40]!r}; give one that Python knows, such as cp1252"
            )
        return value or None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """The type from its short form; metrics that are null or empty are none."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if values.pop("regression", False) and values.setdefault("type", "regression") != (
            "regression"
        ):
            raise ValueError(f"`type: {values['type']}` contradicts `regression: true`")
        kind = values.get("type", DEFAULT_TYPE)
        if not isinstance(kind, str) or kind not in TASK_TYPES:
            raise ValueError(f"unknown type {shown(repr(kind))}{nearest(kind, TASK_TYPES)}")
        columns = _columns(values.get("label"))
        several = TASK_TYPES[kind].several_labels and isinstance(columns, tuple)
        if several and len(columns) > 1 and values.get("labels") is None:
            values["labels"] = [c.get("name") for c in columns if isinstance(c, Mapping)]
        if not values.get("metrics"):
            values.pop("metrics", None)
        return {**TASK_TYPES[kind].entry_defaults, **values}

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        labels, kind = self.labels, self.task_type
        if labels is not None and not kind.has_classes:
            yield f"{kind.name} has no labels; leave one of the two out"
        elif labels and len({label.casefold() for label in labels}) < max(len(labels), 2):
            yield "give two or more labels, all different (letter case aside)"
        for metric in self.metrics:
            if metric not in kind.metrics:
                yield f"metric {metric!r} does not fit{nearest(metric, kind.metrics)}"
        if self.format is not None and self.format not in kind.formats:
            yield f"unknown format {self.format!r}{nearest(self.format, kind.formats)}"
        yield from self._problems_of_label()
        yield from self._problems_of_class()
        yield from kind.entry_problems(labels, self.metrics)
        for split in self.evaluation:
            named = split.startswith("validation_")
            if not (named if len(self.evaluation) > 1 else split == "validation"):
                yield f"evaluation is {split!r}; give validation, or several validation_SOMETHING"
        files = [(split, file) for split, names in self.files.items() for file in names]
        for split, file in (*files, *self.submission.files.items()):
            if split not in self.splits:
                yield f"files: unknown split {split!r}{nearest(split, self.splits)}"
            if PurePath(file).name != file:
                yield f"files: {file!r} holds a folder; give the name of a file alone"
        yield from self._problems_of_columns()

    def _problems_of_columns(self) -> Iterator[str]:
        kind, texts = self.task_type, len(self.text)
        if texts > kind.most_texts:
            yield f"{kind.name} reads {kind.most_texts} text a row, not {texts}; name one column"
        if texts < kind.least_texts:
            yield f"{kind.name} reads {kind.least_texts} texts a row, not {texts}; name two columns"
        read = [column.name.casefold() for column in (*self.text, *self.label)]
        for name in read:
            if read.count(name) > 1:
                yield f"the column {name!r} is named twice under text and label"
        for column in self.text if self.headerless else ():
            if not set(column.headers) & set(self.headerless):
                yield f"headerless lacks the text column {column.name!r}"

    def _problems_of_label(self) -> Iterator[str]:
        kind, names = self.task_type, tuple(column.name for column in self.label)
        if not kind.several_labels:
            several = "several label columns" if len(names) > 1 else "`separator`"
            if len(names) > 1 or self.separator is not None:
                takers = [name for name, one in TASK_TYPES.items() if one.several_labels]
                yield (
                    f"{several} is for rows with several labels; {kind.name} takes one: leave it "
                    f"out, or set `type: {' or '.join(takers)}`"
                )
        elif len(names) > 1 and self.labels != names:
            yield (
                f"the columns under `label` are {', '.join(names)} and name the classes; leave "
                "`labels` out"
            )
        elif len(names) > 1 and self.separator is not None:
            yield "`separator` is for one label column; leave it out"

    def _problems_of_class(self) -> Iterator[str]:
        labels, kind = self.labels or (), self.task_type
        for mark in self.unlabelled:
            if plain_word(mark) in map(plain_word, labels):
                yield f"{mark!r} is a class under `labels` and no label under `unlabelled`"
        of_class = [name for name in self.metrics if kind.metrics[name].of_class]
        if of_class and len(labels) > 2 and self.positive is None:
            yield (
                f"metric {of_class[0]!r} is for two classes, not {len(labels)}; use f1_macro, or "
                "name one of them with `positive:`"
            )
        if self.positive is not None and not any(m.of_class for m in kind.metrics.values()):
            lacks = "metric of one class" if kind.has_classes else "classes"
            yield f"{kind.name} has no {lacks}; leave `positive` out"
        elif self.positive is not None and labels:
            found = kind.parser(labels)(label_word(self.positive))
            if found is None or isinstance(found, NoLabel):
                yield f"positive is {self.positive!r}; give one of {', '.join(labels)}"
