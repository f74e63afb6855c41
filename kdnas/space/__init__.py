"""The search space: candidates, derived from a teacher's config."""

from kdnas.space.architecture import Architecture
from kdnas.space.candidate import Candidate
from kdnas.space.families import ENCODER_DECODERS, FAMILIES, Family, family_of
from kdnas.space.pruned import AnyArchitecture, PrunedArchitecture, architecture_from_params
from kdnas.space.pruning import NOT_PRUNED, Pruning
from kdnas.space.search_space import SearchSpace

__all__ = [
    "ENCODER_DECODERS",
    "FAMILIES",
    "NOT_PRUNED",
    "AnyArchitecture",
    "Architecture",
    "Candidate",
    "Family",
    "PrunedArchitecture",
    "Pruning",
    "SearchSpace",
    "architecture_from_params",
    "family_of",
]
