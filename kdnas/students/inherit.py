"""Students that start from their teacher's weights.

Layers follow the skip mapping (Sun et al. 2019, Patient KD), or an even one where they differ in
kind or stand in two stacks. A narrower student sees the residual stream in the basis of its
principal components, the same everywhere, embeddings included: they keep more of the states'
variance than any choice of single dimensions (Ashkboos et al. 2024, SliceGPT). A normalisation
gives all its outputs together the same length, whatever their number; a gain makes up for it, so
that directions keep their size. Attention heads and feed-forward neurons are chosen by what they do
on real examples or, where nothing was measured, by the norms of their weights; of rotated heads,
pairs that turn as fast as the student's are kept. What neurons that are left out add on average
goes into the bias, where there is one. Embeddings narrower than the teacher's are factorised
(`kdnas.students.factorised`). A student of the teacher's shape is an exact copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from kdnas.distillation.layer_map import even_layers, skip_layers
from kdnas.errors import KdnasError
from kdnas.space.architecture import Architecture
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import SIDES, Family, family_of, is_at
from kdnas.students.chosen import (
    best_heads,
    centred_basis,
    chosen_basis,
    gain_in,
    head_rows,
    nearest_rotation,
    principal_basis,
    rotary_rows,
    top,
    without_mean,
)
from kdnas.students.factorised import factorised_weights
from kdnas.students.importance import Importance, spectrum_of
from kdnas.students.roles import CROSS, Kind, Role, is_by_head, layer_at, role_of
from kdnas.students.words import WordTables, untie

# The bias of relative positions of MPNet and T5: one table for all layers, a column a head.
SHARED_BIAS = "relative_attention_bias.weight"


def inherit_weights(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    importance: Importance | None = None,
    moments: Callable[[], Tensor] | None = None,
) -> None:
    """Fills a student with its teacher's weights, in place.

    Args:
        student: Same family, no dimension larger than the teacher's.
        importance: Which parts matter; default: the norms of weights and, for the residual stream,
            single dimensions by how they vary over the word embeddings or, where these have a size
            of their own, by the norms of the first weights that read them.
        moments: Those of the teacher's embeddings, as `factorised_weights` takes them.
    """
    untie(student, teacher.state_dict())
    source = _TeacherWeights(student, teacher, importance, moments)
    drawn = student.state_dict()
    student.load_state_dict({name: source.part(name, value) for name, value in drawn.items()})


def inherited_layers(small: int, large: int, family: Family) -> list[int]:
    """The teacher layers, counted from 1, whose weights a student's layers take.

    Where layers differ in kind, every n-th might be of one kind alone; those evenly spread end with
    the teacher's last, which sees all tokens. They do with a decoder, too.
    """
    evenly = family.per_layer or family.decoder
    return (even_layers if evenly else skip_layers)(small, large)


def takes(student: PreTrainedModel, family: Family, name: str) -> bool:
    """Whether a student takes a tensor from its teacher, and never keeps what was drawn for it.

    Heads and positions that a model computes are its own.
    """
    return _in_body(student, family, name) and not _has_own(family, name)


def _in_body(model: PreTrainedModel, family: Family, name: str) -> bool:
    """Whether a tensor is of what every student inherits; with a decoder all are."""
    in_base = name.startswith(f"{model.base_model_prefix}.") and "pooler" not in name
    return in_base or family.decoder is not None


def _has_own(family: Family, name: str) -> bool:
    """Whether a student has a tensor that its model computes."""
    return family.computes(name) and not family.keeps_computed


def take_body(student: PreTrainedModel, taught: PreTrainedModel) -> None:
    """Gives a student the embeddings and layers of another one of its shape; heads stay."""
    weights = taught.base_model.state_dict()
    body = {name: value for name, value in weights.items() if not name.startswith("pooler")}
    student.base_model.load_state_dict(body, strict=False)


@dataclass(frozen=True, eq=False)
class _Stack:
    """A stack of the teacher, and of the student what it becomes.

    Attributes:
        layers: The teacher's, counted from 1, whose weights the student's layers take.
        basis: Of the student's residual stream, shape (teacher hidden size, hidden size).
        gain: Of normalisations in it.
    """

    family: Family
    small: Architecture
    large: Architecture
    layers: list[int]
    basis: Tensor
    gain: float


class _TeacherWeights:
    """The teacher's weights, and which part of them a student takes."""

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        importance: Importance | None,
        moments: Callable[[], Tensor] | None,
    ) -> None:
        self.family = family_of(teacher.config.model_type, teacher.config.model_type)
        # Copies: what a product rounds to depends on how its factors lie in memory.
        self.weights: dict[str, Tensor] = {
            name: value.detach().cpu().clone() for name, value in teacher.state_dict().items()
        }
        self.importance = importance
        modules = dict(teacher.named_modules())
        gains = ((n, getattr(m, "weight", None)) for n, m in modules.items())
        self.norms = {f"{n}.weight" for n, gain in gains if gain is not None and gain.ndim == 1}
        self.drawn = student.state_dict()
        self.centres = any(isinstance(module, nn.LayerNorm) for module in modules.values())
        self.student = student
        self.head = [  # its linear maps, the pooler's included, in their order
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear) and not self._in_body(name)
        ]
        self.words = WordTables.of(teacher, self.family)
        self.stacks = self._stacks(student, teacher)
        basis = self.stacks[0].basis
        self.factorised = factorised_weights(student, teacher, self.weights, basis, moments)
        self.units: dict[str, dict[str, Tensor]] = {}
        self.heads: dict[_Stack, Tensor] = {}

    def _stacks(self, student: PreTrainedModel, teacher: PreTrainedModel) -> list[_Stack]:
        models, family = (student, teacher), self.family
        small, large = (teacher_architecture(model.config, family) for model in models)
        bases = self._bases(small.hidden_size, large.hidden_size)
        return [
            _Stack(stack, ours, theirs, _layers(ours, theirs, family), *basis)
            for stack, ours, theirs, basis in zip(
                family.stacks, small.stacks, large.stacks, bases, strict=True
            )
        ]

    def _stack(self, name: str) -> _Stack:
        return self.stacks[self.family.stacks.index(self.family.stack_of(name))]

    def part(self, name: str, drawn: Tensor) -> Tensor:
        """The teacher's part of one student tensor; a head's own where the teacher has none.

        Raises:
            KdnasError: The teacher lacks the tensor, or its own does not fit.
        """
        if name in self.factorised:
            return self.factorised[name]
        source, stack = self._source_name(name), self._stack(name)
        if _has_own(self.family, name):
            return drawn
        if source not in self.weights:
            return self._without_source(name, drawn)
        value, role = self._with_lost_means(source), self._role(source)
        value = self._with_lost_gain(name, source, value)
        widths = (stack.large.hidden_size, stack.small.hidden_size)
        for axis, size in enumerate(value.shape):
            if role and axis == role[1]:
                value = self._chosen(source, value, *role)
            elif (size, drawn.shape[axis]) == widths:
                value = self._narrowed(source, value, axis)
            elif source.endswith(SHARED_BIAS) and axis == 1:
                value = value.index_select(axis, self._shared_heads(stack))
        value = self._in_proportion(name, source, value)
        if value.shape != drawn.shape:
            found, expected = tuple(value.shape), tuple(drawn.shape)
            return self._drawn_head(name, drawn, f"has shape {found}, expected {expected}")
        return value

    def _chosen(self, source: str, value: Tensor, kinds: tuple[Kind, ...], axis: int) -> Tensor:
        """The rows or columns of a layer's own dimensions that the student keeps.

        Queries are scaled so that the softmax keeps the temperature of the teacher's head size.
        """
        units, stack = self._layer_units(source), self._stack(source)
        small, large = stack.small, stack.large
        scale = (small.head_size / large.heads_width * large.num_attention_heads) ** 0.5
        if not stack.family.scales_scores:
            scale = 1.0
        parts = [
            part.index_select(axis, units[kind]) * (scale if kind == "query" else 1.0)
            for kind, part in zip(kinds, self._parted(stack, value, kinds, axis), strict=True)
        ]
        if not self._by_head(kinds):
            return torch.cat(parts, axis)
        heads = small.num_attention_heads  # axis is 0: such a map has its parts in its rows
        return torch.stack([part.view(heads, -1, *part.shape[1:]) for part in parts], 1).view(
            -1, *value.shape[1:]
        )

    def _parted(
        self, stack: _Stack, value: Tensor, kinds: tuple[Kind, ...], axis: int
    ) -> Sequence[Tensor]:
        """The parts of what one map makes, each with rows head after head."""
        if not self._by_head(kinds):
            return value.chunk(len(kinds), axis)
        split = value.view(stack.large.num_attention_heads, len(kinds), -1, *value.shape[1:])
        return [part.flatten(0, 1) for part in split.unbind(1)]

    def _by_head(self, kinds: tuple[Kind, ...]) -> bool:
        return is_by_head(self.family, kinds)

    def _in_body(self, name: str) -> bool:
        return _in_body(self.student, self.family, name)

    def _source_name(self, name: str) -> str:
        layer = self.family.layer_of(name)
        if layer is None or name.endswith(SHARED_BIAS):  # which the first layer has for all
            return name
        path, number = layer
        ours, theirs = str(number), str(self._stack(name).layers[number] - 1)
        return path.removesuffix(ours) + theirs + name.removeprefix(path)

    def _without_source(self, name: str, drawn: Tensor) -> Tensor:
        # A teacher whose embeddings are as wide as its layers has no map between them; the
        # student's map starts as the change of basis that the other weights assume.
        module, _, kind = name.rpartition(".")
        if self.family.embedding_map and is_at(module, self.family.embedding_map):
            return (
                self.stacks[0].basis.T.contiguous() if kind == "weight" else torch.zeros_like(drawn)
            )
        return self._drawn_head(name, drawn, "is missing in the teacher")

    def _drawn_head(self, name: str, drawn: Tensor, problem: str) -> Tensor:
        """Only a head may stay random; elsewhere a student would begin broken."""
        if self._in_body(name):
            raise KdnasError(
                f"cannot start a student from the teacher's weights: {name} {problem}; "
                "check the teacher's config.json, or give --no-inherit"
            )
        return drawn

    def _bases(self, size: int, whole: int) -> list[tuple[Tensor, float]]:
        """Of each stack: the basis of the student's residual stream, and its normalisations' gain.

        Stacks that read the same word embeddings have the same basis.
        """
        words, count = self.words, len(self.family.stacks)
        if size == whole:
            return [(torch.eye(size), 1.0)] * count
        known = self.importance
        if known is None:
            bases = [chosen_basis(self._variances(table, whole), size) for table in words.tables]
        elif count == 1:
            bases = [principal_basis(known.spectrum, size)]
        else:
            residuals = known.residuals
            joint = [torch.stack(residuals).mean(0)] * count if words.shared else residuals
            bases = [self._principal(*pair, size) for pair in zip(joint, residuals, strict=True)]
        return [self._on_positions(*basis, side) for basis, side in zip(bases, SIDES, strict=False)]

    def _principal(self, chosen: Tensor, own: Tensor, size: int) -> tuple[Tensor, float]:
        """A stack's basis, from a covariance that may be of several, and its gain, from its own."""
        if self.centres:
            basis = centred_basis(chosen, size)
            return basis, gain_in(basis, without_mean(own).float())
        basis, _ = principal_basis(spectrum_of(chosen), size)
        return basis, gain_in(basis, own)

    def _variances(self, table: Tensor, whole: int) -> Tensor:
        """How single dimensions vary, shape (whole,), as far as weights tell."""
        if table.shape[1] == whole:
            return table.var(dim=0)
        first = next(w for w in self.weights.values() if w.ndim == 2 and w.shape[0] == whole)
        norms: Tensor = first.norm(dim=1)
        return norms

    def _on_positions(self, basis: Tensor, gain: float, side: str) -> tuple[Tensor, float]:
        """A basis turned so that positions in it come near to those that the student computes."""
        own = [n for n in self.drawn if f"{side}." in n and _has_own(self.family, n)]
        if own and self.family.rotary is None:
            theirs, ours = self.weights[own[0]] @ basis, self.drawn[own[0]]
            basis = basis @ nearest_rotation(theirs, ours)
        return basis, gain

    def _narrowed(self, source: str, value: Tensor, axis: int) -> Tensor:
        """An axis of the teacher's hidden size, in the student's."""
        module, stack = source.rpartition(".")[0], self._stack(source)
        if stack.small.hidden_size == stack.large.hidden_size:
            return value
        # The outputs of the head's first map are behind its activation.
        inner = module not in self.head or (axis == 0) == (module != self.head[-1])
        if len(self.head) > 1 and inner and not self._in_body(source):
            return value.index_select(axis, self.pooled)
        if source in self.norms:
            # A gain is a diagonal matrix, of which the new basis keeps the diagonal.
            return stack.gain * (stack.basis.square() * value[:, None]).sum(0)
        at = self.family.attention_at(module)
        if at and at[0] == "cross" and "query" not in at[1].units_of(module) and axis == 1:
            stack = self.stacks[0] if at[1].units_of(module) else stack  # it reads the encoder
        return (value.movedim(axis, -1) @ stack.basis).movedim(-1, axis)

    def _in_proportion(self, name: str, source: str, value: Tensor) -> Tensor:
        """A tensor; scaled where a model multiplies by its hidden size: states keep their size."""
        small, large = self.stacks[-1].small, self.stacks[-1].large
        root = (large.hidden_size / small.hidden_size) ** 0.5
        if root == 1.0:
            return value
        words, factor = self.words, 1.0
        if source in words.names and words.scaled_in:
            factor = root
        if name.rpartition(".")[0] == self._last_norm:
            factor = root ** -(words.scaled_out + (words.scaled_in and words.tied_head))
        return value if factor == 1.0 else value * factor

    @cached_property
    def _last_norm(self) -> str | None:
        """The student's norm that only the head reads."""
        stack = self.stacks[-1]
        last = stack.small.num_hidden_layers - 1
        paths = [path.format(last=last) for path in stack.family.last_norms]
        modules = {name.rpartition(".")[0] for name in self.drawn}
        return next((m for path in paths for m in sorted(modules) if is_at(m, path)), None)

    @cached_property
    def pooled(self) -> Tensor:
        """Outputs of the head's first map to keep, by the norms of the weights around them."""
        first, last = (self.weights[f"{self.head[i]}.weight"] for i in (0, -1))
        return top(first.norm(dim=1) * last.norm(dim=0), self.stacks[0].small.hidden_size)

    def _with_lost_means(self, source: str) -> Tensor:
        """A tensor; the bias behind the neurons with what those left out add on average."""
        value, (module, _, kind) = self.weights[source], source.rpartition(".")
        behind = kind == "bias" and self._role(f"{module}.weight") == (("neurons",), 1)
        if not self.importance or not behind:
            return value
        lost = torch.ones(self._stack(source).large.intermediate_size, dtype=torch.bool)
        lost[self._layer_units(source)["neurons"]] = False
        means = self.importance.neuron_means[self._layer(source)]
        return value + self.weights[f"{module}.weight"][:, lost] @ means[lost]

    def _with_lost_gain(self, name: str, source: str, value: Tensor) -> Tensor:
        """A tensor; with a norm's gain what reads that norm, where the student has none."""
        module, _, kind = name.rpartition(".")
        theirs, ours = (
            f"{layer_at(self.family, path)}.{self.family.first_without}.weight"
            for path in (source, name)
        )
        lost = theirs in self.weights and ours not in self.drawn
        reads = kind == "weight" and self.family.units_of(module)
        return value * self.weights[theirs] if lost and reads else value

    def _role(self, source: str) -> Role | None:
        """Which of a layer's own dimensions a tensor has, part after part, and on which axis."""
        rows = len(self.weights[source]) if source in self.weights else 0
        return role_of(self.family, source, rows, self._stack(source).large.intermediate_size)

    def _layer(self, source: str) -> str:
        layer = layer_at(self.family, source)
        assert layer, source
        return layer

    def _block(self, source: str) -> str:
        """The key of the attention or the neurons of which a tensor is part."""
        at = self.family.attention_at(source.rpartition(".")[0])
        return self._layer(source) + (CROSS if at and at[0] == "cross" else "")

    def _layer_units(self, source: str) -> dict[str, Tensor]:
        """Rows of the attention maps and neurons that the student takes of a tensor's layer."""
        block, stack = self._block(source), self._stack(source)
        if block not in self.units:
            rows, neurons = self._importance_of(block)
            turned, values = self._rows(stack, block, rows)
            self.units[block] = {"query": turned, "key": turned, "value": values}
            if neurons is not None:
                self.units[block]["neurons"] = top(neurons, stack.small.intermediate_size)
        return self.units[block]

    def _rows(self, stack: _Stack, block: str, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of queries and keys, and of values, to keep."""
        small, large = stack.small, stack.large
        if self.family.rotary:
            return rotary_rows(importance, large, small, self.family.rotary)
        bound = self._has_shared_bias(stack) and not block.endswith(CROSS)
        heads = self._shared_heads(stack) if bound else None
        rows = head_rows(importance, large, small, heads)
        return rows, rows

    def _importance_of(self, block: str) -> tuple[Tensor, Tensor | None]:
        """Of the attention's rows, head after head, and of the feed-forward neurons, if any."""
        if self.importance:
            return self.importance.rows[block], self.importance.neurons.get(block)
        norms: dict[tuple[Kind, int], Tensor] = {}
        for source, value in self.weights.items():
            inside = source.startswith(f"{block.removesuffix(CROSS)}.")
            role = self._role(source) if inside and self._block(source) == block else None
            module = source.rpartition(".")[0]
            also = any(is_at(module, name) for name in self.family.heads_also)
            if role is None or also or value.ndim != 2:
                continue
            for kind, part in zip(
                role[0], self._parted(self._stack(source), value, *role), strict=True
            ):
                norm, key = part.norm(dim=1 - role[1]), (kind, role[1])
                # The two halves of gated neurons are multiplied.
                norms[key] = norms[key] * norm if key in norms else norm
        rows = norms["query", 0] * norms["key", 0] + norms["value", 0] * norms["value", 1]
        if ("neurons", 0) not in norms:
            return rows, None
        return rows, norms["neurons", 0] * norms["neurons", 1]

    def _has_shared_bias(self, stack: _Stack) -> bool:
        """Whether the layers of a stack share a bias for each head."""
        return any(n.endswith(SHARED_BIAS) and self._stack(n) is stack for n in self.weights)

    def _shared_heads(self, stack: _Stack) -> Tensor:
        """The heads that every layer of a stack with such a bias keeps."""
        if stack not in self.heads:
            self.heads[stack] = self._best_of_all_layers(stack)
        return self.heads[stack]

    def _best_of_all_layers(self, stack: _Stack) -> Tensor:
        names = [
            name
            for name in self.weights
            if self._stack(name) is stack and self._role(name) == (("query",), 0)
        ]
        blocks = dict.fromkeys(map(self._block, names))
        layers = [block for block in blocks if not block.endswith(CROSS)]
        inherited = [name for i, name in enumerate(layers, start=1) if i in stack.layers]
        rows = [self._importance_of(name)[0] for name in inherited]
        shares = torch.stack([r / r.sum() for r in rows])
        return best_heads(shares.sum(dim=0), stack.large, stack.small)


def _layers(small: Architecture, large: Architecture, family: Family) -> list[int]:
    return inherited_layers(small.num_hidden_layers, large.num_hidden_layers, family)
