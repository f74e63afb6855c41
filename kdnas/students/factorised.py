"""Factorised token embeddings: a narrow table and a map to the hidden size.

After ALBERT (Lan et al. 2020). Both start from the teacher's table as the student's hidden states
would see it: its best approximation of the rank that the narrow table allows, by a singular value
decomposition (Eckart and Young 1936). What is looked up is a sum of rows of several tables, of
words, positions and segments: all of them become narrow, and the decomposition is that of such
sums. In some families a norm stands between sum and map. It measures the length of what it reads,
so there the narrow table is a part of the wide one in an orthonormal basis, and what its length
lost is made up for; the gain and the bias of the wide norm are in the map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import PreTrainedModel

from kdnas.space.families import family_of, is_at
from kdnas.students.chosen import reflection_to_mean, without_mean

# Directions with less of the variance are none: a table may have a low rank.
NEGLIGIBLE = 1e-12
# Rows of a table in float64 at a time.
MANY = 16_384


def factorised_weights(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    weights: Mapping[str, Tensor],
    basis: Tensor,
    moments: Callable[[], Tensor] | None = None,
) -> dict[str, Tensor]:
    """The weights of a student's embeddings and of the map behind them, by their names.

    Args:
        student: Of the teacher's family.
        teacher: Its own embeddings may be factorised, too.
        weights: The teacher's, by name.
        basis: Of the student's hidden states, shape (teacher hidden size, hidden size).
        moments: Gives those of the teacher, as `embedding_moments` finds them; default: they are
            found here.

    Returns:
        Nothing where the student's embeddings are as wide as the teacher's, or as its own hidden
        states.
    """
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    wide, size = (family.embedding_size(model.config) for model in (teacher, student))
    if family.embedding_map is None or size >= min(wide, basis.shape[1]):
        return {}
    names = _Names.of(student, family.embedding_map, size)
    tables = {name: weights[name] for name in names.tables}
    read, offset = basis.double(), torch.zeros(basis.shape[1], dtype=torch.float64)
    if f"{names.map}.weight" in weights:  # and from there to the teacher's hidden states
        read = weights[f"{names.map}.weight"].double().T @ read
    if f"{names.map}.bias" in weights:
        offset = weights[f"{names.map}.bias"].double() @ basis.double()
    known = moments() if moments else embedding_moments(teacher)
    found: dict[str, Tensor] = {}
    if names.norm is None:
        into, out = _plain(known, read, size)
    else:
        gain, bias = (weights.get(f"{names.norm}.{kind}") for kind in ("weight", "bias"))
        if bias is not None:
            offset = offset + bias.double() @ read
        read = read if gain is None else gain.double()[:, None] * read
        into, out = _through_norm(known, read, size)
        found |= {f"{names.norm}.weight": torch.ones(size), f"{names.norm}.bias": torch.zeros(size)}
    found |= {f"{names.map}.weight": out.T, f"{names.map}.bias": offset}
    found |= {name: table @ into.float() for name, table in tables.items()}
    own = student.state_dict()
    return {name: value.float().contiguous() for name, value in found.items() if name in own}


@torch.no_grad()
def embedding_moments(model: PreTrainedModel) -> Tensor:
    """Second moments of what a model's embeddings sum up, before any norm or map: float64.

    A row of each table, of words, positions and segments, is drawn apart from the others. Shape
    (embedding size, embedding size).
    """
    mean, covariance = (torch.zeros((), dtype=torch.float64) for _ in range(2))
    for table in _tables(model).values():
        rows = table.weight.cpu()
        own = rows.mean(0, dtype=torch.float64)
        parts = (rows[start : start + MANY].double() for start in range(0, len(rows), MANY))
        product = torch.stack([part.T @ part for part in parts]).sum(0)
        covariance = covariance + product / len(rows) - torch.outer(own, own)
        mean = mean + own
    return covariance + torch.outer(mean, mean)


def _tables(model: PreTrainedModel) -> dict[str, nn.Embedding]:
    """The tables whose rows a model's embeddings sum up, by their paths."""
    place = _place(model)
    return {
        name: module
        for name, module in model.named_modules()
        if name.rpartition(".")[0] == place and isinstance(module, nn.Embedding)
    }


def _place(model: PreTrainedModel) -> str:
    """The path of the module that holds a model's embeddings."""
    words = model.get_input_embeddings()
    path: str = next(name for name, module in model.named_modules() if module is words)
    return path.rpartition(".")[0]


@dataclass(frozen=True)
class _Names:
    """Of the modules of a student's embeddings.

    Attributes:
        tables: Weights whose rows are summed.
        map: From the narrow embeddings to hidden states.
        norm: Between sum and map; None where the norm stands behind the map.
    """

    tables: tuple[str, ...]
    map: str
    norm: str | None

    @classmethod
    def of(cls, student: PreTrainedModel, embedding_map: str, size: int) -> _Names:
        modules, place = dict(student.named_modules()), _place(student)
        parts = {n: m for n, m in modules.items() if n.rpartition(".")[0] == place}
        gains = {name: getattr(module, "weight", None) for name, module in parts.items()}
        return cls(
            tuple(f"{name}.weight" for name in _tables(student)),
            next(name for name in modules if is_at(name, embedding_map)),
            next((n for n, g in gains.items() if g is not None and g.shape == (size,)), None),
        )


def _plain(moments: Tensor, read: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The maps from wide to narrow embeddings, (wide, size), and on to hidden states.

    The narrow table is that of left singular vectors times singular values; the map has the right
    ones.
    """
    basis, core, right = _best(moments, read, size)
    rest = size - len(right)
    return pad(basis @ core, (0, rest)), pad(right, (0, 0, 0, rest))


def _through_norm(moments: Tensor, read: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Likewise with a norm between them, which subtracts a mean and divides by a length.

    The mean is left out of the table: one direction of the narrow embeddings is 0. Their root mean
    square is that of the wide ones, for what the norm adds before it divides.
    """
    moments = without_mean(moments)
    basis, core, right = _best(moments, read, size - 1)
    share = (basis.T @ moments @ basis).trace() / moments.trace()
    scale = (size / (len(moments) * share.clamp_min(NEGLIGIBLE))).sqrt()
    without = reflection_to_mean(size)[:, 1 : 1 + len(right)]
    return scale * basis @ without.T, without @ core @ right / scale


def _best(moments: Tensor, read: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best approximation of a rank to what `read` makes of vectors with some second moments.

    Returns:
        Three matrices whose product takes the place of `read`: an orthonormal basis of what is kept
        of the vectors, a square one, and the orthonormal rows of what they become.
    """
    variances, directions = torch.linalg.eigh(moments)
    real = variances > NEGLIGIBLE * variances[-1]
    scales, directions = variances[real].sqrt(), directions[:, real]
    left, strength, right = torch.linalg.svd(
        scales[:, None] * (directions.T @ read), full_matrices=False
    )
    left, strength, right = left[:, :rank], strength[:rank], right[:rank]
    # Of a direction and its opposite, the one whose largest entry is positive: for all machines.
    signs = right.gather(1, right.abs().argmax(1, keepdim=True)).sign()
    left, right = left * signs.T, right * signs
    basis, rest = torch.linalg.qr(left / scales[:, None])
    return directions @ basis, rest * strength, right
