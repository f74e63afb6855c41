"""Token classification: each word of a text has a tag, and runs of tags are entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.tasks.encode import EncodedExamples, TokenPlaces, describe_cut, offsets_of, tokenise
from kdnas.tasks.examples import (
    Examples,
    kind_of,
    shown,
)
from kdnas.tasks.predicted import (
    PredictionError,
    distribution,
    logarithms,
    numbers_of,
    one_of,
    smoothed,
)
from kdnas.tasks.tagging.answers import (
    in_text,
    onnx_code,
    tagged_words,
    word_probabilities,
    words_of,
)
from kdnas.tasks.tagging.entities import OUTSIDE, Tags
from kdnas.tasks.tagging.given_entities import further_pieces, tags_of_entities
from kdnas.tasks.tagging.outside_bias import LEAST_ENTITIES, outside_bias
from kdnas.tasks.tagging.units import sentences, tags_of_pieces, unit_pieces
from kdnas.tasks.tagging.word_tagger import tagger
from kdnas.tasks.tagging.words import (
    RUN,
    WORDS_IN_RUN,
    split_words,
)
from kdnas.tasks.types.classification import Classification
from kdnas.tasks.types.entity_metrics import each_type, entity_metrics, precision, word_counts
from kdnas.tasks.types.metric import Array, Metric
from kdnas.tasks.types.tag_cells import TagCells
from kdnas.tasks.types.values import Constant, Submission, object_rows


class TokenClassification(TagCells, Classification):
    """A tag for each word.

    Examples hold a tuple of tag ids for each text, encoded examples the id of each unit: the first
    piece of each word. A row's prediction is a tag id for each word, that of O for words that the
    tokenizer drops or that were cut off.
    """

    name = "token-classification"
    head = "ForTokenClassification"
    whole_texts = False
    problem_type = None
    metrics: ClassVar[Mapping[str, Metric]] = {
        **dict(entity_metrics()),
        "word_accuracy": Metric(
            precision, "accuracy", "Accuracy (words)", counts=word_counts, of_labels=True
        ),
    }
    default_metrics = ("f1", "precision", "recall")
    skill = "f1"
    has_bias = True
    onnx_outputs: ClassVar[Mapping[str, Mapping[int, str]]] = {"logits": {0: "batch", 1: "length"}}
    formats = ("conll", "table")
    defaults_with_heads: ClassVar[Mapping[str, Any]] = {}  # relations are below hidden states there
    entry_defaults: ClassVar[Mapping[str, Any]] = {
        "text": {"tokens": ["words"]},
        "label": {"tags": ["ner_tags", "labels"]},
    }
    most_texts = 1
    prediction_columns = ("logits", "probabilities", "tags", "entities")
    predictions_ending = ".txt"
    encode_settings = ("label_all_pieces",)
    predict_does = "label words"
    pipeline_tag = "token-classification"
    hub_name = "Token Classification"

    def entry_problems(self, labels: Sequence[str] | None, metrics: Sequence[str]) -> Iterator[str]:
        of_entities = [name for name in metrics if name != "word_accuracy"]
        if labels and of_entities and Tags(labels).scheme is None:
            odd = next((n for n in labels if n != OUTSIDE and Tags(["O", n]).scheme == "bare"), "")
            tag = odd or labels[0]
            begun = (n for n in labels if Tags(["O", n]).scheme == "IOB2") if odd else iter(())
            like = next((f", as {shown(n)!r} is" for n in begun), "")
            names = "name their meanings under `labels`, in the order of the numbers"
            yield (
                f"the tag {shown(tag)!r} is none of O, B-TYPE, I-TYPE and the like{like}; "
                f"{of_entities[0]} needs such tags{f': {names}' if tag.isdecimal() else ''}, else "
                "set `metrics: [word_accuracy]`"
            )

    # Labels: a tuple of tags for each text.

    def label_array(self, values: Sequence[Any]) -> Array:
        return object_rows(values)

    def class_counts(self, labels: Array, classes: int) -> NDArray[np.int64] | None:
        """Units of each tag; a text has no single one."""
        return None if labels.dtype == object else super().class_counts(labels, classes)

    def label_counts(self, data: EncodedExamples, labels: Sequence[str]) -> dict[str, int]:
        """Entities of each type."""
        tags, truths = Tags(labels), self.truths(data)
        if tags.scheme is None:
            return super().label_counts(data, labels)
        counts = Counter(
            one.type for row in truths[self.known(truths)] for one in tags.entities(row)
        )
        return {kind: counts[kind] for kind in tags.types}

    def strata(self, labels: Array) -> NDArray[np.int64] | None:
        return None

    def add_unlabelled(self, labels: Array, count: int) -> Array:
        return object_rows([*labels, *[None] * count])

    # Encoding: a unit for each word, at its first piece.

    def encode(
        self,
        examples: Examples,
        tokenizer: Any,
        max_length: int,
        *,
        label_all_pieces: bool = False,
        **options: Any,
    ) -> EncodedExamples:
        """Tokenises texts as they are; each word's first piece is a unit with its tag.

        A piece belongs to the word that has its first character, one that only marks the space to
        the word behind it: tokens are those that the tokenizer gives for the text to anybody, first
        pieces those of its `word_ids()`. With `label_all_pieces` the others are units, too, with
        the tag that goes on inside of the entity.

        Raises:
            KdnasError: The tokenizer cannot tell where tokens are in a text.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise KdnasError(
                f"{type(tokenizer).__name__} does not tell where its tokens are in a text, which "
                f"{self.name} needs; give a teacher with a fast tokenizer (a tokenizer.json)"
            )
        places: list[TokenPlaces] = []
        data = tokenise(examples, tokenizer, max_length, places)
        words = examples.words or [split_words(text) for text in examples.text]
        tags = Tags(examples.classes)
        truths = [None] * len(examples) if examples.labels is None else examples.labels
        units = [
            unit_pieces(tokens, of_text, further=label_all_pieces)
            for tokens, of_text in zip(places, words, strict=True)
        ]
        inside = np.array([*tags.inside, self.no_label], np.int64)
        labels = [
            tags_of_pieces(pieces, truth, inside, self.no_label)
            for pieces, truth in zip(units, truths, strict=True)
        ]
        return replace(
            data,
            labels=None if examples.labels is None else _together(labels, np.int64),
            units=offsets_of(np.array([len(one.positions) for one in units], np.int64)),
            positions=_together([one.positions for one in units], np.int32),
            spans=np.concatenate([np.zeros((0, 2), np.int32), *(one.spans for one in units)]),
            references=sentences(examples.text, words, truths, tags.outside),
        )

    def encoding_notes(
        self, examples: Examples, data: EncodedExamples, tokenizer: Any, max_length: int
    ) -> Iterator[str]:
        """How many texts were cut, and how many words that lost."""
        if cut := describe_cut(examples, data, tokenizer, max_length):
            lost = self._words_cut_off(data, max_length)
            yield f"{cut}; {lost}" if lost else cut

    def _words_cut_off(self, data: EncodedExamples, max_length: int) -> str:
        """`12 words behind the cut of 3 texts count as O`; nothing where no word was lost."""
        assert data.spans is not None and data.references is not None
        lost, ends = list[int](), data.unit_offsets
        for i in np.flatnonzero(data.lengths >= max_length):
            seen = int(data.spans[ends[i] : ends[i + 1], 1].max(initial=0))
            lost.append(len(data.references[i].words) - seen)
        count, texts = sum(lost), sum(one > 0 for one in lost)
        where = f"the cut of {several(texts, 'text')} count as {OUTSIDE}"
        return f"{several(format(count, ','), 'word')} behind {where}" if count else ""

    # Rows.

    def read_prediction(
        self, cells: Mapping[str, Any], labels: Sequence[str], examples: Examples, row: int
    ) -> Array:
        """Logits or probabilities of each word, its tag, or the entities: shape (words, tags)."""
        count, parse = len(words_of(examples, row)), self.parser(labels)
        name = next(name for name in self.prediction_columns if name in cells)
        if name == "entities":
            return self.prediction_of(tags_of_entities(cells[name], labels, examples, row), labels)
        given = cells[name]
        if not isinstance(given, list | tuple | np.ndarray):
            raise PredictionError(f"{kind_of(given)} under {name!r}; give a list with one a word")
        if len(given) != count:
            raise PredictionError(
                f"{len(given)} under {name!r} for {several(count, 'word')}; give one a word"
            )
        if name == "tags":
            return self.prediction_of([one_of(t, labels, parse, name) for t in given], labels)
        missing = None if name == "logits" else 0.0
        rows = [numbers_of(one, labels, parse, name, missing) for one in given]
        if name == "probabilities":
            rows = [distribution(one, name) for one in rows]
        found: Array = np.array(rows, np.float64).reshape(count, len(labels))
        return found if name == "logits" else logarithms(found)

    def prediction_of(self, label: Any, labels: Sequence[str]) -> Array:
        found: Array = np.array([smoothed(i, len(labels)) for i in label], np.float64)
        return found.reshape(len(label), len(labels))

    def unit_logits(
        self, predictions: Sequence[Any], data: EncodedExamples, labels: Sequence[str]
    ) -> Array:
        """Those of each unit's word; further pieces of a word go on inside of its entity."""
        assert data.spans is not None
        ends = data.unit_offsets
        found = np.zeros((int(ends[-1]), len(labels)), np.float32)
        for i, of_words in enumerate(predictions):
            units = slice(ends[i], ends[i + 1])
            words = data.spans[units, 0]
            found[units] = of_words[words]
            further = np.flatnonzero(np.diff(words, prepend=-1) == 0) + ends[i]
            if len(further):
                found[further] = further_pieces(found[further], Tags(labels).inside)
        return found

    def predictions(
        self, logits: Array, data: EncodedExamples, threshold: float | None = None
    ) -> Array:
        """Each row's tag ids."""
        return object_rows([ids for ids, _ in tagged_words(logits, data)])

    def truths(self, data: Examples | EncodedExamples) -> Array:
        if isinstance(data, Examples):
            return data.labels if data.labels is not None else object_rows([None] * len(data))
        assert data.references is not None
        return object_rows([one.tags for one in data.references])

    def as_rows(self, values: Sequence[Any]) -> Array:
        return object_rows(values)

    def constant_answers(self, truths: Array, labels: Sequence[str]) -> Sequence[Constant]:
        """O for every word; where there is no O, the most frequent tag."""
        usual = Tags(labels).outside
        if usual < 0:
            usual = Counter(i for row in truths for i in row).most_common(1)[0][0]

        def say(data: Any) -> Array:
            return object_rows([(usual,) * len(row.words) for row in data.references])

        return (Constant(labels[usual], say),)

    def linear_model(self, seed: int) -> None:
        return None

    def simple_model(
        self, train: Examples, labels: Sequence[str], seed: int
    ) -> tuple[str, Callable[[Examples], Array]] | None:
        """A linear model on each word, its neighbours and their spelling."""
        if train.labels is None:
            return None
        words = [words_of(train, i) for i in range(len(train))]
        found = tagger(words, [list(row) for row in train.labels], seed)
        if found is None:
            return None
        name, tag = found

        def predict(examples: Examples) -> Array:
            return object_rows(tag([words_of(examples, i) for i in range(len(examples))]))

        return name, predict

    def better_order(self, logits: Array, labels: Array) -> list[int] | None:
        known = labels >= 0
        return super().better_order(logits[known], labels[known])

    def details(
        self, predicted: Array, truth: Array, labels: Sequence[str]
    ) -> dict[str, Any] | None:
        """Precision, recall, F1 and the entities of each type."""
        return {"classes": each_type(Tags(labels), predicted, truth), "counted": "entities"}

    def choose_bias(
        self, logits: Array, data: EncodedExamples, labels: Sequence[str]
    ) -> Array | None:
        """Of O, so that as many entities are found as are labelled, where there are enough.

        None for tags that are no entities. See `kdnas.tasks.tagging.outside_bias`.
        """
        tags = Tags(labels)
        if data.labels is None or tags.outside < 0 or tags.scheme is None:
            return None
        rows = np.flatnonzero(self.known(self.truths(data)))

        @cache  # few rows change from one bias to the next
        def entities_of(row: tuple[int, ...]) -> int:
            return len(tags.entities(row))

        def entities(logits: Array) -> int:
            said = self.predictions(logits, data)
            return sum(entities_of(said[row]) for row in rows)

        # Words that were cut off are no entities here: nobody could find them.
        wanted = entities(np.eye(len(labels), dtype=np.float32)[np.maximum(data.labels, 0)])
        if wanted < LEAST_ENTITIES or not np.isfinite(logits).all():
            return None
        return outside_bias(lambda b: entities(logits + b), wanted, len(labels), tags.outside)

    # What leaves kdnas.

    def row_answers(
        self,
        logits: Array,
        labels: Sequence[str],
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[dict[str, Any]]:
        """The entities of each text with their characters; a score is the mean over their words."""
        assert data.references is not None
        tags, found = Tags(labels), list[dict[str, Any]]()
        for sentence, (ids, odds) in zip(data.references, tagged_words(logits, data), strict=True):
            entities = [
                {**in_text(one, sentence), "score": float(odds[one.start : one.end].mean())}
                for one in tags.entities(ids)
            ]
            found.append({"entities": entities})
        return found

    def row_probabilities(
        self, logits: Array, labels: Sequence[str], data: EncodedExamples
    ) -> list[dict[str, Any]]:
        """The words of each text, and the probability of each tag for each of them."""
        return word_probabilities(logits, labels, data)

    def row_in_words(self, answer: Any, labels: Sequence[str], examples: Examples, row: int) -> str:
        """`location: Empire State Building; person: Ann`, or `no entity`."""
        words, tags = words_of(examples, row), Tags(labels)
        if tags.scheme is None:
            return " ".join(labels[i] if i >= 0 else OUTSIDE for i in answer)
        said = [f"{e.type}: {' '.join(words[e.start : e.end])}" for e in tags.entities(answer)]
        return "; ".join(said) or "no entity"

    def answer_line(self, answer: dict[str, Any], labels: Sequence[str]) -> str:
        said = [f"{e['type']}: {e['text']} ({e['score']:.2f})" for e in answer["entities"]]
        return f"[{'; '.join(said) or 'no entity'}]"

    def row_submission(
        self,
        logits: Array,
        labels: Sequence[str],
        form: Submission,
        data: EncodedExamples,
        threshold: float | None = None,
    ) -> list[str]:
        """The tags of each text with spaces between them."""
        rows = self.predictions(logits, data, threshold)
        return [" ".join(labels[i] if i >= 0 else OUTSIDE for i in row) for row in rows]

    def predictions_text(self, words: Sequence[str], data: EncodedExamples | None) -> str:
        """A line for each text, as scorers read tags."""
        return "".join(f"{one}\n" for one in words)

    def onnx_answer(self, names: Sequence[str] | None, threshold: float | None = None) -> str:
        return onnx_code(Tags(names or ()).tags)

    def export_facts(self, labels: Sequence[str]) -> dict[str, Any]:
        """The tags as seqeval reads them, and the expressions that split a text into words."""
        tags = [tag.word for tag in Tags(labels).tags]
        return {"tags": tags, "words": [RUN, "".join(WORDS_IN_RUN)]}


def _together(parts: Sequence[Array], dtype: Any) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts])
