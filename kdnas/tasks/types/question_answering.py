"""Extractive question answering: the answer to a question is a span of its context, or none.

As in run_squad.py of Devlin et al. 2019, BERT, and for distillation as in Hugging Face's
run_squad_w_distillation.py: two softmaxes, of where the answer starts and of where it ends. Here
they are over the tokens of the context and the first one, which stands for no answer; padding and
the question count neither in the losses nor in decoding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kdnas.runtime.formatting import several
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples, Label, NoLabel, RawSplit
from kdnas.tasks.questions import snippets
from kdnas.tasks.questions.answer_spans import AnswerSpans, best_spans
from kdnas.tasks.questions.predicted_spans import (
    Places,
    are_near,
    chances_of,
    logits_of_units,
    moved_places,
    places_of,
    places_of_units,
    read_places,
)
from kdnas.tasks.questions.references import FORM, Passage, References, read_references
from kdnas.tasks.questions.span_floor import NAME, answers_by_overlap
from kdnas.tasks.questions.squad_metrics import (
    against,
    best_threshold,
    exact,
    has_answer,
    overlap,
)
from kdnas.tasks.questions.windows import NO_ANSWER, STRIDE, UNKNOWN, long_questions, windows_of
from kdnas.tasks.types.answer_metrics import answer_metrics
from kdnas.tasks.types.base import TaskType
from kdnas.tasks.types.metric import Array, Metric
from kdnas.tasks.types.span_losses import SpanLosses
from kdnas.tasks.types.values import Constant, Submission, object_rows

NONE = "(no answer)"


class QuestionAnswering(SpanLosses, TaskType):
    """A span of the context for each question; labels are `References`, None where unknown."""

    name = "question-answering"
    head = "ForQuestionAnswering"
    whole_texts = False
    long_texts = "read in windows"
    has_classes = False
    no_label = -1
    label_dtype = object
    metrics: ClassVar[Mapping[str, Metric]] = answer_metrics()
    default_metrics = ("f1", "exact_match")
    onnx_outputs: ClassVar[Mapping[str, Mapping[int, str]]] = {
        "start_logits": {0: "batch", 1: "length"},
        "end_logits": {0: "batch", 1: "length"},
    }
    formats = ("squad", "table")
    entry_defaults: ClassVar[Mapping[str, Any]] = {
        "text": {"question": [], "context": []},
        "label": "answers",
        "group": "title",
        "id": "id",
    }
    # As in run_squad.py; a context has 150 tokens, of English, and one in a hundred more than 350.
    defaults: ClassVar[Mapping[str, Any]] = {"max_length": 384}
    beside_label = ("is_impossible",)
    least_texts = 2
    pairs_alike = False
    example_texts = ("a question", "a context")
    told_texts = ("text",)
    onnx_load = snippets.ONNX_LOAD
    onnx_texts = snippets.ONNX_TEXTS
    onnx_rows = snippets.ONNX_ROWS
    answers_by_id = True
    predictions_ending = ".json"
    encode_settings = ("window_stride",)
    prediction_columns = ("starts", "ends", "answer", "start", "score")
    has_threshold = True
    given_threshold = 0.0
    predict_does = "answer questions"
    pipeline_tag = "question-answering"
    hub_name = "Question Answering"

    def num_outputs(self, labels: Sequence[str]) -> int:
        """A start and an end."""
        return 2

    # Raw cells.

    def label_cell(self, cell: Any, beside: Mapping[str, Any]) -> Any:
        """No answers where `is_impossible` says so, whatever answers would be plausible."""
        return [] if _is_true(beside.get("is_impossible")) else cell

    def label_cells(self, raw: RawSplit) -> list[Any]:
        return self.parse_labels(raw, ())

    def parse_labels(self, raw: RawSplit, labels: Sequence[str]) -> list[Label]:
        if raw.cells is None:
            return [NoLabel.UNLABELLED] * len(raw.text)
        assert raw.text_pair is not None
        return [
            read_references(_parsed(cell), context)
            for cell, context in zip(raw.cells, raw.text_pair, strict=True)
        ]

    def label_notes(self, raw: RawSplit, labels: Sequence[Label]) -> Iterator[str]:
        """Answers that are left out of questions with others, and those that begin elsewhere."""
        places = zip(raw.places, labels, strict=True)
        read = [(f"{raw.unit} {at}", one) for at, one in places if isinstance(one, References)]
        if lost := [(at, line) for at, one in read for line in one.left_out]:
            count = len({at for at, _ in lost})
            yield (
                f"left out {several(f'{len(lost):,}', 'answer')} not in the context, of "
                f"{several(f'{count:,}', 'question')} with others that are (the first: "
                f"{', '.join(lost[0])})"
            )
        if moved := [(at, line) for at, one in read for line in one.moved]:
            yield (
                f"found beside `answer_start`: {several(f'{len(moved):,}', 'answer')} (the first: "
                f"{', '.join(moved[0])})"
            )

    def with_plain_labels(self, raw: RawSplit, labels: Sequence[str]) -> RawSplit:
        """Questions on one context belong together where no article, or one for all, is named."""
        assert raw.text_pair is not None
        given = raw.groups or ()
        if len(set(given)) < 2:
            return replace(raw, groups=raw.text_pair)
        # Those of the rows that name none are not one article.
        own = zip(given, raw.text_pair, strict=True)
        return replace(raw, groups=[group or context for group, context in own])

    def expected(self, labels: Sequence[str]) -> str:
        return FORM

    def label_array(self, values: Sequence[Any]) -> Array:
        found = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            found[row] = value
        return found

    def add_unlabelled(self, labels: Array, count: int) -> Array:
        return np.concatenate([labels, np.full(count, None, object)])

    # Examples.

    def encode(
        self, examples: Examples, tokenizer: Any, max_length: int, **options: Any
    ) -> EncodedExamples:
        """Windows on contexts; see `windows_of`."""
        stride = int(options.get("window_stride", STRIDE))
        known = examples.labels
        answers = None if known is None else [_place(one) for one in known]
        data = windows_of(examples, tokenizer, max_length, stride, answers)
        contexts = examples.text if examples.text_pair is None else examples.text_pair
        ids: Sequence[str | None] = examples.row_ids or [None] * len(examples)
        given = [None] * len(examples) if known is None else [_texts(one) for one in known]
        rows = zip(contexts, given, ids, strict=True)
        return replace(data, references=self.label_array([Passage(*row) for row in rows]))

    def encoding_notes(
        self, examples: Examples, data: EncodedExamples, tokenizer: Any, max_length: int
    ) -> Iterator[str]:
        """Questions that are cut, contexts in several windows, answers that none of them holds."""
        assert data.rows is not None
        per_row = np.bincount(data.rows, minlength=len(examples))
        if long := int((per_row > 1).sum()):
            yield (
                f"{_are(long, 'context')} too long for {max_length} tokens and read in "
                f"{int(per_row[per_row > 1].sum()):,} windows"
            )
        limit, long = long_questions(examples, tokenizer, max_length)
        if long:
            yield f"{_are(long, 'question')} cut at {limit} tokens, half of a window"
        if lost := self._answers_in_no_window(data):
            yield (
                f"{_are(lost, 'answer')} in no window as a whole; "
                f"{'it counts' if lost == 1 else 'they count'} as no answer in training (raise "
                "--max-length or --window-stride)"
            )

    def _answers_in_no_window(self, data: EncodedExamples) -> int:
        """Rows with an answer whose windows all point at their first unit."""
        assert data.references is not None and data.rows is not None
        if data.labels is None:
            return 0
        first = data.labels[data.unit_offsets[:-1], 0] != 0
        held = np.zeros(data.row_count, bool)
        held[data.rows[~first]] = True
        answered = np.array([bool(one.answers) for one in data.references])
        return int((answered & ~held).sum())

    # Scores, and what leaves kdnas.

    def read_prediction(
        self, cells: Mapping[str, Any], labels: Sequence[str], examples: Examples, row: int
    ) -> Places:
        """An answer and where it is in the context; or the probabilities of all places."""
        assert examples.text_pair is not None
        return read_places(cells, examples.text_pair[row])

    def moved_prediction(self, prediction: Places, of: Examples, to: Examples) -> Places:
        assert of.text_pair is not None and to.text_pair is not None
        return moved_places(prediction, of.text_pair[0], to.text_pair[0])

    def same_prediction(self, one: Places, other: Places) -> bool:
        return are_near(one, other)

    def prediction_of(self, label: Any, labels: Sequence[str]) -> Places:
        return places_of(label)

    def unit_logits(
        self, predictions: Sequence[Any], data: EncodedExamples, labels: Sequence[str]
    ) -> Array:
        return logits_of_units(predictions, data)

    def predictions(
        self, logits: Array, data: EncodedExamples, threshold: float | None = None
    ) -> Array:
        """Each question's answer, empty for none; without a threshold all are answered."""
        said = [answer for answer, _, _ in _answers(best_spans(logits, data), data, threshold)]
        return object_rows(said)

    def truths(self, data: Examples | EncodedExamples) -> Array:
        """Each question's references as a tuple of texts; None where they are not known."""
        if isinstance(data, Examples):
            assert data.labels is not None
            return self.label_array([_texts(one) for one in data.labels])
        assert data.references is not None
        return self.label_array([one.answers for one in data.references])

    def as_rows(self, values: Sequence[Any]) -> Array:
        return object_rows(values)

    def differ(self, ours: Array, theirs: Array) -> NDArray[np.bool_]:
        """Answers that match exactly, to the metric, are the same; so is one of the references."""
        pairs = zip(ours, theirs, strict=True)
        return np.array([not _agree(a, b) for a, b in pairs], dtype=bool)

    def choose_threshold(self, logits: Array, data: EncodedExamples) -> float | None:
        """Where F1 is best; None without questions that have no answer."""
        truths = self.truths(data)
        if not any(one == () for one in truths):
            return None
        spans = best_spans(logits, data)
        known = np.flatnonzero(self.known(truths) & np.isfinite(spans.score))
        if not len(known):
            return None
        said = [answer for answer, _, _ in _answers(spans, data, None)]
        gains = [
            against(overlap, "", truths[row]) - against(overlap, said[row], truths[row])
            for row in known
        ]
        return best_threshold(np.array(gains), spans.doubt[known])

    def usual_threshold(self, learnt: EncodedExamples) -> float | None:
        """0 where some of the questions have no answer."""
        return 0.0 if any(one == () for one in self.truths(learnt)) else None

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """No answer, where some questions have none."""
        if all(has_answer(one) for one in truths):
            return ()
        return (Constant("no answer", lambda data: object_rows([""] * len(self.truths(data)))),)

    def simple_model(
        self, train: Examples, labels: Sequence[str], seed: int
    ) -> tuple[str, Callable[[Examples], Array]] | None:
        """Words that question and context share; see `span_floor`."""
        if train.text_pair is None:
            return None
        answer = answers_by_overlap(train.text_pair)
        return NAME, lambda rows: object_rows(answer(rows.text, rows.text_pair or rows.text))

    def row_answers(
        self,
        logits: Array,
        labels: Sequence[str],
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[dict[str, Any]]:
        """The answer, its probability, and where it is in the context; empty for none."""
        spans = best_spans(logits, data)
        chances = zip(spans.probability.tolist(), spans.null_probability.tolist(), strict=True)
        said = zip(_answers(spans, data, threshold), chances, strict=True)
        return [
            {
                "answer": answer,
                "score": of_answer if answer else of_none,
                "start": start,
                "end": end,
            }
            for (answer, start, end), (of_answer, of_none) in said
        ]

    def row_probabilities(
        self, logits: Array, labels: Sequence[str], data: EncodedExamples
    ) -> list[dict[str, Any]]:
        """The probabilities of the places where an answer may start and end."""
        return [chances_of(places) for places in places_of_units(logits, data)]

    def row_in_words(self, answer: Any, labels: Sequence[str], examples: Examples, row: int) -> str:
        if not isinstance(answer, str):
            answer = " / ".join(dict.fromkeys(answer))
        return answer or NONE

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        return f"{answer['answer'] or NONE}  {answer['score']:.4f}"

    def row_submission(
        self,
        logits: Array,
        labels: Sequence[str],
        form: Submission,
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[str]:
        return list(self.predictions(logits, data, threshold))

    def predictions_text(self, words: Sequence[str], data: EncodedExamples | None) -> str:
        """The official form: a JSON object with the answer to each question by its id.

        Questions without an id have their place, from 0 on.
        """
        assert data is not None and data.references is not None
        ids = [one.id or str(place) for place, one in enumerate(data.references)]
        return json.dumps(dict(zip(ids, words, strict=True)), ensure_ascii=False) + "\n"

    def onnx_truncation(self, longest: int, side: str = "right", **options: Any) -> str:
        # Windows have all of a context, whichever side is cut elsewhere; they share as much of it
        # as those of `windows_of`, by the `room` that the snippet knows.
        stride = int(options.get("window_stride", STRIDE))
        shared = f"{stride} if {stride} < room else room // 2"
        return f', stride={shared}, strategy="only_second"'

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        return snippets.onnx_code(threshold)

    def torch_answer(self, threshold: float | None = None) -> str:
        return snippets.torch_code(threshold)


def _are(count: int, noun: str) -> str:
    return f"{several(f'{count:,}', noun)} {'is' if count == 1 else 'are'}"


def _answers(
    spans: AnswerSpans, data: EncodedExamples, threshold: float | None
) -> list[tuple[str, int, int]]:
    """Each row's answer and where it begins and ends, without spaces around it; '', 0, 0: none."""
    assert data.references is not None
    none = ~np.isfinite(spans.score)
    if threshold is not None:
        none |= spans.doubt > threshold
    found = []
    for row, (start, end) in enumerate(zip(spans.start.tolist(), spans.end.tolist(), strict=True)):
        said = "" if none[row] else data.references[row].context[start:end]
        answer = said.strip()
        begin = start + len(said) - len(said.lstrip())
        found.append((answer, begin, begin + len(answer)) if answer else ("", 0, 0))
    return found


def _agree(ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, str):
        ours, theirs = theirs, ours
    references = [theirs] if isinstance(theirs, str) else theirs
    return against(exact, ours, [one for one in references if one]) == 1


def _place(label: References | None) -> tuple[int, int]:
    if label is None:
        return UNKNOWN
    return label.usual if label.texts else NO_ANSWER


def _texts(label: References | None) -> tuple[str, ...] | None:
    return None if label is None else tuple(dict.fromkeys(label.texts))


def _parsed(cell: Any) -> Any:
    """A cell of a table without structure, such as one of CSV, as the JSON that it holds."""
    if not isinstance(cell, str) or not cell.lstrip().startswith(("{", "[")):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _is_true(cell: Any) -> bool:
    return str(cell).strip().lower() in ("true", "1", "1.0")
