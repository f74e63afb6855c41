"""Students that start from their teacher's weights.

Layers follow the skip mapping (Sun et al. 2019, Patient KD). A narrower student sees the residual
stream in the basis of its principal components, the same everywhere, embeddings included (after
Ashkboos et al. 2024, SliceGPT). Attention heads and feed-forward neurons are chosen by what they do
on real examples or, where nothing was measured, by the norms of their weights. What neurons that
are left out add on average goes into the bias. A student of the teacher's shape is an exact copy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.layer_map import skip_layers
from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import Family, family_of
from kdnas.students.importance import LAYER, Importance
from kdnas.students.residual import chosen_basis, hidden_spread, principal_basis, top

Weights = dict[str, Tensor]
# MPNet's bias of relative positions: one table for all layers, a column a head.
SHARED_BIAS = "relative_attention_bias.weight"


@dataclass(frozen=True)
class LayerCut:
    """What one student layer keeps of its teacher layer.

    Attributes:
        heads: Shape (student hidden size,): rows of the query, key and value maps.
        neurons: Shape (student intermediate size,): feed-forward neurons.
    """

    heads: Tensor
    neurons: Tensor


def inherit_weights(
    student: PreTrainedModel, teacher: PreTrainedModel, importance: Importance | None = None
) -> None:
    """Fills a student with its teacher's weights, in place.

    Args:
        student: Same family, no dimension larger than the teacher's.
        teacher: The model to take from.
        importance: Which parts matter; default: the norms of weights and, for the residual stream,
            single dimensions by how they vary over the word embeddings or, where these have a size
            of their own, by the norms of the first weights that read them.
    """
    family = family_of(teacher.config.model_type, teacher.config.model_type)
    cutter = _Cutter(student, teacher, family, importance)
    weights = {name: cutter.cut(name, value) for name, value in student.state_dict().items()}
    student.load_state_dict(weights)


def take_body(student: PreTrainedModel, taught: PreTrainedModel) -> None:
    """Gives a student the embeddings and layers of another one of its shape; heads stay."""
    weights = taught.base_model.state_dict()
    body = {name: value for name, value in weights.items() if not name.startswith("pooler")}
    student.base_model.load_state_dict(body, strict=False)


class _Cutter:
    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        family: Family,
        importance: Importance | None,
    ) -> None:
        self.family = family
        self.small = teacher_architecture(student.config, family)
        self.large = teacher_architecture(teacher.config, family)
        # Copies: what a product rounds to depends on how its factors lie in memory.
        self.weights: Weights = {
            k: v.detach().cpu().clone() for k, v in teacher.state_dict().items()
        }
        self.source = skip_layers(self.small.num_hidden_layers, self.large.num_hidden_layers)
        self.importance = importance
        self.norms = {
            f"{name}.weight"
            for name, module in teacher.named_modules()
            if isinstance(module, nn.LayerNorm)
        }
        self.prefix = f"{student.base_model_prefix}."
        self.head = _head_maps(teacher)
        self.basis, self.gain = self._residual()
        self.cuts: dict[str, LayerCut] = {}

    def cut(self, name: str, drawn: Tensor) -> Tensor:
        """The teacher's part of one student tensor; a head's own where the teacher has none.

        Raises:
            KdnasError: The teacher lacks the tensor, or its own does not fit.
        """
        source = self._source_name(name)
        if source not in self.weights:
            return self._without_source(name, drawn)
        value = self._with_lost_means(source, self.weights[source])
        for axis, part in enumerate(self._parts(source, value, drawn)):
            if part is self.basis and source in self.norms:
                # A gain is a diagonal matrix, of which the new basis keeps the diagonal.
                value = self.gain * (self.basis.square() * value[:, None]).sum(0)
            elif part is self.basis:
                value = (value.movedim(axis, -1) @ self.basis).movedim(-1, axis)
            elif part is not None:
                value = value.index_select(axis, part)
        if value.shape != drawn.shape:
            found, expected = tuple(value.shape), tuple(drawn.shape)
            return self._drawn_head(name, drawn, f"has shape {found}, expected {expected}")
        return self._rescaled(name, value).clone()

    def _source_name(self, name: str) -> str:
        if self.family.layers is None:
            return name
        marker = rf"(\.{re.escape(self.family.layers)}\.)(\d+)\."
        return re.sub(marker, lambda m: f"{m[1]}{self.source[int(m[2])] - 1}.", name)

    def _without_source(self, name: str, drawn: Tensor) -> Tensor:
        # A teacher whose embeddings are as wide as its layers has no map between them; the
        # student's map starts as the change of basis that the other weights assume.
        if name.endswith("embeddings_project.weight"):
            return self.basis.T.contiguous()
        if name.endswith("embeddings_project.bias"):
            return torch.zeros_like(drawn)
        return self._drawn_head(name, drawn, "is missing in the teacher")

    def _drawn_head(self, name: str, drawn: Tensor, problem: str) -> Tensor:
        """Only a head may stay random; elsewhere a student would begin broken."""
        inside = name.startswith(self.prefix) and "pooler" not in name
        if inside:
            raise KdnasError(
                f"cannot start a student from the teacher's weights: {name} {problem}; "
                "check the teacher's config.json, or give --no-inherit"
            )
        return drawn

    def _parts(self, source: str, value: Tensor, drawn: Tensor) -> list[Tensor | None]:
        """What to do with each axis: change its basis, take some of its indices, or nothing."""
        role = self._role(source)
        parts: list[Tensor | None] = []
        for axis, size in enumerate(value.shape):
            part = None
            if role is not None and axis == role[1]:
                part = getattr(self._layer_cut(source), role[0])
            elif size == self.large.hidden_size and drawn.shape[axis] == self.small.hidden_size:
                part = self.pooled if self._is_pooled(source, axis) else self.basis
            elif source.endswith(SHARED_BIAS) and axis == 1:
                part = self.shared_heads
            parts.append(part)
        return parts

    def _residual(self) -> tuple[Tensor, float]:
        size = self.small.hidden_size
        if size == self.large.hidden_size:
            return torch.eye(size), 1.0
        if self.importance:
            return principal_basis(self.importance.residual, size)
        return chosen_basis(hidden_spread(self.weights, self.large.hidden_size), size)

    def _is_pooled(self, source: str, axis: int) -> bool:
        """Whether an axis is the outputs of the head's first map, behind its activation."""
        module = source.rpartition(".")[0]
        if len(self.head) < 2:
            return False
        return module in self.head and (axis == 0) == (module != self.head[-1])

    @cached_property
    def pooled(self) -> Tensor:
        """Those of its outputs that a student keeps, by the norms of the weights around them."""
        first, last = (self.weights[f"{self.head[i]}.weight"] for i in (0, -1))
        return top(first.norm(dim=1) * last.norm(dim=0), self.small.hidden_size)

    def _with_lost_means(self, source: str, value: Tensor) -> Tensor:
        """The bias of the map out of the neurons, with what those left out add on average."""
        module, _, kind = source.rpartition(".")
        if (
            not self.importance
            or kind != "bias"
            or self._role(f"{module}.weight") != ("neurons", 1)
        ):
            return value
        cut = self._layer_cut(source)
        lost = torch.ones(self.large.intermediate_size, dtype=torch.bool)
        lost[cut.neurons] = False
        layer = LAYER.match(source)
        assert layer, source
        means = self.importance.neuron_means[layer[0]]
        return value + self.weights[f"{module}.weight"][:, lost] @ means[lost]

    def _role(self, source: str) -> tuple[str, int] | None:
        """Which of a layer's own dimensions a tensor has, and on which axis."""
        module = source.rsplit(".", 1)[0]
        if any(module.endswith("." + name) for name in self.family.heads_out):
            return "heads", 0
        if module.endswith("." + self.family.heads_in):
            return ("heads", 1) if source.endswith("weight") else None
        if module.endswith("." + self.family.neurons_in):
            return "neurons", 0
        if module.endswith("." + self.family.neurons_out):
            return ("neurons", 1) if source.endswith("weight") else None
        return None

    def _layer_cut(self, source: str) -> LayerCut:
        layer = LAYER.match(source)
        assert layer, source
        if layer[0] not in self.cuts:
            self.cuts[layer[0]] = self._make_cut(layer[0])
        return self.cuts[layer[0]]

    def _make_cut(self, layer: str) -> LayerCut:
        rows = head_rows(self._row_importance(layer), self.large, self.small, self.shared_heads)
        neurons = self._neuron_importance(layer)
        return LayerCut(rows, top(neurons, self.small.intermediate_size))

    def _row_importance(self, layer: str) -> Tensor:
        """Of the attention's rows, head after head."""
        if self.importance:
            return self.importance.rows[layer]
        weights = {n: w for n, w in self.weights.items() if n.startswith(layer + ".")}
        names = self.family.heads_out[:3]
        query, key, value = (_find(weights, name).norm(dim=1) for name in names)
        rows: Tensor = query * key + value * _find(weights, self.family.heads_in).norm(dim=0)
        return rows

    def _neuron_importance(self, layer: str) -> Tensor:
        """Of the feed-forward neurons."""
        if self.importance:
            return self.importance.neurons[layer]
        weights = {n: w for n, w in self.weights.items() if n.startswith(layer + ".")}
        into = _find(weights, self.family.neurons_in).norm(dim=1)
        out = _find(weights, self.family.neurons_out, self.family.heads_in).norm(dim=0)
        neurons: Tensor = into * out
        return neurons

    @cached_property
    def shared_heads(self) -> Tensor | None:
        """The heads that every layer keeps where layers share a bias for each; None elsewhere."""
        if not any(name.endswith(SHARED_BIAS) for name in self.weights):
            return None
        found = (LAYER.match(name) for name in self.weights if self._role(name) == ("heads", 0))
        layers = dict.fromkeys(match[0] for match in found if match)
        kept = [name for i, name in enumerate(layers, start=1) if i in self.source]
        shares = [rows / rows.sum() for rows in map(self._row_importance, kept)]
        return best_heads(torch.stack(shares).sum(dim=0), self.large, self.small)

    def _rescaled(self, name: str, value: Tensor) -> Tensor:
        """Queries scaled so that the softmax keeps the temperature of the teacher's head size."""
        query = self.family.heads_out[0]
        # DeBERTa's queries of positions may have a map of their own.
        if not (f".{query}." in name or f".pos_{query}." in name):
            return value
        small = self.small.hidden_size / self.small.num_attention_heads
        large = self.large.hidden_size / self.large.num_attention_heads
        scaled: Tensor = value * (small / large) ** 0.5
        return scaled


def best_heads(importance: Tensor, large: Architecture, small: Architecture) -> Tensor:
    """The teacher heads whose best rows matter most, as many as the student has.

    Args:
        importance: Shape (teacher hidden size,).
        large: The teacher's architecture.
        small: The student's.

    Returns:
        Shape (student heads,), int64, ascending.
    """
    table = importance.view(large.num_attention_heads, -1)
    rows = min(small.hidden_size // small.num_attention_heads, table.shape[1])
    return top(table.topk(rows, dim=1).values.sum(dim=1), small.num_attention_heads)


def head_rows(
    importance: Tensor, large: Architecture, small: Architecture, heads: Tensor | None = None
) -> Tensor:
    """Rows of the attention maps that a student keeps.

    A student head no wider than the teacher's keeps the best rows of one of the best teacher
    heads. Wider heads are blocks of the best rows over all teacher heads, in the teacher's order.

    Args:
        importance: Shape (teacher hidden size,).
        large: The teacher's architecture.
        small: The student's.
        heads: The teacher heads to keep, shape (student heads,); default: the best.

    Returns:
        Shape (student hidden size,), int64.
    """
    large_size = large.hidden_size // large.num_attention_heads
    small_size = small.hidden_size // small.num_attention_heads
    if small_size > large_size:
        return top(importance, small.hidden_size)
    table = importance.view(large.num_attention_heads, large_size)
    rows = top(table, small_size)
    heads = best_heads(importance, large, small) if heads is None else heads
    rows = rows + torch.arange(large.num_attention_heads)[:, None] * large_size
    return rows[heads].flatten()


def _find(weights: Weights, module: str, but_not: str | None = None) -> Tensor:
    ending = f".{module}.weight"
    other = f".{but_not}.weight" if but_not else "\0"
    return next(w for n, w in weights.items() if n.endswith(ending) and not n.endswith(other))


def _head_maps(model: PreTrainedModel) -> list[str]:
    """The linear maps of a classifier's head, pooler included, in their order."""
    inside = model.base_model_prefix + "."
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (not name.startswith(inside) or "pooler" in name)
    ]
