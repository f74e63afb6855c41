"""What the outputs of a kind of task mean: predictions, answers, a black-box teacher's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples
from kdnas.tasks.types.aspects.facts import Facts
from kdnas.tasks.types.metric import Array

if TYPE_CHECKING:
    from torch import Tensor

# How far two predictions for one text may be apart, as logits: as a share, or at all.
NEARLY, NEAR = 1e-3, 1e-2


class Predictions(Facts):
    """From logits, or generated tokens, to what is scored and what a person reads."""

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

    def as_rows(self, values: Sequence[Any]) -> Array:
        """Predictions or truths that were written as JSON."""
        return np.asarray(values)

    def differ(self, ours: Array, theirs: Array) -> NDArray[np.bool_]:
        """On which rows two models say different things."""
        return np.asarray(ours != theirs, dtype=bool)

    def details(
        self, predicted: Array, truth: Array, labels: Sequence[str]
    ) -> dict[str, Any] | None:
        """What lies below a score, plain values by name: for classes, each one's own scores."""
        return None

    # What is settled once a model is trained.

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

    # What people and programs read.

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

    def moved_prediction(self, prediction: Any, of: Examples, to: Examples) -> Any:
        """What `read_prediction` gave of a row, for one with the same texts but for their spaces.

        Each of the examples is one row. By default a prediction has no places in texts.
        """
        return prediction

    def same_prediction(self, one: Any, other: Any) -> bool:
        """Whether two of `read_prediction` say the same of a text: batches round differently."""
        if isinstance(one, np.ndarray):
            return one.shape == other.shape and bool(np.allclose(one, other, NEARLY, NEAR))
        return bool(one == other)

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
