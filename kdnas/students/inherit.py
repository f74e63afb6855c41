"""Students that start from their teacher's weights.

Layers follow the skip mapping (Sun et al. 2019, Patient KD), or an even one where they differ in
kind. A narrower student sees the residual stream in the basis of its principal components, the same
everywhere, embeddings included: they keep more of the states' variance than any choice of single
dimensions (Ashkboos et al. 2024, SliceGPT). A normalisation gives all its outputs together the same
length, whatever their number; a gain makes up for it, so that directions keep their size. Attention
heads and feed-forward neurons are chosen by what they do on real examples or, where nothing was
measured, by the norms of their weights; of rotated heads, pairs that turn as fast as the student's
are kept. What neurons that are left out add on average goes into the bias, where there is one. A
student of the teacher's shape is an exact copy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.layer_map import even_layers, skip_layers
from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import Family, family_of, is_at
from kdnas.students.importance import Importance
from kdnas.students.roles import LAYER, Kind, Role, is_by_head, role_of

# MPNet's bias of relative positions: one table for all layers, a column a head.
SHARED_BIAS = "relative_attention_bias.weight"


def inherit_weights(
    student: PreTrainedModel, teacher: PreTrainedModel, importance: Importance | None = None
) -> None:
    """Fills a student with its teacher's weights, in place.

    Args:
        student: Same family, no dimension larger than the teacher's.
        importance: Which parts matter; default: the norms of weights and, for the residual stream,
            single dimensions by how they vary over the word embeddings or, where these have a size
            of their own, by the norms of the first weights that read them.
    """
    source = _TeacherWeights(student, teacher, importance)
    drawn = student.state_dict()
    student.load_state_dict({name: source.part(name, value) for name, value in drawn.items()})


def inherited_layers(small: int, large: int, family: Family) -> list[int]:
    """The teacher layers, counted from 1, whose weights a student's layers take.

    Where layers differ in kind, every n-th might be of one kind alone; those evenly spread end with
    the teacher's last, which sees all tokens.
    """
    return (even_layers if family.per_layer else skip_layers)(small, large)


def take_body(student: PreTrainedModel, taught: PreTrainedModel) -> None:
    """Gives a student the embeddings and layers of another one of its shape; heads stay."""
    weights = taught.base_model.state_dict()
    body = {name: value for name, value in weights.items() if not name.startswith("pooler")}
    student.base_model.load_state_dict(body, strict=False)


class _TeacherWeights:
    """The teacher's weights, and which part of them a student takes."""

    def __init__(
        self, student: PreTrainedModel, teacher: PreTrainedModel, importance: Importance | None
    ) -> None:
        self.family = family_of(teacher.config.model_type, teacher.config.model_type)
        self.small = teacher_architecture(student.config, self.family)
        self.large = teacher_architecture(teacher.config, self.family)
        # Copies: what a product rounds to depends on how its factors lie in memory.
        self.weights: dict[str, Tensor] = {
            name: value.detach().cpu().clone() for name, value in teacher.state_dict().items()
        }
        self.layers = inherited_layers(
            self.small.num_hidden_layers, self.large.num_hidden_layers, self.family
        )
        self.importance = importance
        modules = dict(teacher.named_modules())
        gains = ((n, getattr(m, "weight", None)) for n, m in modules.items())
        self.norms = {f"{n}.weight" for n, gain in gains if gain is not None and gain.ndim == 1}
        self.table = teacher.get_input_embeddings().weight.detach().cpu()
        self.drawn = student.state_dict().keys()
        self.prefix = f"{student.base_model_prefix}."
        self.head = [  # its linear maps, the pooler's included, in their order
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear) and not self._in_encoder(name)
        ]
        self.basis, self.gain = self._residual()
        self.units: dict[str, dict[str, Tensor]] = {}

    def part(self, name: str, drawn: Tensor) -> Tensor:
        """The teacher's part of one student tensor; a head's own where the teacher has none.

        Raises:
            KdnasError: The teacher lacks the tensor, or its own does not fit.
        """
        source = self._source_name(name)
        if any(is_at(name.rpartition(".")[0], end) for end in self.family.computed):
            return drawn
        if source not in self.weights:
            return self._without_source(name, drawn)
        value, role = self._with_lost_means(source), self._role(source)
        value = self._with_lost_gain(name, source, value)
        for axis, size in enumerate(value.shape):
            if role and axis == role[1]:
                value = self._chosen(source, value, *role)
            elif size == self.large.hidden_size and drawn.shape[axis] == self.small.hidden_size:
                value = self._narrowed(source, value, axis)
            elif source.endswith(SHARED_BIAS) and axis == 1 and self.shared_heads is not None:
                value = value.index_select(axis, self.shared_heads)
        if value.shape != drawn.shape:
            found, expected = tuple(value.shape), tuple(drawn.shape)
            return self._drawn_head(name, drawn, f"has shape {found}, expected {expected}")
        return value.clone()

    def _chosen(self, source: str, value: Tensor, kinds: tuple[Kind, ...], axis: int) -> Tensor:
        """The rows or columns of a layer's own dimensions that the student keeps.

        Queries are scaled so that the softmax keeps the temperature of the teacher's head size.
        """
        units = self._layer_units(source)
        size = self.small.hidden_size / self.small.num_attention_heads
        scale = (size / self.large.hidden_size * self.large.num_attention_heads) ** 0.5
        parts = [
            part.index_select(axis, units[kind]) * (scale if kind == "query" else 1.0)
            for kind, part in zip(kinds, self._parted(value, kinds, axis), strict=True)
        ]
        if not self._by_head(kinds):
            return torch.cat(parts, axis)
        heads = self.small.num_attention_heads  # axis is 0: such a map has its parts in its rows
        return torch.stack([part.view(heads, -1, *part.shape[1:]) for part in parts], 1).view(
            -1, *value.shape[1:]
        )

    def _parted(self, value: Tensor, kinds: tuple[Kind, ...], axis: int) -> Sequence[Tensor]:
        """The parts of what one map makes, each with rows head after head."""
        if not self._by_head(kinds):
            return value.chunk(len(kinds), axis)
        split = value.view(self.large.num_attention_heads, len(kinds), -1, *value.shape[1:])
        return [part.flatten(0, 1) for part in split.unbind(1)]

    def _by_head(self, kinds: tuple[Kind, ...]) -> bool:
        return is_by_head(self.family, kinds)

    def _in_encoder(self, name: str) -> bool:
        return name.startswith(self.prefix) and "pooler" not in name

    def _source_name(self, name: str) -> str:
        if self.family.layers is None:
            return name
        marker = rf"(\.{re.escape(self.family.layers)}\.)(\d+)\."
        return re.sub(marker, lambda m: f"{m[1]}{self.layers[int(m[2])] - 1}.", name)

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
        if self._in_encoder(name):
            raise KdnasError(
                f"cannot start a student from the teacher's weights: {name} {problem}; "
                "check the teacher's config.json, or give --no-inherit"
            )
        return drawn

    def _residual(self) -> tuple[Tensor, float]:
        """Basis of the student's residual stream, and the gain of normalisations in it."""
        size, whole = self.small.hidden_size, self.large.hidden_size
        if size == whole:
            return torch.eye(size), 1.0
        if self.importance:
            return principal_basis(self.importance.spectrum, size)
        table = self.table
        if table.shape[1] == whole:
            return chosen_basis(table.var(dim=0), size)
        first = next(w for w in self.weights.values() if w.ndim == 2 and w.shape[0] == whole)
        return chosen_basis(first.norm(dim=1), size)

    def _narrowed(self, source: str, value: Tensor, axis: int) -> Tensor:
        """An axis of the teacher's hidden size, in the student's."""
        module = source.rpartition(".")[0]
        # The outputs of the head's first map are behind its activation.
        inner = module not in self.head or (axis == 0) == (module != self.head[-1])
        if len(self.head) > 1 and inner and not self._in_encoder(source):
            return value.index_select(axis, self.pooled)
        if source in self.norms:
            # A gain is a diagonal matrix, of which the new basis keeps the diagonal.
            return self.gain * (self.basis.square() * value[:, None]).sum(0)
        return (value.movedim(axis, -1) @ self.basis).movedim(-1, axis)

    @cached_property
    def pooled(self) -> Tensor:
        """Outputs of the head's first map to keep, by the norms of the weights around them."""
        first, last = (self.weights[f"{self.head[i]}.weight"] for i in (0, -1))
        return top(first.norm(dim=1) * last.norm(dim=0), self.small.hidden_size)

    def _with_lost_means(self, source: str) -> Tensor:
        """A tensor; the bias behind the neurons with what those left out add on average."""
        value, (module, _, kind) = self.weights[source], source.rpartition(".")
        behind = kind == "bias" and self._role(f"{module}.weight") == (("neurons",), 1)
        if not self.importance or not behind:
            return value
        lost = torch.ones(self.large.intermediate_size, dtype=torch.bool)
        lost[self._layer_units(source)["neurons"]] = False
        means = self.importance.neuron_means[_layer(source)]
        return value + self.weights[f"{module}.weight"][:, lost] @ means[lost]

    def _with_lost_gain(self, name: str, source: str, value: Tensor) -> Tensor:
        """A tensor; with a norm's gain what reads that norm, where the student has none."""
        module, _, kind = name.rpartition(".")
        theirs, ours = (
            f"{_layer_or_none(path)}.{self.family.first_without}.weight" for path in (source, name)
        )
        lost = theirs in self.weights and ours not in self.drawn
        reads = kind == "weight" and self.family.units_of(module)
        return value * self.weights[theirs] if lost and reads else value

    def _role(self, source: str) -> Role | None:
        """Which of a layer's own dimensions a tensor has, part after part, and on which axis."""
        rows = len(self.weights[source]) if source in self.weights else 0
        return role_of(self.family, source, rows, self.large.intermediate_size)

    def _layer_units(self, source: str) -> dict[str, Tensor]:
        """Rows of the attention maps and neurons that the student takes of a tensor's layer."""
        layer = _layer(source)
        if layer not in self.units:
            rows, neurons = self._layer_importance(layer)
            turned, values = self._rows(rows)
            self.units[layer] = {
                "query": turned,
                "key": turned,
                "value": values,
                "neurons": top(neurons, self.small.intermediate_size),
            }
        return self.units[layer]

    def _rows(self, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of queries and keys, and of values, to keep."""
        if self.family.rotary:
            return rotary_rows(importance, self.large, self.small, self.family.rotary)
        rows = head_rows(importance, self.large, self.small, self.shared_heads)
        return rows, rows

    def _layer_importance(self, layer: str) -> tuple[Tensor, Tensor]:
        """Of the attention's rows, head after head, and of the feed-forward neurons."""
        if self.importance:
            return self.importance.rows[layer], self.importance.neurons[layer]
        norms: dict[tuple[Kind, int], Tensor] = {}
        for source, value in self.weights.items():
            role = self._role(source) if source.startswith(f"{layer}.") else None
            module = source.rpartition(".")[0]
            also = any(is_at(module, name) for name in self.family.heads_also)
            if role is None or also or value.ndim != 2:
                continue
            for kind, part in zip(role[0], self._parted(value, *role), strict=True):
                norm, key = part.norm(dim=1 - role[1]), (kind, role[1])
                # The two halves of gated neurons are multiplied.
                norms[key] = norms[key] * norm if key in norms else norm
        rows = norms["query", 0] * norms["key", 0] + norms["value", 0] * norms["value", 1]
        return rows, norms["neurons", 0] * norms["neurons", 1]

    @cached_property
    def shared_heads(self) -> Tensor | None:
        """The heads that every layer keeps where layers share a bias for each; None elsewhere."""
        if not any(name.endswith(SHARED_BIAS) for name in self.weights):
            return None
        names = [name for name in self.weights if self._role(name) == (("query",), 0)]
        layers = dict.fromkeys(map(_layer, names))
        inherited = [name for i, name in enumerate(layers, start=1) if i in self.layers]
        rows = [self._layer_importance(name)[0] for name in inherited]
        shares = torch.stack([r / r.sum() for r in rows])
        return best_heads(shares.sum(dim=0), self.large, self.small)


def _layer(source: str) -> str:
    layer = _layer_or_none(source)
    assert layer, source
    return layer


def _layer_or_none(name: str) -> str | None:
    layer = LAYER.match(name)
    return layer[0] if layer else None


def principal_basis(spectrum: tuple[Tensor, Tensor], size: int) -> tuple[Tensor, float]:
    """The directions along which states vary most, from the spectrum of their covariance.

    Returns:
        The basis, shape (teacher hidden size, size), and the gain of normalisations in it.
    """
    variances, directions = spectrum
    share = float(variances[-size:].sum() / variances.sum())
    basis = directions.flip(1)[:, :size]
    # Of a direction and its opposite, the one whose largest entry is positive: for all machines.
    basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
    return basis.float(), (share * len(variances) / size) ** 0.5


def chosen_basis(variances: Tensor, size: int) -> tuple[Tensor, float]:
    """As `principal_basis`, of the single dimensions that vary most: shape (hidden size,)."""
    chosen = top(variances, size)
    share = float(variances[chosen].sum() / variances.sum())
    return torch.eye(len(variances))[:, chosen], (share * len(variances) / size) ** 0.5


def top(importance: Tensor, count: int) -> Tensor:
    """Indices of the largest values of the last axis, ascending; of equals, the first."""
    order = importance.argsort(dim=-1, descending=True, stable=True)
    return order[..., :count].sort(dim=-1).values


def best_heads(importance: Tensor, large: Architecture, small: Architecture) -> Tensor:
    """The teacher heads whose best rows matter most, as many as the student has, ascending.

    `importance` is of the attention's rows, shape (teacher hidden size,).
    """
    table = importance.view(large.num_attention_heads, -1)
    rows = min(small.hidden_size // small.num_attention_heads, table.shape[1])
    return top(table.topk(rows, dim=1).values.sum(dim=1), small.num_attention_heads)


def head_rows(
    importance: Tensor, large: Architecture, small: Architecture, heads: Tensor | None = None
) -> Tensor:
    """Rows of the attention maps that a student keeps: shape (student hidden size,), int64.

    A student head no wider than the teacher's keeps the best rows of one of the best teacher heads,
    or of those given. Wider heads are blocks of the best rows over all teacher heads, in the
    teacher's order. `importance` has shape (teacher hidden size,).
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


def rotary_rows(
    importance: Tensor,
    large: Architecture,
    small: Architecture,
    pairs: Literal["halves", "neighbours"],
) -> tuple[Tensor, Tensor]:
    """Likewise where pairs of dimensions are rotated: rows of queries and keys, and of values.

    The i-th pair of a head turns by an angle that depends on i as a share of all its pairs, so a
    student's pair is that of the teacher with the nearest share; which head it is of decides the
    importance, as it does for values. A head wider than the teacher's joins several of them.
    """
    heads, size = large.num_attention_heads, large.hidden_size // large.num_attention_heads
    count, width = small.num_attention_heads, small.hidden_size // small.num_attention_heads
    joined = -(-width // size)
    table = importance.view(heads, size)
    best = top(table.topk(min(width, size), dim=1).values.sum(dim=1), min(heads, count * joined))
    groups = best[torch.arange(count * joined) % len(best)].view(count, joined)
    slots = torch.arange(width // 2) * (joined * (size // 2)) // (width // 2)
    pair, member = slots // joined, groups[:, slots % joined] * size
    if pairs == "halves":
        rows = torch.cat([member + pair, member + pair + size // 2], dim=1)
    else:
        rows = torch.stack([member + 2 * pair, member + 2 * pair + 1], dim=-1)
    choices = (groups[:, :, None] * size + torch.arange(size)).flatten(1)
    values = choices.gather(1, top(importance[choices], width))
    return rows.flatten(), values.flatten()
