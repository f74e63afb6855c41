"""Transfer sets: a task's rows and more for the teacher to label."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.atomic import replace_file
from kdnas.recipes.augmentations import AUGMENTATIONS, obstacle
from kdnas.recipes.run_data import RunData
from kdnas.recipes.sources import Row, Sources
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, Examples, load_data, load_specs
from kdnas.teachers.distillation_data import DistillationData
from kdnas.teachers.load import Teacher, teacher_source
from kdnas.teachers.masked_lm import MaskedLM, has_masked_lm

FILE = "transfer.jsonl.gz"
# Those of several recipes on offer, too.
FILES = "transfer*.jsonl.gz"
TRIES = 20
# The shares of those that nobody chose; refill is slow, and few checkpoints have its head.
SHARES: dict[Any, float] = {
    **dict.fromkeys((name for name in AUGMENTATIONS if name != "refill"), 1),
    "neighbours": 2,
    "replace": 2,
    "corpus": 2,
}
OWN, RECORDED = "own", "predictions"


@dataclass(frozen=True)
class TransferSet:
    """A task's rows and others.

    Attributes:
        examples: All rows; those that are not the task's own have no label.
        methods: Where each comes from: `own`, another task's name, an augmentation's, or
            `predictions`: the file of a black-box teacher.
        targets: What a student of a teacher that writes learns of each; None for other teachers.
    """

    examples: Examples
    methods: list[str]
    targets: list[str] | None = None

    def write(
        self,
        file: Path,
        logits: NDArray[np.float32] | None,
        units: NDArray[np.int64] | None = None,
    ) -> None:
        """Writes gzipped JSON lines, with targets or logits, shape (units, outputs), if any.

        `units`, shape (rows + 1,), is the first unit of each row; None where a row is one unit.
        """
        given: list[Any] = [None] * len(self.methods)
        if logits is not None:
            parts = logits if units is None else np.split(logits, units[1:-1])
            given = [part.tolist() for part in parts]
        with replace_file(file) as partial, gzip.open(partial, "wt") as written:
            targets: Sequence[str | None] = self.targets or [None] * len(self.methods)
            rows = zip(rows_of(self.examples), self.methods, targets, given, strict=True)
            for (first, second), method, target, row in rows:
                line = {"text": first, "text_pair": second, "method": method}
                line |= {"target": target, "logits": row}
                written.write(json.dumps({k: v for k, v in line.items() if v is not None}) + "\n")


def reads_transfer(settings: Settings) -> bool:
    """Whether a stage of the recipe reads the transfer set."""
    return any(stage.data == "transfer" for stage in settings.full_stages)


def check_transfer(settings: Settings, data: RunData) -> None:
    """Refuses what the transfer set cannot be made of, before anything is computed.

    Raises:
        KdnasError: Another task's rows cannot be read or do not fit, or a method cannot be used.
    """
    if reads_transfer(settings):
        other_tasks(settings, data)
        shares = settings.transfer_methods
        left = {method: share for method, share in shares.items() if method != "refill"}
        if refills(shares) and not any(left.values()) and not has_masked_lm(_source(settings)):
            raise KdnasError(
                f"transfer_methods has refill alone, but {_source(settings)} has no masked-LM "
                "head; add replace, or name a checkpoint that has one with --general-teacher"
            )
        check_methods(left, _sources(settings, data, None))


def refills(shares: Mapping[Any, float]) -> bool:
    """Whether some rows are to be made by a masked LM."""
    return bool(shares.get("refill"))


def make_transfer_set(
    settings: Settings, data: RunData, teacher: Teacher, runtime: Runtime
) -> TransferSet:
    """The transfer set of a run; of a black-box teacher all that is labelled.

    Where rows are to be refilled and the teacher's checkpoint has no masked-LM head, the other
    augmentations make them.

    Raises:
        KdnasError: Another task's rows cannot be read or do not fit.
    """
    if teacher.recorded:
        return recorded_rows(data)
    sources = _sources(settings, data, teacher)
    if refills(settings.transfer_methods):
        name = _source(settings)
        sources.masked_lm = MaskedLM.load(name, data.length, runtime)
        if sources.masked_lm is None:
            say(f"{name} has no masked-LM head: other augmentations take the share of refill")
    return fill_transfer_set(
        data.examples,
        other_tasks(settings, data),
        sources,
        settings.transfer_methods or usual_shares(data),
        settings.transfer_rows,
        settings.seed,
        data.held_out,
    )


def usual_shares(data: RunData) -> dict[Any, float]:
    """The shares of augmentations that nobody chose.

    A teacher that writes is given whole texts, those of the corpus where there is one: what it
    makes of a mask is no target.
    """
    if not data.spec.task_type.generates:
        return SHARES
    return dict.fromkeys(("corpus",) if len(data.corpus_texts) > 1 else ("replace", "span"), 1)


def recorded_rows(data: RunData) -> TransferSet:
    """A task's own rows, then the further ones that a black-box teacher has labelled.

    A row with a text of `held_out` is left out, unless the task's own rows have it too.
    """
    own, others = data.examples, data.further_texts
    if others is None:
        return TransferSet(own, [OWN] * len(own))
    barred = data.held_out.difference(text for row in rows_of(own) for text in row if text)
    kept = [i for i, row in enumerate(rows_of(others)) if not barred.intersection(row)]
    methods = [OWN] * len(own) + [RECORDED] * len(kept)
    return TransferSet(_joined(own, others.take(kept)), methods)


def write_transfer(
    file: Path, transfer: TransferSet, data: DistillationData, runtime: Runtime
) -> None:
    """Writes the transfer set with its targets or the teacher's logits, once."""
    if file.exists():
        return
    if transfer.targets is not None:
        transfer.write(file, None)
        return
    logits = data.logits(runtime)
    given = None if logits is None else data.teacher.scale.restored(logits.numpy())
    units = None if data.data.units is None else data.data.row_units
    transfer.write(file, given, units)


def fill_transfer_set(
    own: Examples,
    others: dict[str, Examples],
    sources: Sources,
    shares: dict[Any, float],
    rows: int,
    seed: int,
    held_out: frozenset[str] = frozenset(),
) -> TransferSet:
    """A task's own rows, then those of other tasks, then new ones until there are enough.

    Other tasks give up to half of what is missing, in equal parts. Only own rows may repeat.

    Args:
        own: The task's training rows; none is dropped.
        others: Rows of other tasks by name; their labels are not used.
        shares: Of the augmentations by name; those that cannot be used are left out.
        rows: Rows in all.
        held_out: Texts of evaluation rows. Public data sets share sentences: a row with one of
            these is left out unless the task's own rows have it too.
    """
    rng = np.random.default_rng((seed, 1))
    first, needed = rows_of(own), max(0, rows - len(own))
    taken = set(first)
    barred = held_out.difference(text for row in first for text in row if text)
    found: dict[Row, str] = {}
    part = needed // (2 * max(1, len(others)))
    for name, examples in others.items():
        unique = dict.fromkeys(rows_of(examples))
        fresh = (row for row in unique if row not in taken and row not in found)
        texts = [row for row in fresh if not barred.intersection(row)]
        for i in rng.permutation(len(texts))[:part].tolist():
            found[texts[i]] = name
    methods = [m for m, share in shares.items() if share and not obstacle(m, sources)]
    weights = np.array([shares[method] for method in methods])
    tried: Counter[str] = Counter()
    for _ in range(TRIES * max(0, needed - len(found)) if methods else 0):
        if len(found) >= needed:
            break
        method = methods[int(rng.choice(len(methods), p=weights / weights.sum()))]
        tried[method] += 1
        new = AUGMENTATIONS[method](sources, rng)
        if new and new not in taken and new[0] != new[1] and not barred.intersection(new):
            found.setdefault(new, method)
    made = set(found.values())
    fruitless = [m for m in methods if tried[m] >= TRIES and m not in made]
    _tell_missing(len(own) + len(found), rows, fruitless)
    return TransferSet(_followed(own, list(found)), [OWN] * len(own) + list(found.values()))


def _tell_missing(made: int, rows: int, fruitless: list[str]) -> None:
    """Says that a set has fewer rows than asked for, and which augmentations gave none."""
    parts = [f"the transfer set has {made:,} rows, fewer than --transfer-rows {rows:,}"]
    parts = parts if made < rows else []
    if fruitless:
        parts.append(f"no new row came from {', '.join(fruitless)}")
    if parts:
        say("; ".join(parts))


def rows_of(examples: Examples) -> list[Row]:
    """The texts of some examples."""
    second: Sequence[str | None] = examples.text_pair or [None] * len(examples)
    return list(zip(examples.text, second, strict=True))


def as_rows_like(own: Examples, others: Examples, name: str) -> Examples:
    """The texts of another task in rows of as many texts as the task's own.

    Raises:
        KdnasError: Single texts cannot become pairs.
    """
    if own.text_pair is not None and others.text_pair is None:
        raise KdnasError(
            f"transfer_tasks has {name}, whose rows have one text, not two; leave it out"
        )
    if own.text_pair is None and others.text_pair is not None:
        return Examples(list(dict.fromkeys([*others.text, *others.text_pair])))
    return others


def check_methods(shares: dict[Any, float], sources: Sources) -> None:
    """Refuses augmentations that were asked for and cannot be used.

    Raises:
        KdnasError: One of them.
    """
    for method, share in shares.items():
        why = obstacle(method, sources)
        if share and why:
            raise KdnasError(f"transfer_methods has {method}, but {why}; leave it out")


def _followed(own: Examples, others: list[Row]) -> Examples:
    """A task's own rows, then others without labels."""
    kind = TASK_TYPES[own.task_type]
    words = [spans for text, _ in others if (spans := kind.read_text(text)[1]) is not None]
    pairs = None if own.text_pair is None else [text or "" for _, text in others]
    return _joined(own, Examples([text for text, _ in others], pairs, words=words))


def _joined(own: Examples, others: Examples) -> Examples:
    """A task's own rows, then others, without their labels."""
    labels, count = own.labels, len(others)
    if labels is not None:
        labels = TASK_TYPES[own.task_type].add_unlabelled(labels, count)

    def both(name: str) -> list[Any] | None:
        first, second = getattr(own, name), getattr(others, name)
        return None if first is None else [*first, *(second or ())]

    return Examples(
        [*own.text, *others.text],
        both("text_pair"),
        labels,
        task_type=own.task_type,
        words=both("words"),
        classes=own.classes,
        predictions=both("predictions"),
    )


def _source(settings: Settings) -> str:
    """The checkpoint whose masked LM refills rows: that of the teacher before fine-tuning."""
    return teacher_source(settings.general_teacher or settings.base)


def _sources(settings: Settings, data: RunData, teacher: Teacher | None) -> Sources:
    """What new rows are made of; without a teacher no words near one another."""
    table = np.zeros((0, 0), np.float32)
    if teacher:
        table = teacher.model.get_input_embeddings().weight.detach().float().cpu().numpy()
    new = max(0, settings.transfer_rows - len(data.examples))
    alike = data.spec.pairs_alike
    alike = data.spec.task_type.pairs_alike if alike is None else alike
    return Sources(rows_of(data.examples), data.tokenizer, table, data.corpus_texts, new, alike)


def other_tasks(settings: Settings, data: RunData) -> dict[str, Examples]:
    """The training rows of the tasks whose texts the transfer set takes."""
    found = {}
    others = load_specs(settings.transfer_tasks, settings.tasks, "transfer_tasks")
    for name, spec in others.items():
        other = load_data(
            spec,
            settings.data_dir,
            splits=("train",),
            optional=(),
            skip_malformed=settings.skip_malformed,
        )
        found[name] = as_rows_like(data.examples, other.splits["train"], name)
    return found
