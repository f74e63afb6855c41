"""The finite set of candidates that a search chooses from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from transformers.activations import ACT2FN

from kdnas.config.choices import RECIPE
from kdnas.errors import KdnasError
from kdnas.space.architecture import (
    EMBEDDINGS,
    ENCODERS,
    FIELDS,
    FURTHER_FIELDS,
    HEAD_SIZE,
    Architecture,
)
from kdnas.space.arithmetic import arithmetic
from kdnas.space.candidate import DEFAULT_RECIPE, TEACHERS_VOCABULARY, Candidate
from kdnas.space.derivation import (
    TEACHERS,
    Choices,
    check_regular,
    decoder_fields,
    derive_choices,
    embeddings_problem,
    replace_choices,
    teacher_architecture,
)
from kdnas.space.families import family_of
from kdnas.space.pruned import AnyArchitecture, PrunedArchitecture
from kdnas.space.pruning import ASKED, KEPT_LAYERS, METHOD, NONE, NOT_PRUNED, SPARSITY, Pruning

LAYERS = FIELDS[0]
# How far a speed-up may exceed what is saved in arithmetic: by 1.03 at most in 250 timings of BERT,
# and more where other products than those of plain layers count (DeBERTa).
FASTER = 1.25


class SearchSpace:
    """Choices for each dimension of a candidate, and which combinations are valid.

    Attributes:
        teacher: The teacher's architecture, the largest that is allowed.
        choices: Allowed values by field of the architecture.
        excluded_sizes: Hidden sizes that students cannot have, unless their embeddings are
            factorised.
        head_multiple: What the size of a head is a multiple of: 2 where pairs of its dimensions are
            rotated.
        shallow_decoder: Whether decoders must not be deeper than encoders.
        recipes: Names of the recipes on offer.
        static_recipes: Names of those on offer for students without layers, which have the hidden
            sizes of the others.
        vocabularies: Names of the vocabularies on offer.
        prunings: How the teacher may be pruned.
        has_dense: Whether shapes that are not pruned are candidates, too.
        speedup: How many times as fast as the teacher a shape must be by its arithmetic; 0: any.
        own_embeddings: How wide the teacher's token embeddings are, where students may have
            narrower ones; 0 where their classes cannot have them.
        assistants: Who teaches the student that is asked for in the teacher's place.
    """

    def __init__(
        self,
        teacher: Architecture,
        choices: Choices,
        excluded_sizes: frozenset[int] = frozenset(),
        recipes: Sequence[str] = (DEFAULT_RECIPE,),
        vocabularies: Sequence[str] = (TEACHERS_VOCABULARY,),
        head_multiple: int = 1,
        shallow_decoder: bool = False,
        prunings: Sequence[Pruning] = (),
        has_dense: bool = True,
        static_recipes: Sequence[str] = (),
        speedup: float = 0.0,
        own_embeddings: int = 0,
        assistants: Sequence[str] = (),
    ) -> None:
        self.teacher = teacher
        self.choices = choices
        self.excluded_sizes = excluded_sizes
        self.recipes = tuple(recipes)
        self.vocabularies = tuple(vocabularies)
        self.head_multiple = head_multiple
        self.shallow_decoder = shallow_decoder
        self.prunings = tuple(prunings)
        self.has_dense = has_dense
        self.static_recipes = tuple(static_recipes)
        self.speedup = speedup
        self.own_embeddings = own_embeddings
        self.assistants = tuple(assistants)

    @classmethod
    def from_teacher(
        cls,
        config: Any,
        name: str,
        replacements: Mapping[str, Sequence[int | float | str]] | None = None,
    ) -> SearchSpace:
        """Derives the space from the config of a teacher, named in messages as `name`.

        `replacements` are choices by field in place of the derived ones.

        Raises:
            KdnasError: The teacher is not a supported encoder, or no candidate is valid.
        """
        family = family_of(config.model_type, name)
        teacher = teacher_architecture(config, family)
        check_regular(config, teacher, name)
        multiple, decoders = 2 if family.rotary else 1, decoder_fields(family)
        choices = derive_choices(teacher, multiple, decoders)
        replaced, further = dict(replacements or {}), decoders
        own = family.embedding_size(config)
        if EMBEDDINGS in replaced:
            if not family.embedding_map:
                raise KdnasError(
                    f"invalid space.{EMBEDDINGS}: {embeddings_problem(config.model_type)}"
                )
            # The teacher's own size has one spelling: embeddings that are not factorised.
            replaced[EMBEDDINGS] = [TEACHERS if v == own else v for v in replaced[EMBEDDINGS]]
            further = (*decoders, EMBEDDINGS)
        choices = replace_choices(choices, replaced, teacher, further)
        dropped = family.drops_equal_map and own != teacher.hidden_size
        space = cls(
            *(teacher, choices, frozenset({own} if dropped else ())),
            head_multiple=multiple,
            shallow_decoder=family.shallow_decoder,
            own_embeddings=own if family.embedding_map else 0,
        )
        space.check()
        return space

    def with_recipes(self, recipes: Sequence[str], static: Sequence[str] = ()) -> SearchSpace:
        """The same students with these recipes, and by `static` ones students without layers."""
        return self._with(recipes=tuple(recipes), static_recipes=tuple(static))

    def with_prunings(self, prunings: Sequence[Pruning], *, dense: bool = True) -> SearchSpace:
        """The teacher so pruned, beside the shapes of this space or in their place."""
        return self._with(prunings=tuple(prunings), has_dense=dense)

    def within(self, speedup: float) -> SearchSpace:
        """Without the shapes that have too much arithmetic to be so many times as fast.

        The same space where that leaves none; of encoder-decoders, whose time does not follow it,
        all shapes stay.
        """
        fast = self._with(speedup=speedup)
        return fast if fast.architectures and not self.teacher.num_decoder_layers else self

    @cached_property
    def whole(self) -> SearchSpace:
        """With the shapes that have too much arithmetic for the speed-up, too."""
        return self._with(speedup=0.0) if self.speedup else self

    def _with(self, **changes: Any) -> SearchSpace:
        """A copy with other attributes."""
        names = (
            *("teacher", "choices", "excluded_sizes", "recipes", "vocabularies"),
            *("head_multiple", "shallow_decoder", "prunings", "has_dense", "static_recipes"),
            *("speedup", "own_embeddings", "assistants"),
        )
        return SearchSpace(**{**{name: getattr(self, name) for name in names}, **changes})

    def with_vocabularies(self, vocabularies: Sequence[str]) -> SearchSpace:
        """The same students with these vocabularies."""
        return self._with(vocabularies=tuple(vocabularies))

    def with_assistants(self, words: Sequence[str]) -> SearchSpace:
        """The same students, taught by these; shapes among them are spelled in full."""
        return self._with(assistants=tuple(words))

    def check(self) -> None:
        """Refuses choices that no student can have.

        Raises:
            KdnasError: A value exceeds the teacher's, an activation is unknown, or no combination
                is valid.
        """
        limits = {EMBEDDINGS: self.own_embeddings, **self.teacher.values}
        for name in self.dimensions:
            if name == "hidden_act":
                continue
            limit, least = int(limits[name]), int(name != EMBEDDINGS)  # 0: not factorised
            wrong = [v for v in self.choices[name] if not least <= int(v) <= limit]
            if wrong:
                raise KdnasError(
                    f"invalid space.{name}: {wrong[0]}; expected 1 to {limit}, the teacher's"
                )
        for act in self.choices["hidden_act"]:
            if act not in ACT2FN:
                raise KdnasError(f"invalid space.hidden_act: {act!r} is unknown to transformers")
        if not self.architectures:
            heads, sizes = self.choices["num_attention_heads"], self.choices["hidden_size"]
            narrow = self.choices.get(EMBEDDINGS, (0,))
            if min(map(int, narrow)) >= max(map(int, sizes)):
                raise KdnasError(
                    f"no valid student in the space: no embedding_size of {narrow} is below a "
                    f"hidden_size of {sizes}"
                )
            left = tuple(size for size in sizes if size not in self.excluded_sizes)
            reasons = [
                f"hidden_size {size} equals the embedding size, and the teacher has no weights for "
                "a student without the map between them; choose another hidden_size"
                for size in sizes
                if size in self.excluded_sizes
            ]
            if left:
                even = " into heads of an even size" if self.head_multiple == 2 else ""
                reasons.append(
                    f"no num_attention_heads of {heads} divides a hidden_size of {left}{even}"
                )
            raise KdnasError(f"no valid student in the space: {'; '.join(reasons)}")

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The fields that are chosen; what else a decoder has is as in the encoder."""
        return tuple(name for name in (*FIELDS, *FURTHER_FIELDS) if name in self.choices)

    @property
    def embedding_sizes(self) -> tuple[int, ...]:
        """The widths of factorised embeddings to choose from; empty where there are none."""
        return tuple(int(size) for size in self.choices.get(EMBEDDINGS, ()) if size)

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """Every valid shape, smallest choices first, each once."""
        names = self.dimensions
        combinations = itertools.product(*(self.choices[name] for name in names))
        shapes = (
            Architecture(**dict(zip(names, values, strict=True)))  # type: ignore[arg-type]
            for values in combinations
        )
        fitting = (a for a in shapes if a.fits(self.teacher))
        return tuple(a for a in fitting if self._is_built(a))

    def _is_built(self, a: Architecture) -> bool:
        if self.shallow_decoder and a.num_decoder_layers > a.num_hidden_layers:
            return False
        if arithmetic(a) * self.speedup > FASTER * arithmetic(self.teacher):
            return False
        even = a.head_size % self.head_multiple == 0
        return even and (a.embedding_size > 0 or a.hidden_size not in self.excluded_sizes)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every valid candidate, smallest shapes first, then pruned ones."""
        shapes = self.architectures if self.has_dense else ()
        plain = (self.vocabularies, (NOT_PRUNED,))
        static = itertools.product(self.statics, self.static_recipes, *plain)
        product = itertools.product(shapes, self.recipes, *plain)
        pruned = itertools.product((self.teacher,), self.recipes, self.vocabularies, self.prunings)
        return tuple(Candidate(*values) for values in (*static, *product, *pruned))

    @cached_property
    def statics(self) -> tuple[Architecture, ...]:
        """The shapes without layers, the narrowest first: candidates by recipes for them."""
        act, sizes = self.teacher.hidden_act, sorted(self.choices["hidden_size"], key=int)
        return tuple(Architecture(0, 1, int(size), 1, act) for size in sizes)

    @property
    def every_recipe(self) -> tuple[str, ...]:
        """Names of the recipes on offer, those for students without layers last."""
        return (*self.recipes, *self.static_recipes)

    @property
    def trained(self) -> tuple[AnyArchitecture, ...]:
        """What recipes must be able to train: every shape, and one for all pruned students."""
        pruned = dict.fromkeys(map(self.pruned_teacher, self.prunings))
        return (*self.architectures, *map(PrunedArchitecture.whole, pruned))

    def pruned_teacher(self, pruning: Pruning) -> Architecture:
        """The shape of what is pruned: the teacher's, with the layers that stay."""
        whole = self.teacher.num_hidden_layers
        return replace(self.teacher, num_hidden_layers=pruning.layers or whole)

    def likely_params(self, a: Architecture, teacher_params: int) -> int:
        """About how many parameters a student of a shape has, beside a teacher of so many.

        Tables of vectors are taken to shrink with their width, and all else to be arithmetic. Their
        width is the hidden size, unless they are factorised.
        """
        tables = max(0, teacher_params - arithmetic(self.teacher))
        share = a.hidden_size / self.teacher.hidden_size
        if a.embedding_size:
            share = a.embedding_size / self.own_embeddings
        return round(tables * share) + a.embedding_size * a.hidden_size + arithmetic(a)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions.

        A recipe or vocabulary without alternative is left out; `candidate` and `Candidate.of_trial`
        fill it in.
        A pruned student has the shape of its teacher, and one that is not pruned the sparsity, or
        the speed-up to prune to, 0.
        """
        dimensions: dict[str, Sequence[int | float | str]] = {
            name: self.choices[name] for name in self.dimensions
        }
        if self.static_recipes:
            act = self.teacher.hidden_act
            for name, value in ((LAYERS, 0), ("hidden_act", act), (EMBEDDINGS, 0)):
                if name in dimensions:
                    dimensions[name] = _with_own(dimensions[name], value)
        more: dict[str, Sequence[int | float | str]] = {
            RECIPE: self.every_recipe,
            "vocabulary": self.vocabularies,
        }
        if self.prunings:
            own = self._teachers
            dimensions = {name: _with_own(dimensions[name], own[name]) for name in dimensions}
            methods = dict.fromkeys((NONE, *(p.method for p in self.prunings)))
            more[METHOD] = tuple(methods)
            more[SPARSITY] = tuple(sorted({0.0, *(p.sparsity for p in self.prunings)}))
            more[ASKED] = tuple(sorted({0.0, *(p.speedup for p in self.prunings)}))
            more[KEPT_LAYERS] = tuple(sorted({0, *(p.layers for p in self.prunings)}))
        dimensions |= {name: values for name, values in more.items() if len(values) > 1}
        return {name: CategoricalDistribution(values) for name, values in dimensions.items()}

    def candidate(self, params: Mapping[str, Any]) -> Candidate:
        """The candidate that a trial's parameters spell; it need not be valid."""
        only = {"recipe": self.recipes[0], "vocabulary": self.vocabularies[0]}
        return Candidate.from_params({**only, **params})

    def params(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate as the parameters of a trial."""
        whole = {METHOD: NONE, SPARSITY: 0.0, ASKED: 0.0, KEPT_LAYERS: 0}
        whole |= {HEAD_SIZE: self.teacher.own_head_size, EMBEDDINGS: 0}
        values = {**whole, **candidate.params, **candidate.architecture.values}
        if not candidate.architecture.num_hidden_layers:
            values |= self._of_no_layer
        return {name: values[name] for name in self.distributions}

    def is_valid(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial's parameters spell a valid candidate of this space."""
        needed = self._unpruned(params)
        if not params[LAYERS]:
            needed |= self._of_no_layer
        return self.candidate(params) in self._valid and params.items() >= needed.items()

    def nearest(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A sampler's parameters, those that do not matter beside others set to what they must be.

        Samplers draw each parameter whatever the others are; a pruned student has the shape of its
        teacher, another one the sparsity 0; one without layers has a recipe for such students.
        """
        if params.get(METHOD, NONE) != NONE:
            shape = {name: self._teachers[name] for name in self.dimensions}
            whole = self._with_recipe({**params, **shape}, self.recipes)
            return whole if self.is_valid(whole) else self._pruned(whole)
        near = {**params, **self._unpruned(params)}
        if params[LAYERS]:
            return self._with_recipe(near, self.recipes)
        return self._with_recipe({**near, **self._of_no_layer}, self.static_recipes)

    def _with_recipe(self, params: dict[str, Any], fitting: Sequence[str]) -> dict[str, Any]:
        """Parameters whose recipe is one of these."""
        chosen = params.get(RECIPE)
        return params if chosen in (None, *fitting) else {**params, RECIPE: fitting[0]}

    def _pruned(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters of a pruned student that a sampler drew, made valid where that can be.

        Where all of a space are pruned to one speed-up, it is the one whose layers come nearest.
        """
        if len({pruning.target for pruning in self.prunings}) > 1:
            return dict(params)
        whole = self.teacher.num_hidden_layers
        layers = params.get(KEPT_LAYERS) or whole
        nearest = min(self.prunings, key=lambda one: abs((one.layers or whole) - layers))
        return self.params(replace(self.candidate(params), pruning=nearest))

    def _unpruned(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """How far what is not pruned is pruned, in a space with pruned students."""
        dense = self.prunings and params.get(METHOD) == NONE
        none = {SPARSITY: 0.0, ASKED: 0.0, KEPT_LAYERS: 0}
        return {name: none[name] for name in none if dense and name in self.distributions}

    @cached_property
    def _of_no_layer(self) -> dict[str, Any]:
        """The parameters that say nothing of a student without layers, as trials spell them."""
        named = self.distributions
        told = {name: named[name].choices[0] for name in ENCODERS.values()}  # type: ignore[attr-defined]
        none = {EMBEDDINGS: 0} if EMBEDDINGS in named else {}
        return {**told, "hidden_act": self.teacher.hidden_act, **none}

    @property
    def _teachers(self) -> dict[str, int | str]:
        """The teacher's shape as trials spell it."""
        return {EMBEDDINGS: 0, **self.teacher.values}

    @cached_property
    def _valid(self) -> frozenset[Candidate]:
        return frozenset(self.candidates)

    @property
    def smallest(self) -> Architecture:
        """The valid shape with the fewest multiply-accumulates."""
        return min(self.architectures, key=_size)

    @property
    def largest(self) -> Architecture:
        """The valid shape with the most multiply-accumulates."""
        return max(self.architectures, key=_size)

    @property
    def narrowest(self) -> Architecture:
        """The smallest of the valid shapes with the narrowest embeddings."""
        return min(self.architectures, key=lambda a: (embedding_rank(a), _size(a)))


def _with_own(values: Sequence[int | float | str], own: int | str) -> list[int | float | str]:
    """Choices with the teacher's own among them, numbers in their order."""
    if own in values:
        return list(values)
    both = [*values, own]
    return both if isinstance(own, str) else sorted(both, key=float)


def embedding_rank(a: Architecture) -> float:
    """Orders shapes by the width of their embeddings; those not factorised are the widest."""
    return a.embedding_size or math.inf


def _size(a: Architecture) -> tuple[float, ...]:
    heads = a.num_attention_heads
    size = (arithmetic(a), a.hidden_size, heads, a.decoder_attention_heads or heads)
    return (*size, embedding_rank(a))
