"""Sequence-to-sequence: a text for each text, such as its translation or its summary.

A unit is a target token: its logits are what the decoder gives where it has read all tokens before
it (Sutskever et al. 2014, Sequence to Sequence Learning with Neural Networks). Predictions are
texts that the model generates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kdnas.runtime.formatting import several
from kdnas.tasks.encode import EncodedExamples, Units, tokenise
from kdnas.tasks.examples import Examples, Label, NoLabel, RawSplit, is_mark
from kdnas.tasks.sequences import snippets
from kdnas.tasks.sequences.generate import (
    generated,
    length_options,
    refuse_ways,
    start_option,
    token_options,
    update_config,
)
from kdnas.tasks.sequences.generation_values import refuse_values
from kdnas.tasks.sequences.targets import (
    FORM,
    LONGEST,
    Pair,
    first_read,
    read_targets,
    with_targets,
)
from kdnas.tasks.snippets import Reading
from kdnas.tasks.types.base import TaskType
from kdnas.tasks.types.metric import Array, Metric
from kdnas.tasks.types.text_metrics import METRICS, signatures
from kdnas.tasks.types.values import Constant, LogitLoss, Submission, object_rows

if TYPE_CHECKING:
    from torch import Tensor

# A target that so many training rows share is a constant answer; else there is none.
_OFTEN = 0.05
BOTH_STACKS: Mapping[str, float] = {"hidden": 1.0, "decoder-hidden": 1.0}


class SequenceToSequence(TaskType):
    """A text for each text; labels are tuples of references, None where unknown."""

    name = "sequence-to-sequence"
    head = "ForConditionalGeneration"
    whole_texts = False
    has_classes = False
    has_outputs = False
    needs_decoder = True
    generates = True
    smooths = True
    label_dtype = object
    metrics: ClassVar[Mapping[str, Metric]] = METRICS
    default_metrics = ("bleu", "chrf")
    onnx_packages = ("onnxruntime", "transformers", "numpy")
    onnx_load = snippets.ONNX_LOAD
    onnx_rows = snippets.ONNX_ROWS
    onnx_run = snippets.ONNX_RUN
    formats = ("parallel", "table")
    # Targets of summaries are read from far longer texts; hidden states are those of both stacks.
    defaults: ClassVar[Mapping[str, Any]] = {
        "max_length": 512,
        "hidden_losses": BOTH_STACKS,
        "mini_losses": BOTH_STACKS,
        "intermediate_losses": BOTH_STACKS,
    }
    entry_defaults: ClassVar[Mapping[str, Any]] = {
        "text": {"source": ["src", "document", "article", "dialogue"]},
        "label": {"target": ["tgt", "summary", "highlights"]},
        "id": "id",
    }
    most_texts = 1
    predict_does = "write texts"
    told_texts = ()
    predictions_ending = ".txt"
    encode_settings = ("max_target_length", "source_prefix")
    pipeline_tag = "text2text-generation"
    hub_name = "Text-to-text Generation"

    @property
    def auto_class(self) -> Any:
        import transformers

        return transformers.AutoModelForSeq2SeqLM

    def is_head(self, class_name: str) -> bool:
        """Not by its ending: Marian's is `MarianMTModel`, and some that hear or see end alike."""
        from transformers.models.auto import modeling_auto

        return class_name in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()

    def num_outputs(self, labels: Sequence[str]) -> int:
        """None that a task could name: the vocabulary's are the model's."""
        return 0

    def head_config(self, labels: Sequence[str]) -> dict[str, Any]:
        return {}

    # Raw cells.

    def beside(self, header: Sequence[str], label: Sequence[str]) -> list[str]:
        """Columns with further references, in the order of their numbers: `target2`, `target_2`."""
        form = re.compile(rf"(?:{'|'.join(map(re.escape, label))})_?(\d+)", re.IGNORECASE)
        found = ((form.fullmatch(name), name) for name in header if name not in label)
        return [name for at, name in sorted((int(m[1]), name) for m, name in found if m)]

    def in_place_of(self, header: Sequence[str], label: Sequence[str]) -> Sequence[str]:
        """Where all references have a number, the first is the one to learn."""
        return self.beside(header, label)

    def label_cell(self, cell: Any, beside: Mapping[str, Any]) -> Any:
        """All references of a row."""
        if not beside or isinstance(cell, NoLabel):
            return cell
        own = list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]
        return [*own, *beside.values()]

    def label_cells(self, raw: RawSplit) -> list[Any]:
        return self.parse_labels(raw, ())

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        if raw.cells is None:
            return [NoLabel.UNLABELLED] * len(raw.text)
        marks = raw.unlabelled
        marked = (isinstance(cell, str) and is_mark(cell.strip(), marks) for cell in raw.cells)
        return [
            NoLabel.UNLABELLED if mark else read_targets(cell)
            for cell, mark in zip(raw.cells, marked, strict=True)
        ]

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """Rows with the same source belong together, unless the task says what does."""
        return raw if raw.groups is not None else replace(raw, groups=raw.text)

    def expected(self, labels: Sequence[str]) -> str:
        return FORM

    def label_array(self, values: Sequence[Any]) -> Array:
        return object_rows(values)

    def add_unlabelled(self, labels: Array, count: int) -> Array:
        return np.concatenate([labels, np.full(count, None, object)])

    # Examples.

    def encode_options(self, given: Mapping[str, Any], config: Any) -> dict[str, Any]:
        """The prefix of the model, where none is given."""
        prefix = given.get("source_prefix")
        return {
            "max_target_length": int(given.get("max_target_length", LONGEST)),
            "source_prefix": getattr(config, "prefix", None) if prefix is None else prefix,
            "start": first_read(config),
        }

    def adapt(
        self,
        model: Any,
        options: Mapping[str, Any],
        tokenizer: Any = None,
        positions: int | None = None,
    ) -> None:
        """Its config keeps the prefix, its generation config how texts begin, end and how long.

        Raises:
            KdnasError: Its generation config begins texts with another token than it is trained to
                read first, is invalid, or asks for a way of writing that kdnas does not have.
        """
        refuse_values(model)
        refuse_ways(model.generation_config)
        if (prefix := options.get("source_prefix")) is not None:  # an empty one stands for none
            model.config.prefix = prefix
        longest = options.get("max_target_length", LONGEST)
        first = first_read(model.config)
        own = length_options(model, longest, positions) | token_options(model, first)
        if "max_target_length" in options and tokenizer is not None:
            own |= start_option(model, tokenizer, first)
        update_config(model.generation_config, own)

    def encode(
        self, examples: Examples, tokenizer: Any, max_length: int, **options: Any
    ) -> EncodedExamples:
        """Sources behind the prefix, and the tokens of each row's first reference."""
        prefix, known = options.get("source_prefix") or "", examples.labels
        sources = replace(examples, text=[prefix + text for text in examples.text], labels=None)
        data = tokenise(sources, tokenizer, max_length)
        given: Sequence[Any] = [None] * len(examples) if known is None else list(known)
        first = [None if one is None else one[0] for one in given]
        longest = int(options.get("max_target_length", LONGEST))
        data = with_targets(data, first, tokenizer, longest, options.get("start"))
        ids: Sequence[str | None] = examples.row_ids or [None] * len(examples)
        references = np.empty(len(examples), dtype=object)
        for row, (text, *known_of) in enumerate(zip(sources.text, given, ids, strict=True)):
            references[row] = Pair(text, *known_of)
        return replace(data, references=references, tokenizer=tokenizer)

    def encoding_notes(
        self, examples: Examples, data: EncodedExamples, tokenizer: Any, max_length: int
    ) -> Iterator[str]:
        """Sources that are cut, and targets."""
        assert data.references is not None
        read = replace(examples, text=[pair.read for pair in data.references])
        yield from super().encoding_notes(read, data, tokenizer, max_length)
        counts = np.diff(data.unit_offsets)
        longest = int(counts.max(initial=0))
        # Behind the longest ones more may have stood: their uncut lengths tell.
        if cut := _longer(examples, np.flatnonzero(counts == longest), tokenizer, longest):
            yield (
                f"{several(f'{cut:,}', 'target')} {'is' if cut == 1 else 'are'} cut at {longest} "
                "tokens (raise --max-target-length)"
            )

    # Training.

    def pick_logits(self, output: Any, units: Units) -> Tensor:
        """Of target tokens alone: with a whole vocabulary, those of padding would fill a memory."""
        logits: Tensor = output.logits[units.example, units.position]
        return logits.float()

    def task_loss(
        self, logits: Tensor, labels: Tensor, units: Units, smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy of target tokens: a mean over them."""
        import torch.nn.functional as F

        loss = F.cross_entropy(
            logits.float(),
            labels,
            ignore_index=-100,
            reduction="sum",
            label_smoothing=smoothing,
        )
        return loss / self.labelled(labels).sum().clamp_min(1)

    def logit_loss(
        self, student: Tensor, teacher: Tensor, units: Units, temperature: float, kind: LogitLoss
    ) -> Tensor:
        """As of classes, a mean over target tokens; see `SoftDistance`."""
        from kdnas.tasks.sequences.soft_targets import soft_distance

        if kind == "mse" or not len(student):
            return super().logit_loss(student, teacher, units, temperature, kind)
        return soft_distance(student.float(), teacher, temperature, divergence=kind == "kl")

    # Scores, and what leaves kdnas.

    def generate(self, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        return generated(model, inputs, LONGEST)

    def with_answers(
        self, data: EncodedExamples, answers: Sequence[Any], options: Mapping[str, Any]
    ) -> EncodedExamples:
        """Texts as targets."""
        longest = int(options.get("max_target_length", LONGEST))
        assert data.tokenizer is not None
        return with_targets(data, list(answers), data.tokenizer, longest, options.get("start"))

    def raw_outputs(self, model: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits of a first target token."""
        start = first_read(model.config)
        begun = inputs["input_ids"][:, :1].clone()
        if start is not None:
            begun.fill_(start)
        return [model(**inputs, decoder_input_ids=begun).logits]

    def predictions(
        self, logits: Array, data: EncodedExamples, threshold: float | None = None
    ) -> Array:
        """The generated texts, without spaces around them."""
        assert data.tokenizer is not None
        texts = data.tokenizer.batch_decode(logits.tolist(), skip_special_tokens=True)
        return object_rows([text.strip() for text in texts])

    def truths(self, data: Examples | EncodedExamples) -> Array:
        """Each row's references; None where they are not known."""
        if isinstance(data, Examples):
            assert data.labels is not None
            return data.labels
        assert data.references is not None
        return object_rows([pair.targets for pair in data.references])

    def as_rows(self, values: Sequence[Any]) -> Array:
        return object_rows(values)

    def details(self, predicted: Array, truth: Array, labels: Sequence[str]) -> dict[str, Any]:
        """The signatures of sacrebleu, without which its scores compare with no others."""
        return {"signatures": signatures(list(truth))}

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """The most frequent target, where many rows have it."""
        if not len(truths):
            return ()
        [(text, count)] = Counter(one[0] for one in truths).most_common(1)
        if count < max(2, _OFTEN * len(truths)):
            return ()
        name = self.row_in_words(text, labels, Examples([]), 0)
        return (Constant(name, lambda data: object_rows([text] * len(self.truths(data)))),)

    def simple_model(
        self, train: Examples, labels: Sequence[str], seed: int
    ) -> tuple[str, Callable[[Examples], Array]] | None:
        """The target of the nearest source, or its first words; see `floor`."""
        from kdnas.tasks.sequences.floor import best_rule

        assert train.labels is not None
        known = np.flatnonzero(self.known(train.labels))
        if not len(known):
            return None
        targets = [train.labels[row][0] for row in known]
        name, write = best_rule(train.take(known), targets, METRICS["chrf"], seed)
        return name, lambda rows: object_rows(write(rows.text))

    def row_answers(
        self,
        logits: Array,
        labels: Sequence[str],
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[dict[str, Any]]:
        return [{"generated": text} for text in self.predictions(logits, data)]

    def row_in_words(self, answer: Any, labels: Sequence[str], examples: Examples, row: int) -> str:
        words = answer if isinstance(answer, str) else " / ".join(dict.fromkeys(answer))
        return " ".join(words.split())

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        return " ".join(answer["generated"].split())

    def row_submission(
        self,
        logits: Array,
        labels: Sequence[str],
        form: Submission,
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[str]:
        return [" ".join(text.split()) for text in self.predictions(logits, data)]

    def onnx_reading(self, *, fast: bool) -> Reading:
        return super().onnx_reading(fast=True)  # its code is for any tokenizer

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        return snippets.ONNX_ANSWER

    def torch_answer(self, threshold: float | None = None) -> str:
        return snippets.TORCH

    def predictions_text(self, words: Sequence[str], data: EncodedExamples | None) -> str:
        """A text a line, as sacrebleu reads them."""
        return "".join(f"{text}\n" for text in words)


def _longer(examples: Examples, rows: Array, tokenizer: Any, longest: int) -> int:
    """Targets of some rows that have more tokens than the longest one kept."""
    if examples.labels is None:
        return 0
    texts = [examples.labels[row][0] for row in rows if examples.labels[row] is not None]
    whole = tokenizer(text_target=texts, verbose=False)["input_ids"] if texts else []
    return sum(len(ids) > longest for ids in whole)
