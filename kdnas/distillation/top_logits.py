"""The likeliest outputs of a teacher with a vocabulary, the rest as one.

All logits of 100,000 target tokens and 50,000 words take 20 GB. Most of their probability is on a
few words, which are kept with their log-probabilities; of the others only what they amount to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

# Temperatures at which the amount of the rest is stored; it follows from no others.
TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 20.0)
NEVER = -1e4
# Logits that are worked on at a time: 2 MB, which stay in a core's cache, or 256 MB of a card.
AT_ONCE, AT_ONCE_ON_CARD = 2**19, 2**26


@dataclass(frozen=True)
class Keep:
    """The outputs of a unit that are kept: as many as hold a share of its probability."""

    share: float = 0.999
    most: int = 128


@dataclass(frozen=True)
class TopLogits:
    """A teacher's likeliest outputs.

    Attributes:
        ids: Shape (units, kept), int64; those of units with fewer are filled up with 0.
        logs: Same shape, float: their log-probabilities, a very negative number for fill.
        rest: Shape (units, len(TEMPERATURES)): for each temperature T the logarithm of the sum of
            `p ** (1 / T)` over the outputs that are not kept.
        others: Shape (units,): how many those are.
    """

    ids: Tensor
    logs: Tensor
    rest: Tensor
    others: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> TopLogits:
        """The same with each tensor changed, always in the same order."""
        return TopLogits(*(change(x) for x in (self.ids, self.logs, self.rest, self.others)))

    def followed_by(self, others: Sequence[TopLogits]) -> TopLogits:
        """These units and those of others behind them; each has as many outputs kept."""
        all_parts = [self, *others]
        columns = ([getattr(one, f.name) for one in all_parts] for f in fields(self))
        return TopLogits(*map(torch.cat, columns))

    def probabilities(self) -> Tensor:
        """Of all outputs, shape (units, outputs), float32; those that are not kept share the rest.

        Golden: 0.5, 0.4995, 0.0003, 0.0002, of which two are kept -> 0.5, 0.4995, 0.00025, 0.00025.
        """
        real = self.logs > NEVER
        outputs = int((real.sum(1) + self.others).max()) if len(self.ids) else 0
        each = self.rest[:, :1].float().exp() / self.others.clamp_min(1)[:, None]
        more = torch.where(real, self.logs.float().exp() - each, 0.0)
        return each.repeat(1, outputs).scatter_add_(1, self.ids, more)

    def at(self, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the kept outputs and of the rest: (units, kept) and (units,).

        Raises:
            ValueError: The amount of the rest is not known at this temperature.
        """
        kept = torch.where(self.logs > NEVER, self.logs.float() / temperature, NEVER)
        rest = self.rest[:, TEMPERATURES.index(temperature)].float()
        whole = torch.logsumexp(torch.cat([kept, rest[:, None]], dim=1), dim=1)
        return kept - whole[:, None], rest - whole


def top_of(logits: Tensor, keep: Keep) -> TopLogits:
    """The likeliest outputs of logits of shape (units, outputs)."""
    numbers = AT_ONCE if logits.device.type == "cpu" else AT_ONCE_ON_CARD
    units = max(1, numbers // logits.shape[1])
    parts = [_top_of(some, keep) for some in torch.split(logits, units)]
    return parts[0] if len(parts) == 1 else parts[0].followed_by(parts[1:])


def _top_of(logits: Tensor, keep: Keep) -> TopLogits:
    logs = logits.float().log_softmax(-1)
    most = min(keep.most, logs.shape[1])
    found = logs.topk(most, dim=-1)
    # The first outputs that together have the share; the one that reaches it is among them.
    before = found.values.exp().cumsum(-1) - found.values.exp()
    kept = before < keep.share
    kept[:, 0] = True
    left = logs.scatter_(1, found.indices, torch.where(kept, -math.inf, found.values))
    return TopLogits(
        torch.where(kept, found.indices, 0),
        torch.where(kept, found.values, NEVER),
        _amounts(left),
        logs.shape[1] - kept.sum(1),
    )


def _amounts(logs: Tensor) -> Tensor:
    """`TopLogits.rest` of log-probabilities, shape (units, outputs); those at -inf do not count.

    What is raised to 1 / T is the square of what is raised to 1 / (2 T), which spares most
    exponentials.
    """
    largest = logs.amax(1, keepdim=True).clamp_min(NEVER)
    powers, sums = dict[float, Tensor](), dict[float, Tensor]()
    for t in sorted(TEMPERATURES, reverse=True):
        root = powers.pop(2 * t, None)
        powers[t] = ((logs - largest) / t).exp_() if root is None else root.square_()
        sums[t] = (powers[t].sum(1).log() + largest[:, 0] / t).clamp_min(NEVER)
    return torch.stack([sums[t] for t in TEMPERATURES], dim=1)


def top_divergence(
    student: Tensor, teacher: TopLogits, temperature: float, *, entropy: bool = True
) -> Tensor:
    """KL divergence from a teacher's kept outputs and its rest, times the temperature squared.

    A mean over units, 0 where there are none. The rest is one outcome to both, so that the value is
    never above that of all outputs. Without `entropy` it is the soft cross-entropy.

    Args:
        student: All logits, shape (units, outputs).
        teacher: Of the same units.
        temperature: Of both softmaxes, one of TEMPERATURES.
        entropy: Whether the teacher's entropy is subtracted.

    Raises:
        ValueError: The temperature is another one.
    """
    if not len(student):
        return student.sum()
    scaled = student.float() / temperature
    whole = torch.logsumexp(scaled, dim=-1)
    real = teacher.logs > NEVER
    ours = torch.where(real, scaled.gather(1, teacher.ids) - whole[:, None], 0.0)
    # Fill points to output 0, which may be one of the rest.
    width = scaled.shape[1]
    taken = F.pad(torch.zeros_like(scaled, dtype=torch.bool), (0, 1))
    taken.scatter_(1, torch.where(real, teacher.ids, width), True)
    left = torch.logsumexp(scaled.masked_fill(taken[:, :width], NEVER), dim=-1) - whole
    kept, rest = teacher.at(temperature)
    if not entropy:
        gain = (kept.exp() * ours).sum(-1) + rest.exp() * left
        return -gain.mean() * temperature**2
    told = (kept.exp() * torch.where(real, kept - ours, 0.0)).sum(-1)
    return (told + rest.exp() * (rest - left)).mean() * temperature**2
