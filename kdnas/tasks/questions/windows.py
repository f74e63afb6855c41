"""Windows on long contexts: each has the whole question and a part of its context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.tasks.encode import EncodedExamples, offsets_of
from kdnas.tasks.examples import Examples

STRIDE = 128
_CHUNK = 1024

Ids = NDArray[np.int32]
# Where an answer is in its context, in characters.
Ends = tuple[int, int]
NO_ANSWER: Ends = (0, 0)
UNKNOWN: Ends = (-1, -1)


class Pieces(NamedTuple):
    """A text's tokens, and where they are in it: shape (tokens,) each."""

    ids: Ids
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class Frame(NamedTuple):
    """The special tokens around a question and its context, and the types of all.

    Without a question nothing stands between.
    """

    before: list[int]
    between: list[int]
    after: list[int]
    types: tuple[list[int], int, list[int], int, list[int]] | None  # of each part

    @property
    def size(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class Window(NamedTuple):
    """A part of a row's context: tokens `first` to `last`, the latter not included."""

    row: int
    first: int
    last: int


def windows_of(
    examples: Examples,
    tokenizer: Any,
    max_length: int,
    stride: int,
    answers: Sequence[Ends] | None,
) -> EncodedExamples:
    """Tokenises questions (`text`) with their contexts (`text_pair`), in windows where need be.

    The units of a window are its first token, which stands for no answer, and those of its context.
    Texts without a second one are contexts without a question.

    Args:
        examples: Questions and contexts.
        tokenizer: With offsets.
        max_length: Most tokens of a window, special ones included; see `question_limit`.
        stride: Tokens of the context that a window shares with the one before; half of what a
            window holds where it holds no more than these.
        answers: Of each row, NO_ANSWER and UNKNOWN among them; None where no row has a label. The
            labels, shape (units, 2), have a 1 where the answer starts and where it ends: at the
            first unit of windows that do not hold all of it. Those of unknown answers are -1.

    Raises:
        KdnasError: The tokenizer has no offsets, or puts no special token first.
    """
    check_offsets(tokenizer)
    asked = examples.text_pair is not None
    frame = frame_of(tokenizer, asked)
    contexts = examples.text if examples.text_pair is None else examples.text_pair
    questions = examples.text if asked else [""] * len(examples)
    known = pieces_of(tokenizer, contexts)
    limit = question_limit(max_length, frame)
    short = {text: ids[:limit] for text, (ids, _, _) in pieces_of(tokenizer, questions).items()}
    places = [
        Window(row, first, last)
        for row, (question, context) in enumerate(zip(questions, contexts, strict=True))
        for first, last in _parts(
            len(known[context].ids), max_length - frame.size - len(short[question]), stride
        )
    ]
    heads = {question: _head(frame, ids) for question, ids in short.items()}
    after = np.array(frame.after, np.int32)
    ids, types, positions, spans, labels = [], [], [], [], []
    for window in places:
        head, piece = heads[questions[window.row]], known[contexts[window.row]]
        part, count = slice(window.first, window.last), window.last - window.first
        ids.append(np.concatenate([head, piece.ids[part], after]))
        spans.append(_spans(piece, part))
        positions.append(_positions(len(head), count))
        if frame.types is not None:
            types.append(_types(frame.types, len(head), count))
        if answers is not None:
            labels.append(_labels(piece, window.first, window.last, answers[window.row]))
    return EncodedExamples(
        input_ids=np.concatenate([np.zeros(0, np.int32), *ids]),
        token_type_ids=np.concatenate(types) if types else None,
        offsets=offsets_of(np.array([len(one) for one in ids], np.int64)),
        labels=np.concatenate(labels) if labels else None,
        task_type=examples.task_type,
        units=offsets_of(np.array([len(one) for one in spans], np.int64)),
        positions=np.concatenate([np.zeros(0, np.int32), *positions]),
        rows=np.array([window.row for window in places], np.int64),
        spans=np.concatenate([np.zeros((0, 2), np.int32), *spans]),
    )


def question_limit(max_length: int, frame: Frame) -> int:
    """Tokens at which questions are cut: half of a window, of short ones what leaves a token."""
    return max(0, min(max_length // 2, max_length - frame.size - 1))


def long_questions(examples: Examples, tokenizer: Any, max_length: int) -> tuple[int, int]:
    """The limit of questions, and how many are longer."""
    if examples.text_pair is None:
        return max_length, 0
    limit = question_limit(max_length, frame_of(tokenizer, True))
    # A token has a character at least.
    asked = [text for text in examples.text if len(text) > limit]
    known = pieces_of(tokenizer, asked)
    return limit, sum(len(known[text].ids) > limit for text in asked)


def check_offsets(tokenizer: Any) -> None:
    """Raises KdnasError for a tokenizer that does not tell where its tokens are in a text."""
    if not getattr(tokenizer, "is_fast", False):
        raise KdnasError(
            "the teacher's tokenizer does not tell where its tokens are in a text, which answers "
            "need; give a teacher with a tokenizer.json (a fast tokenizer)"
        )


def frame_of(tokenizer: Any, asked: bool) -> Frame:
    """The frame of questions with contexts, or of contexts alone.

    Raises:
        KdnasError: No special token comes first.
    """
    said = tokenizer("a", "a") if asked else tokenizer("a")
    sides, ids, types = said.sequence_ids(0), said["input_ids"], said.get("token_type_ids")
    context = int(asked)
    last = len(sides) - 1 - sides[::-1].index(context)
    begin = sides.index(0) if asked else sides.index(context)
    end = len(sides) - 1 - sides[::-1].index(0) if asked else begin - 1
    begin_context = sides.index(context)
    parts = (
        slice(0, begin),
        slice(begin, end + 1),
        slice(end + 1, begin_context),
        slice(begin_context, last + 1),
        slice(last + 1, None),
    )
    before, _, between, _, after = (list(ids[part]) for part in parts)
    if not before:
        raise KdnasError(
            "the teacher's tokenizer puts no special token ahead of a question, which stands for "
            "no answer; give a teacher whose inputs begin with one, such as [CLS] or <s>"
        )
    if types is None:
        return Frame(before, between, after, None)
    of = [list(types[part]) for part in parts]
    return Frame(before, between, after, (of[0], (of[1] or [0])[0], of[2], of[3][0], of[4]))


def pieces_of(tokenizer: Any, texts: Iterable[str]) -> dict[str, Pieces]:
    """The tokens of each of some texts, without special ones."""
    different = list(dict.fromkeys(texts))
    found: dict[str, Pieces] = {}
    for start in range(0, len(different), _CHUNK):
        chunk = different[start : start + _CHUNK]
        said = tokenizer(
            chunk,
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        for text, ids, spans in zip(chunk, said["input_ids"], said["offset_mapping"], strict=True):
            places = np.array(spans, np.int64).reshape(-1, 2)
            found[text] = Pieces(np.array(ids, np.int32), places[:, 0], places[:, 1])
    return found


def tokens_of(piece: Pieces, answer: Ends) -> tuple[int, int]:
    """The first and the last token of an answer; the last before the first where it has none."""
    first = int(np.searchsorted(piece.ends, answer[0], side="right"))
    return first, int(np.searchsorted(piece.starts, answer[1], side="left")) - 1


def _parts(tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """The windows on so many tokens, `room` at a time."""
    if tokens <= room:
        return [(0, tokens)]
    step = max(1, room - (stride if stride < room else room // 2))
    count = 1 + -(-(tokens - room) // step)
    return [(i * step, min(i * step + room, tokens)) for i in range(count)]


def _head(frame: Frame, question: Ids) -> Ids:
    """All that comes before the context."""
    return np.concatenate([frame.before, question, frame.between]).astype(np.int32)


def _spans(piece: Pieces, part: slice) -> NDArray[np.int32]:
    """Where the units of a window are in its context, shape (units, 2); that of no answer at 0."""
    spans = np.zeros((part.stop - part.start + 1, 2), np.int32)
    spans[1:, 0], spans[1:, 1] = piece.starts[part], piece.ends[part]
    return spans


def _positions(head: int, context: int) -> NDArray[np.int32]:
    """The places of a window's units among its tokens: the first, and those behind its head."""
    return np.concatenate([np.zeros(1, np.int32), np.arange(context, dtype=np.int32) + head])


def _types(
    types: tuple[list[int], int, list[int], int, list[int]], head: int, context: int
) -> NDArray[np.int8]:
    before, question, between, second, after = types
    asked = head - len(before) - len(between)
    row = [*before, *[question] * asked, *between, *[second] * context, *after]
    return np.array(row, np.int8)


def _labels(piece: Pieces, first: int, last: int, answer: Ends) -> NDArray[np.int8]:
    """Where an answer starts and ends among the units of a window."""
    labels = np.zeros((last - first + 1, 2), np.int8)
    if answer == UNKNOWN:
        return labels - 1
    begin, end = tokens_of(piece, answer)
    whole = first <= begin <= end < last
    labels[begin - first + 1 if whole else 0, 0] = 1
    labels[end - first + 1 if whole else 0, 1] = 1
    return labels
