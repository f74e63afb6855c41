"""The candidates of a run: what its search chooses from, or the students that are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.space import Candidate, Pruning, SearchSpace
from kdnas.space.given_shape import space_of_shape
from kdnas.space.pruning import SPARSITIES, SPARSITY, prunings_asked
from kdnas.students.pruning.kept import prunable_family

# The strongest of the methods (docs/pruning.md).
DEFAULT_METHOD = "ziplm"
# A search asks for so much more than its limit: timed again at length, on a machine whose timings
# differ by several per cent, a student shall keep it.
RESERVE = 1.08
# From which speed-up on what shares of the teacher's layers are pruned. Layers that are empty still
# normalise: at high speed-ups they would take most of the time (docs/results.md, Pruned students).
SHARES = ((12.0, (1 / 2, 1 / 3)), (6.0, (1, 2 / 3)), (0.0, (1,)))


def space_of(settings: Settings, config: Any, source: str) -> SearchSpace:
    """What a search chooses from, or the one shape that is given, or how the teacher is pruned.

    Raises:
        KdnasError: The teacher is not a supported encoder, or has no such students.
    """
    if settings.architecture is not None:
        return space_of_shape(config, source, settings.shape)
    own = {name: values for name, values in settings.space.items() if name != SPARSITY}
    space = SearchSpace.from_teacher(config, source, own)
    if settings.searches and settings.speedup:
        space = space.within(settings.speedup)
    if settings.searches and not settings.searches_pruned:
        if SPARSITY in settings.space:
            raise KdnasError(
                f"invalid space.{SPARSITY}: nothing is pruned; add --search-over shape,pruning"
            )
        return space
    prunable_family(config, repr(source))
    if settings.searches:
        return space.with_prunings(searched_prunings(settings, space.teacher.num_hidden_layers))
    return space.with_prunings(
        asked_prunings(settings, space.teacher.num_hidden_layers), dense=False
    )


def asked_candidates(space: SearchSpace) -> list[Candidate]:
    """The students of a run without a search, with who teaches them; the last is the run's own."""
    return [replace(one, assistants=space.assistants) for one in space.candidates]


def searched_prunings(settings: Settings, depth: int) -> tuple[Pruning, ...]:
    """How candidates of a search may be pruned; the teacher has `depth` layers.

    Where a speed-up is asked and no sparsity is named, just as far as that takes, of as many layers
    as SHARES says.

    Raises:
        KdnasError: A sparsity of `space` is out of range.
    """
    method = settings.pruned or DEFAULT_METHOD
    if settings.speedup and SPARSITY not in settings.space:
        speedup = round(RESERVE * settings.speedup, 3)
        shares = next(of for least, of in SHARES if settings.speedup >= least)
        if isinstance(settings.mapping, dict):  # it says which depths there are
            shares = (1,)
        layers = dict.fromkeys(max(1, round(depth * share)) % depth for share in shares)
        return tuple(Pruning(method, speedup=speedup, layers=some) for some in layers)
    sparsities = settings.space.get(SPARSITY, SPARSITIES)
    wrong = [one for one in sparsities if isinstance(one, str) or not 0 < one < 1]
    if wrong or not sparsities:
        raise KdnasError(
            f"invalid space.{SPARSITY}: {wrong[0] if wrong else sparsities!r}; expected shares "
            "above 0 and below 1, such as [0.5, 0.8]"
        )
    return tuple(Pruning(method, sparsity=float(one)) for one in sorted(set(sparsities)))


def asked_prunings(settings: Settings, depth: int) -> tuple[Pruning, ...]:
    """How the students of `kdnas distill --pruned` are pruned; the teacher has `depth` layers.

    Raises:
        KdnasError: More layers shall stay than it has.
    """
    kept = settings.kept_layers or depth
    if kept > depth:
        raise KdnasError(
            f"invalid --kept-layers {kept}: the teacher has {depth} layers; give 1 to {depth}"
        )
    layers = kept if kept < depth else 0
    return prunings_asked(settings, layers)
