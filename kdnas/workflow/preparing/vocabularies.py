"""The vocabularies of a run's students, and the rows that are scored as each reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kdnas.config import Settings, every_recipe
from kdnas.config.vocabulary import TEACHERS, least_count
from kdnas.errors import KdnasError
from kdnas.recipes.run_data import RunData
from kdnas.recipes.transfer_set import other_tasks, reads_transfer
from kdnas.runtime.console import say
from kdnas.scoring.proxy import Respelled
from kdnas.students.vocabulary import Vocabulary, cut_vocabulary
from kdnas.tasks import EncodedExamples, Examples, encode
from kdnas.tasks.encode import Indices, same_units
from kdnas.workflow.preparing.selection_rows import for_students, selection_rows, selection_texts

Vocabularies = dict[str, Vocabulary]


@dataclass(frozen=True)
class ScoredRows:
    """Rows in the tokens of students with one vocabulary.

    Attributes:
        evaluation: The splits that the report scores.
        selection: Training rows that no student trains on.
        pad_id: Fills short rows.
    """

    evaluation: dict[str, EncodedExamples]
    selection: EncodedExamples
    pad_id: int


def read_vocabularies(settings: Settings, data: RunData, config: Any) -> Vocabularies:
    """The vocabularies that students may have, by name; the teacher's is always there.

    Tokens are counted in the texts that students train on: the task's rows, those that a black-box
    teacher labelled, and other tasks' rows in a transfer set. What augmentations make of them is
    not known yet, nor is a corpus of the task.

    Raises:
        KdnasError: The teacher's tokenizer or the task has no smaller vocabulary.
    """
    whole = np.arange(int(config.vocab_size))
    found = {TEACHERS: Vocabulary(TEACHERS, whole, data.tokenizer)}
    names = [name for name in settings.vocabulary_names if name != TEACHERS]
    if not names:
        return found
    _check_task(settings, data)
    counts = np.zeros(len(whole), np.int64)
    for rows in _counted(settings, data):
        counts += np.bincount(rows.input_ids, minlength=len(whole))
    for name in names:
        made = cut_vocabulary(name, data.tokenizer, config, counts, least_count(name))
        say(f"vocabulary {name}: {len(made):,} of the teacher's {len(whole):,} tokens")
        found[name] = made
    return found


def scored_rows(
    data: RunData, settings: Settings, vocabulary: Vocabulary, config: Any
) -> ScoredRows:
    """What students with a vocabulary are scored on, in their own tokens.

    Args:
        data: Of the run.
        settings: Likewise.
        vocabulary: Theirs.
        config: The teacher's.
    """
    pad_id = vocabulary.pad_id(config)
    if vocabulary.name == TEACHERS:
        return ScoredRows(data.evaluation, selection_rows(data, settings), pad_id)

    def own(examples: Examples) -> EncodedExamples:
        return encode(examples, vocabulary.tokenizer, data.length, None, data.options)

    evaluation = {split: own(data.scored[split]) for split in data.evaluation}
    return ScoredRows(evaluation, own(selection_texts(data, settings)), pad_id)


def respelled_rows(
    data: RunData, vocabularies: Vocabularies, heldout: Indices
) -> dict[str, Respelled]:
    """By vocabulary, the proxy's held-out examples as a student with it will read them.

    Args:
        data: Of the run; its proxy is of the task's own rows.
        vocabularies: Those that candidates may have.
        heldout: The places of the examples in the proxy.
    """
    before = data.distillation.take(data.proxy[heldout])
    texts = data.examples.take(data.proxy[heldout])
    found = {}
    for name, vocabulary in vocabularies.items():
        if name == TEACHERS:
            continue
        rows = encode(texts, vocabulary.tokenizer, data.length, None, data.options)
        rows = replace(rows, input_ids=vocabulary.kept[rows.input_ids].astype(np.int32))
        same = same_units(rows, before)
        found[name] = Respelled(rows.take(same), heldout[same])
    return found


def _counted(settings: Settings, data: RunData) -> Iterator[EncodedExamples]:
    """The rows whose tokens are counted."""
    yield for_students(data, settings).train
    if data.further is not None:
        yield data.further
    recipes = [own for own in every_recipe(settings).values() if reads_transfer(own)]
    others = {name: rows for own in recipes for name, rows in other_tasks(own, data).items()}
    for examples in others.values():
        yield encode(examples, data.tokenizer, data.length, None, data.options)


def _check_task(settings: Settings, data: RunData) -> None:
    kind, asked = data.spec.task_type, settings.vocabularies
    if kind.needs_decoder:
        raise KdnasError(
            f"invalid --vocabulary {settings.vocabulary}: the outputs of an encoder-decoder are "
            "its vocabulary; give teacher"
        )
    if data.train.rows is None:
        return
    differ = f"windows on long texts differ with the vocabulary, and {kind.name} reads them"
    if asked:
        raise KdnasError(f"invalid --vocabularies {asked}: {differ}; give one --vocabulary")
    if settings.searches and settings.scores_agreement:
        raise KdnasError(
            f"invalid --vocabulary {settings.vocabulary}: {differ}, so that agreement with the "
            "teacher cannot be told; give --vocabulary teacher, or search one recipe by hidden "
            "states"
        )
