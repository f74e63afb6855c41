"""How a kind of task is learnt: inputs and their targets, losses, and the floor below a score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.encode import EncodedExamples, Units, describe_cut, tokenise
from kdnas.tasks.examples import Examples
from kdnas.tasks.types.aspects.facts import Facts
from kdnas.tasks.types.metric import Array
from kdnas.tasks.types.values import UNSCALED, Constant, LabelScale, LogitLoss

if TYPE_CHECKING:
    from torch import Tensor


class Learning(Facts):
    """Encoded examples, the losses on them, and what learns from them beside a student."""

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

    # Labels of units.

    def collate_labels(self, labels: Array) -> Tensor:
        """The labels of a batch's units as a tensor."""
        import torch

        return torch.from_numpy(labels)

    def add_unlabelled(self, labels: Array, count: int) -> Array:
        """The labels of some examples, and then those of `count` others that have none."""
        shape = (count, *labels.shape[1:])
        return np.concatenate([labels, np.full(shape, self.no_label, labels.dtype)])

    def labelled(self, labels: Tensor) -> Tensor:
        """Which units have a label."""
        return labels != self.no_label

    def known(self, truths: Array) -> NDArray[np.bool_]:
        """Which rows have a truth."""
        import torch

        if truths.dtype == object:
            return np.array([truth is not None for truth in truths], dtype=bool)
        found: NDArray[np.bool_] = self.labelled(torch.from_numpy(truths)).numpy()
        return found

    def strata(self, labels: Array) -> NDArray[np.int64] | None:
        """Groups of examples, one number each, that a sample holds in their shares; None: none."""
        return None

    def label_scale(self, labels: Array) -> LabelScale:
        """The scale of training labels; by default they have none."""
        return UNSCALED

    def balanced_weights(self, labels: Array, classes: int) -> NDArray[np.float32] | None:
        """Weights of the classes in `task_loss`, shape (classes,); None where it takes none."""
        return None

    # Losses.

    def pick_logits(self, output: Any, units: Units) -> Tensor:
        """The logits of a batch's units in a model's raw output, shape (units, outputs)."""
        logits: Tensor = output.logits.float()
        return logits if units.position is None else logits[units.example, units.position]

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

    # What a score is compared with.

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

    # A teacher whose head was trained elsewhere.

    def better_order(self, logits: Array, labels: Array) -> list[int] | None:
        """The order of the outputs that fits the labels far better; None where there is none."""
        return None

    def unit_of(self, logits: Array, labels: Array) -> LabelScale:
        """The unit of the outputs, where the labels clearly have another: the scale restores it."""
        return UNSCALED
