"""A student's vocabulary: the teacher's, or the tokens of it that the task's texts need.

A student trains on its teacher's tokens, so that one stored signal serves students of every
vocabulary; of tokens that are left out, no row was worth training. What ships has the smaller table
and a tokenizer of its own, which gives the same tokens for the texts that were counted.
"""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel

from kdnas.errors import KdnasError
from kdnas.files.atomic import write_text
from kdnas.space import family_of
from kdnas.students.vocabulary.tokens import renumbered, state_ids, with_needed
from kdnas.tasks.encode import padding_id
from kdnas.teachers.tokenizer import as_used

ENDS = "_token_id"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens that a student has.

    Attributes:
        name: As an option spells it.
        kept: Shape (tokens,), ascending: the teacher's id of each token; the token's own is its
            place.
        tokenizer: Makes them of texts; ships with the student.
    """

    name: str
    kept: NDArray[np.int64]
    tokenizer: Any

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def place(self) -> dict[int, int]:
        """The student's id by the teacher's."""
        return {int(old): new for new, old in enumerate(self.kept)}

    def config_of(self, config: Any) -> Any:
        """A model's config for this vocabulary: its size, and ids of special tokens.

        Ids of no token, as a class's defaults may be, become the padding's: some classes refuse
        None.
        """
        if len(self) == config.vocab_size:  # nothing is left out
            return config
        config = copy.deepcopy(config)
        padding = self.place.get(config.pad_token_id)
        for name, value in vars(config).items():
            if isinstance(value, list) and name.endswith(ENDS):
                setattr(config, name, [self.place[old] for old in value if old in self.place])
            elif name.endswith(ENDS) and value is not None:
                setattr(config, name, self.place.get(value, padding))
        config.vocab_size = len(self)
        return config

    @torch.no_grad()
    def cut(self, model: PreTrainedModel) -> PreTrainedModel:
        """A student for this vocabulary, from one that has the teacher's, which stays as it is."""
        if len(self) == model.config.vocab_size:
            return model
        cut = copy.deepcopy(model)
        cut.config = self.config_of(model.config)
        table = cut.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        rows = torch.from_numpy(self.kept).to(table.weight.device)
        table.weight = nn.Parameter(table.weight[rows])
        table.num_embeddings = len(self)
        if table.padding_idx is not None:
            table.padding_idx = self.place.get(table.padding_idx)
        return cut

    def pad_id(self, config: Any) -> int:
        """The token that fills short rows of a student whose teacher has this config."""
        return padding_id(self.config_of(config), self.tokenizer)


def cut_vocabulary(
    name: str, tokenizer: Any, config: Any, counts: NDArray[np.int64], least: int
) -> Vocabulary:
    """The teacher's tokens that occur often enough, and those that its tokenizer needs.

    Args:
        name: Of the vocabulary.
        tokenizer: The teacher's.
        config: The teacher's.
        counts: Shape (teacher's tokens,): how often each occurs in the task's texts.
        least: How often a token must occur.

    Raises:
        KdnasError: The tokenizer cannot be cut.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise KdnasError(
            f"{type(tokenizer).__name__} has no tokenizer.json, which a cut vocabulary is made "
            "of; give --vocabulary teacher"
        )
    state = json.loads(backend.to_str())
    seen = {*np.flatnonzero(counts >= least).tolist(), *_special_ids(tokenizer, config)}
    known = set(state_ids(state).values())
    kept = sorted(with_needed(state, seen & known))
    own = _with_state(tokenizer, renumbered(state, kept))
    made = Vocabulary(name, np.array(kept, np.int64), own)
    _check(made, tokenizer)
    as_used(own, made.config_of(config))
    return made


def _special_ids(tokenizer: Any, config: Any) -> set[int]:
    """The ids that a tokenizer or a model gives a meaning, and those that must not move."""
    named = (value for name, value in vars(config).items() if name.endswith(ENDS))
    ids = [i for value in named for i in (value if isinstance(value, list) else [value])]
    family = family_of(config.model_type, config.model_type)
    fixed = config.pad_token_id if family.padding_id is None else family.padding_id
    # Positions are counted from the padding's id on.
    unmoved = range(int(fixed or 0) + 1) if family.position_offset else ()
    found = {*ids, *tokenizer.all_special_ids, *unmoved} - {None}
    return {int(i) for i in found if 0 <= int(i) < int(config.vocab_size)}


def _with_state(tokenizer: Any, state: dict[str, Any]) -> Any:
    """A tokenizer with another tokenizer.json, as transformers loads it from a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        text = json.dumps(state, ensure_ascii=False)
        write_text(Path(folder) / "tokenizer.json", text)
        about = Path(folder) / "tokenizer_config.json"
        named = json.loads(about.read_text(encoding="utf-8"))
        if "unk_id" in named:  # some classes name the unknown piece once more
            named["unk_id"] = state["model"].get("unk_id")
            write_text(about, json.dumps(named))
        return AutoTokenizer.from_pretrained(
            folder, model_input_names=list(tokenizer.model_input_names)
        )


def _check(made: Vocabulary, before: Any) -> None:
    """Refuses a tokenizer that transformers did not load as it was cut."""
    wanted = {token: made.place[i] for token, i in before.get_vocab().items() if i in made.place}
    if made.tokenizer.get_vocab() != wanted:
        raise KdnasError(
            f"{type(before).__name__} does not load a vocabulary of {len(made)} tokens as it was "
            "written; give --vocabulary teacher"
        )
