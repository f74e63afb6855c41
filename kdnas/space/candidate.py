"""What a study chooses between: a student's shape, how it is trained, and what it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdnas.config import Settings
from kdnas.config.assistants import in_words, shape_in
from kdnas.config.names import split
from kdnas.config.vocabulary import TEACHERS
from kdnas.space.architecture import Architecture
from kdnas.space.pruned import AnyArchitecture, architecture_from_params
from kdnas.space.pruning import NOT_PRUNED, Pruning

DEFAULT_RECIPE = "default"
TEACHERS_VOCABULARY = TEACHERS
ASSISTANTS = "assistants"
# In the label of a candidate, before those that teach it in the teacher's place.
TAUGHT_BY = "taught by"


@dataclass(frozen=True, order=True)
class Candidate:
    """One student that a study may try: its shape, and the names of its recipe and vocabulary.

    That of a pruned student is the teacher's shape and how it is pruned. `assistants` name the
    students that teach it in the teacher's place, each taught by the one before it, as
    `kdnas.config.assistants` reads them; shapes are spelled in full. Equality is the key.
    """

    architecture: AnyArchitecture
    recipe: str = DEFAULT_RECIPE
    vocabulary: str = TEACHERS_VOCABULARY
    pruning: Pruning = NOT_PRUNED
    assistants: tuple[str, ...] = ()

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Candidate:
        """The candidate that plain values spell, as `params` gives them, or a row of YAML.

        Of a trial's parameters, see `of_trial`.

        Raises:
            KeyError: A field of the architecture is missing.
        """
        return cls(
            architecture_from_params(params),
            str(params.get("recipe", DEFAULT_RECIPE)),
            str(params.get("vocabulary", TEACHERS_VOCABULARY)),
            Pruning.from_params(params),
            tuple(split(str(params.get(ASSISTANTS) or ""))),
        )

    @classmethod
    def of_trial(cls, params: Mapping[str, Any], settings: Settings) -> Candidate:
        """The candidate that the parameters of a trial spell, in a search with these settings.

        They leave out what the search does not choose: a vocabulary that all students have. One
        recipe for all is the settings' own, which candidates call the default.

        Raises:
            KeyError: A field of the architecture is missing.
        """
        return cls.from_params({"vocabulary": settings.vocabulary_names[0], **params})

    @property
    def params(self) -> dict[str, int | float | str]:
        """All fields as plain values; `from_params` reads them back."""
        own = {"recipe": self.recipe, "vocabulary": self.vocabulary}
        taught = {ASSISTANTS: ",".join(self.assistants)} if self.assistants else {}
        return {**self.architecture.params, **own, **self.pruning.params, **taught}

    @cached_property
    def key(self) -> str:
        """A hash of all fields, the same on every machine: 16 hexadecimal digits."""
        text = json.dumps(self.params, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """Short name, `6x384 h12 f1536 gelu`; what is not the default follows.

        Of a pruned student `ziplm 90%`, with assistants `taught by 60%,80%`.
        """
        parts = [self.architecture.label]
        parts += [self.pruning.label] * bool(self.pruning)
        parts += [self.recipe] * (self.recipe != DEFAULT_RECIPE)
        parts += [self.vocabulary] * (self.vocabulary != TEACHERS_VOCABULARY)
        parts += [f"{TAUGHT_BY} {in_words(self.assistants)}"] * bool(self.assistants)
        return " ".join(parts)


def shape_of_assistant(word: str) -> Architecture | None:
    """The shape of an assistant that is named by it, spelled in full; None of another one."""
    shape = shape_in(word)
    return None if shape is None else Architecture.from_params(shape)
