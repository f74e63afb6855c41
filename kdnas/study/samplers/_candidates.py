"""The finite set of architectures that a controller chooses from, as rows of choice indices."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from kdnas.errors import KdnasError
from kdnas.space.architecture import EMBEDDINGS

Code = tuple[int, ...]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
IsValid = Callable[[dict[str, Any]], bool]

MAX_ENUMERATED = 200_000
POOL_SIZE = 20_000
_MAX_CHOICES = 64
_GRID_POINTS = 16
_POOL_ROUNDS = 20
# Positive choices that differ by such a factor are sizes.
_SIZES = 3.0


def list_choices(distribution: BaseDistribution) -> list[Any]:
    """The values a controller may choose for one parameter.

    Categorical choices come in their own order, those that Optuna takes for the same (0 and False)
    once. A numeric range gives every value when there are at most 64, else 16 points from end to
    end, evenly spaced (in the logarithm where `log`).

    Raises:
        KdnasError: The distribution is of an unknown kind.
    """
    if isinstance(distribution, CategoricalDistribution):
        choices = enumerate(distribution.choices)
        return [c for index, c in choices if distribution.to_internal_repr(c) == index]
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        raise KdnasError(
            f"cannot list the choices of {distribution!r}; give a categorical, int or float range"
        )
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = isinstance(distribution, IntDistribution)
    if low == high:
        return [low]
    if step is not None:
        # In integers: the index may be beyond a float's precision.
        last = int((high - low) // step) if whole else round((high - low) / step)
        indices: Iterable[int] = range(last + 1)
        if last >= _MAX_CHOICES:
            indices = (last * index // (_GRID_POINTS - 1) for index in range(_GRID_POINTS))
        if last < _MAX_CHOICES or not distribution.log:
            return [min(low + step * index, high) for index in indices]
    space = np.geomspace if distribution.log else np.linspace
    inner = space(float(low), float(high), _GRID_POINTS)[1:-1].tolist()
    if whole:
        return sorted({low, high, *(min(max(round(point), low), high) for point in inner)})
    return [low, *inner, high]


class CandidateSpace:
    """Every architecture of a search space, and the way from parameters to indices and back.

    Parameters are ordered by name, so that the codes don't depend on the order of a dictionary.
    `is_valid` says whether a full set of parameters is an architecture; it must be pure.
    """

    def __init__(
        self, search_space: Mapping[str, BaseDistribution], is_valid: IsValid | None = None
    ) -> None:
        self.names = sorted(search_space)
        self._distributions = [search_space[name] for name in self.names]
        self._choices = [list_choices(each) for each in self._distributions]
        self._is_valid = is_valid
        self.sizes = [len(choices) for choices in self._choices]
        self.size = math.prod(self.sizes)

    @functools.cached_property
    def levels(self) -> list[Floats]:
        """The numeric value of each choice of each parameter, scaled to [-1, 1].

        Zeros where the choices have no order, or there is one only.
        """
        return self._levels(lambda choices: False)

    @functools.cached_property
    def log_levels(self) -> list[Floats]:
        """As `levels`, by their logarithm where the choices are sizes, which work by ratios."""
        return self._levels(_are_sizes)

    def _levels(self, by_ratio: Callable[[list[Any]], bool]) -> list[Floats]:
        return [
            _levels(amounts, bool(getattr(distribution, "log", False)) or by_ratio(amounts))
            for amounts, distribution in zip(self._amounts, self._distributions, strict=True)
        ]

    @property
    def _amounts(self) -> list[list[Any]]:
        return [amounts_of(*pair) for pair in zip(self.names, self._choices, strict=True)]

    def decode(self, code: Code) -> dict[str, Any]:
        """The parameters of a code, as plain Python values."""
        return self.decode_choice(dict(zip(self.names, code, strict=True)))

    def encode(self, params: Mapping[str, Any]) -> Code | None:
        """The code of a trial's parameters; None where they lie outside this space.

        A value between two points of a grid counts as the nearer one.
        """
        code = []
        known = zip(self.names, self._distributions, self._choices, strict=True)
        for name, distribution, choices in known:
            index = _index_of(params[name], distribution, choices) if name in params else None
            if index is None:
                return None
            code.append(index)
        return tuple(code)

    def decode_choice(self, choice: Mapping[str, int]) -> dict[str, Any]:
        """The parameters of the named choice indices that exist in this space."""
        return {
            name: choices[choice[name]]
            for name, choices in zip(self.names, self._choices, strict=True)
            if name in choice and choice[name] < len(choices)
        }

    def candidates(self, rng: np.random.Generator, best: Code | None) -> Codes:
        """The valid architectures to score, shape (candidates, parameters), no row twice.

        All of them where the space has at most 200,000 points. A larger one gives a random pool
        of 20,000 and every architecture that differs from `best` in one parameter.

        Raises:
            KdnasError: No architecture is valid.
        """
        codes = self._all_valid if self.size <= MAX_ENUMERATED else self._pool(rng, best)
        if len(codes) == 0:
            raise KdnasError(
                f"no valid architecture among the {self.size} points of the search space "
                f"over {', '.join(self.names)}; widen it"
            )
        return codes

    @functools.cached_property
    def _all_valid(self) -> Codes:
        # Digits of a mixed-radix number: np.indices refuses more than 64 parameters.
        remaining, columns = np.arange(self.size), []
        for size in reversed(self.sizes):
            remaining, digits = np.divmod(remaining, size)
            columns.append(digits)
        return self._keep_valid(np.stack(columns[::-1], axis=1))

    def _pool(self, rng: np.random.Generator, best: Code | None) -> Codes:
        pool = np.empty((0, len(self.sizes)), dtype=np.int64)
        if best is not None:
            neighbours = [
                (*best[:position], index, *best[position + 1 :])
                for position, size in enumerate(self.sizes)
                for index in range(size)
            ]
            pool = self._keep_valid(np.unique(np.array(neighbours), axis=0))
        target = POOL_SIZE + len(pool)
        # A space with hardly any valid point must end the search for them too.
        for _ in range(_POOL_ROUNDS):
            drawn = rng.integers(self.sizes, size=(POOL_SIZE, len(self.sizes)))
            pool = np.unique(np.concatenate([pool, self._keep_valid(drawn)]), axis=0)
            if len(pool) >= target:
                break
        return pool

    def _keep_valid(self, codes: Codes) -> Codes:
        if self._is_valid is None:
            return codes
        mask = [self._is_valid(self.decode(tuple(row))) for row in codes.tolist()]
        return np.asarray(codes[np.array(mask, dtype=bool)])


def _levels(choices: list[Any], log: bool) -> Floats:
    if not are_numbers(choices) or len(choices) == 1:
        return np.zeros(len(choices))
    points = np.array(choices, dtype=float)
    points = np.log(points) if log else points
    middle, half = (points.max() + points.min()) / 2, (points.max() - points.min()) / 2
    return np.asarray((points - middle) / half)


def _are_sizes(choices: list[Any]) -> bool:
    """Whether choices are positive numbers that differ by a factor of three or more."""
    return are_numbers(choices) and min(choices) > 0 and max(choices) >= _SIZES * min(choices)


def amounts_of(name: str, choices: Sequence[Any]) -> list[Any]:
    """The numbers that the choices of a parameter stand for, or the choices themselves.

    Embeddings of size 0 are not factorised: as wide as the hidden states, and so the widest, here
    taken for twice as wide as the next.
    """
    if name != EMBEDDINGS or not are_numbers(choices):
        return list(choices)
    return [choice or 2 * max(choices) for choice in choices]


def are_numbers(choices: Sequence[Any]) -> bool:
    """Whether all choices are finite numbers, so that they have an order."""
    return all(
        isinstance(choice, int | float) and not isinstance(choice, bool) and math.isfinite(choice)
        for choice in choices
    )


def _index_of(value: Any, distribution: BaseDistribution, choices: list[Any]) -> int | None:
    try:
        internal = distribution.to_internal_repr(value)
    except ValueError:
        return None
    if not distribution._contains(internal):
        return None
    if isinstance(distribution, CategoricalDistribution):
        return choices.index(distribution.choices[int(internal)])
    grid, point = np.asarray(choices, dtype=float), internal
    if isinstance(distribution, IntDistribution | FloatDistribution) and distribution.log:
        grid, point = np.log(grid), math.log(internal)
    return int(np.argmin(np.abs(grid - point)))
