"""The search space: what a student may look like, derived from its teacher's config."""

from kdnas.space.architecture import Architecture
from kdnas.space.families import FAMILIES, Family, family_of
from kdnas.space.search_space import SearchSpace

__all__ = ["FAMILIES", "Architecture", "Family", "SearchSpace", "family_of"]
