"""The losses on where answers start and end: two softmaxes over the units of a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdnas.tasks.encode import Units
from kdnas.tasks.types.aspects.learning import Learning
from kdnas.tasks.types.values import LogitLoss

if TYPE_CHECKING:
    from torch import Tensor


class SpanLosses(Learning):
    """Means over windows; labels of units, shape (units, 2), are 1 at the start and at the end."""

    def pick_logits(self, output: Any, units: Units) -> Tensor:
        import torch

        both = torch.stack([output.start_logits, output.end_logits], dim=-1).float()
        return both[units.example, units.position]

    def labelled(self, labels: Tensor) -> Tensor:
        """Which units are of a window with a label; of JSON's rows, which have one."""
        return (labels >= 0).all(-1)

    def count(self, units: Units, labels: Tensor | None = None) -> int:
        """Windows, or those with a label."""
        return units.examples if labels is None else int((labels[:, 0] > 0).sum())

    def task_loss(self, logits: Tensor, labels: Tensor, units: Units) -> Tensor:
        """Cross-entropy of start and of end, halved and summed: a mean over labelled windows."""
        import torch

        chances = _log_softmax(logits.float(), units)
        wanted = (labels > 0).to(torch.float32)
        # Each labelled window has one start.
        return -(chances * wanted).sum() / 2 / wanted[:, 0].sum().clamp_min(1)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, units: Units, temperature: float, kind: LogitLoss
    ) -> Tensor:
        """The mean over windows of the mean of both softmaxes' distances, times T squared.

        Golden, T = 2: of starts [1, 0] and the teacher's [0, 1] 0.4898373, of ends [2, 0, 1] and
        [0, 1, 1] 0.7255156.
        """
        student, teacher = student.float(), teacher.float()
        if kind == "mse":
            return _window_means((student - teacher).square(), units).mean()
        given = _log_softmax(student / temperature, units)
        wanted = _log_softmax(teacher / temperature, units)
        entropy = wanted if kind == "kl" else 0.0
        distance = (wanted.exp() * (entropy - given)).sum()
        return distance / 2 / units.examples * temperature**2

    def centred(self, logits: Tensor, units: Units) -> Tensor:
        """Without each window's mean start and mean end, which no softmax sees."""
        logits = logits.float()
        return logits - _window_means(logits, units)[units.example]

    def predicted(self, logits: Tensor, units: Units) -> Tensor:
        """Each unit's probabilities of being its window's start and its end."""
        return _log_softmax(logits.float(), units).exp()


def _log_softmax(logits: Tensor, units: Units) -> Tensor:
    """Of each window's units alone, shape (units, outputs), without a wait for a GPU."""
    import torch

    table = logits.new_full((units.examples, units.length, logits.shape[-1]), -torch.inf)
    place = units.example, units.position
    return table.index_put(place, logits).log_softmax(1)[place]  # type: ignore[arg-type]


def _window_means(values: Tensor, units: Units) -> Tensor:
    """Means over each window's units, shape (windows, outputs)."""
    import torch

    sums = values.new_zeros(units.examples, values.shape[-1]).index_add(0, units.example, values)
    ones = values.new_ones(len(values))
    counts = values.new_zeros(units.examples).index_add(0, units.example, ones)
    return sums / torch.clamp_min(counts, 1)[:, None]
