"""The search space: candidates, derived from a teacher's config."""

from kdnas.space.architecture import Architecture
from kdnas.space.candidate import Candidate
from kdnas.space.families import FAMILIES, Family, family_of
from kdnas.space.search_space import SearchSpace

__all__ = ["FAMILIES", "Architecture", "Candidate", "Family", "SearchSpace", "family_of"]
