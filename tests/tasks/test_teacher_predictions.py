"""Files with a black-box teacher's predictions, matched with a task's rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TaskData, TaskSpec, load_data
from kdnas.tasks.teacher_predictions import with_predictions

TEXTS = ["good film", "bad film", "fine film", "poor film"]
LABELS = ["pos", "neg", "pos", "neg"]


@pytest.fixture
def task(tmp_path: Path) -> TaskData:
    """Four training rows, two to validate on, one to test on; with ids."""
    folder = tmp_path / "data" / "films"
    folder.mkdir(parents=True)
    rows = [
        {"id": i, "review": t, "label": y}
        for i, (t, y) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    write(folder / "train.jsonl", rows)
    held = [
        {"id": 0, "review": f"a {t}", "label": y} for t, y in zip(TEXTS[:2], LABELS, strict=False)
    ]
    write(folder / "validation.jsonl", [{**row, "id": i + 3} for i, row in enumerate(held)])
    write(folder / "test.jsonl", [{"id": 9, "review": "the test film"}])
    entry = {"name": "films", "text": "review", "labels": ["neg", "pos"], "id": "id"}
    return load_data(TaskSpec.model_validate(entry), tmp_path / "data")


@pytest.fixture
def read(task: TaskData, tmp_path: Path) -> Callable[..., TaskData]:
    """The task's data with some rows of predictions."""

    def make(rows: list[Any], name: str = "said.jsonl", **options: Any) -> TaskData:
        write(tmp_path / name, rows)
        return with_predictions(task, tmp_path / name, **options)

    return make


def write(path: Path, rows: list[Any]) -> None:
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def row(text: str, positive: float = 0.75, **more: Any) -> dict[str, Any]:
    return {"text": text, "probabilities": {"neg": 1 - positive, "pos": positive}, **more}


WHOLE = [row(text) for text in TEXTS]


def shares(data: TaskData, split: str = "train") -> list[float] | None:
    found = data.splits[split].predictions
    return None if found is None else [round(float(np.exp(one[1])), 4) for one in found]


@pytest.mark.parametrize("name", ["said.jsonl", "said.jsonl.gz", "said.json", "said.parquet"])
def test_rows_are_matched_by_text(read: Callable[..., TaskData], name: str) -> None:
    given = [row(t, 0.1 * (i + 1)) for i, t in enumerate(TEXTS)]
    found = read(
        [*given, row("  a good\tfilm "), row("a bad film"), row("another film", 0.9)], name
    )
    assert shares(found) == [0.1, 0.2, 0.3, 0.4]
    assert shares(found, "validation") == [0.75, 0.75]
    assert found.further is not None and found.further.text == ["another film"]
    assert found.further.predictions is not None and found.further.classes == ("neg", "pos")


def test_rows_are_matched_by_id(read: Callable[..., TaskData]) -> None:
    given = [{"id": i, "split": "train", "label": y} for i, y in enumerate(LABELS)]
    assert shares(read(given)) == [0.95, 0.05, 0.95, 0.05]
    given = [{"id": i, "label": "pos"} for i in range(3)]  # which no other split has
    assert shares(read([*given, row("poor film")])) == [0.95, 0.95, 0.95, 0.75]


def test_a_row_of_train_is_one_of_it_also_where_it_was_held_out(
    task: TaskData, tmp_path: Path
) -> None:
    (tmp_path / "data" / "films" / "validation.jsonl").unlink()
    alone = load_data(task.spec, tmp_path / "data")
    given = [{"id": i, "split": "train", "label": y} for i, y in enumerate(LABELS)]
    write(tmp_path / "said.jsonl", given)
    found = with_predictions(alone, tmp_path / "said.jsonl")
    assert [len(shares(found, split) or []) for split in ("train", "validation")] == [3, 1]


def test_ids_of_rows_that_the_task_leaves_out_are_passed_over(
    task: TaskData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [
        {"id": 50, "review": "what", "label": "?"},
        {"id": 51, "review": " ", "label": "pos"},
        {"id": 52, "review": "so", "label": None},
    ]
    rows = [
        {"id": i, "review": t, "label": y}
        for i, (t, y) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    write(tmp_path / "data" / "films" / "train.jsonl", [*rows, *odd])
    spec = task.spec.model_copy(update={"unlabelled": ("?",)})
    data = load_data(spec, tmp_path / "data", skip_malformed=True)
    given: list[Any] = [{"id": row["id"], "split": "train", "label": "pos"} for row in rows + odd]
    write(tmp_path / "said.jsonl", given)
    found = with_predictions(data, tmp_path / "said.jsonl")
    assert shares(found) == [0.95] * 4 and found.further is None
    told = "said.jsonl: passed over 3 rows with ids of rows that the task leaves out"
    assert told in capsys.readouterr().out
    write(tmp_path / "said.jsonl", [*given, {"id": 53, "label": "pos"}])
    with pytest.raises(KdnasError, match="line 8: no row of the task has the id '53'"):
        with_predictions(data, tmp_path / "said.jsonl")


def test_a_text_says_more_than_an_id(read: Callable[..., TaskData]) -> None:
    found = read([row(text, 0.6, id=77) for text in TEXTS])
    assert shares(found) == [0.6] * 4


def test_splits_that_are_scored_need_all_rows(
    read: Callable[..., TaskData], capsys: pytest.CaptureFixture[str]
) -> None:
    found = read([*WHOLE, row("a good film")])
    assert shares(found, "validation") is None
    told = capsys.readouterr().out
    assert "has predictions for 1 of 2 rows of validation; the teacher has scores there if" in told
    assert "predictions for 4 of 4 rows of train, 1 of 2 rows of validation" in told


def test_further_rows_leave_out_held_out_texts(read: Callable[..., TaskData]) -> None:
    found = read([*WHOLE, row("the test film"), row("new"), row("new")])
    assert found.further is not None and found.further.text == ["new"]


def test_labels_stand_in(read: Callable[..., TaskData], capsys: pytest.CaptureFixture[str]) -> None:
    found = read([row("new", 0.3)], labels_stand_in=True)
    assert shares(found) == [0.95, 0.05, 0.95, 0.05]
    told = capsys.readouterr().out
    assert (
        "no prediction for 4 of 4 training rows, the first 'good film'; their labels stand" in told
    )


def test_equal_rows_are_one(read: Callable[..., TaskData]) -> None:
    found = read([*WHOLE, row("good film", 0.750001)])
    assert shares(found) == [0.75] * 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            WHOLE[:2],
            "{file} has no prediction for 2 of 4 training rows, the first 'fine film'; add them, "
            "or let their labels stand in with --labels-stand-in",
        ),
        (
            [*WHOLE, row("good film", 0.1)],
            "{file}, line 5: says something else of a row than line 1; leave one out",
        ),
        (
            [*WHOLE, row("new", 0.1), row("new", 0.2)],
            "{file}, line 6: says something else of a row than line 5; leave one out",
        ),
        (
            [{"text": "good film", "label": "great"}],
            "{file}, line 1: unknown label 'great' under 'label'; give one of neg, pos",
        ),
        (
            [{"text": "good film", "probabilities": [0.5, 0.4]}],
            "{file}, line 1: the numbers under 'probabilities' add up to 0.9; probabilities add up "
            "to 1 (give numbers of another kind as 'logits')",
        ),
        (
            [{"text": "good film", "logits": [0.5, 0.4, 1]}],
            "{file}, line 1: 3 numbers under 'logits' for 2 labels; give one for each of neg, pos",
        ),
        (
            [{"id": 77, "label": "pos"}],
            "{file}, line 1: no row of the task has the id '77'; give an id of the task, or the "
            "text",
        ),
        (
            [{"id": 9, "split": "train", "label": "pos"}],
            "{file}, line 1: no row of the train split has the id '9'; give an id of the task, or "
            "the text",
        ),
        (
            [{"id": 3, "label": "pos"}],
            "{file}, line 1: the id '3' names several rows of train and validation; give the text, "
            "or the split under 'split'",
        ),
        (
            [{"id": 3, "split": "dev", "label": "pos"}],
            "{file}, line 1: unknown split 'dev'; give one of train, validation, test",
        ),
        (
            [{"text": "good film"}],
            "{file} has none of the columns logits, probabilities, label, score; give one with "
            "what the teacher says, for classification",
        ),
        (
            [WHOLE[0], {"text": "bad film"}],
            "{file}, line 2: has no prediction; give one of probabilities",
        ),
        (
            [{"label": "pos"}],
            "{file} lacks the column 'review' or 'text'; give each row its text, or its id",
        ),
        (
            [WHOLE[0], {"text": " ", "label": "pos"}, {"id": 1, "label": "pos"}],
            "{file}, line 2: has no text and no id; give one of them",
        ),
        (
            [WHOLE[0], {"text": 5, "label": "pos"}],
            "{file}, line 2: has a number instead of text under 'review'",
        ),
        ([WHOLE[0], "{"], "{file} cannot be read as JSON lines: "),
        ([], "{file} is empty"),
    ],
)
def test_bad_files(
    read: Callable[..., TaskData], tmp_path: Path, rows: list[Any], message: str
) -> None:
    with pytest.raises(KdnasError) as caught:
        read(rows)
    assert str(caught.value).startswith(message.format(file=tmp_path / "said.jsonl"))
    assert "\n" not in str(caught.value)


def test_ids_that_the_task_does_not_name(task: TaskData, tmp_path: Path) -> None:
    from dataclasses import replace

    splits = {name: replace(part, row_ids=None) for name, part in task.splits.items()}
    write(tmp_path / "said.jsonl", [{"id": 1, "label": "pos"}])
    with pytest.raises(KdnasError, match="the task names no ids; give the text, or set `id:`"):
        with_predictions(replace(task, splits=splits), tmp_path / "said.jsonl")


@pytest.mark.parametrize("name", ["said.csv", "said.gz", "said"])
def test_other_files(task: TaskData, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\n")
    with pytest.raises(KdnasError, match=r"expected a file that ends in \.jsonl, \.json"):
        with_predictions(task, tmp_path / name)
    with pytest.raises(KdnasError, match="no such file"):
        with_predictions(task, tmp_path / "none.jsonl")


def loaded(folder: Path, rows: list[Any], said: list[Any], **entry: Any) -> TaskData:
    """A task, its training rows alone, with predictions."""
    (folder / "t").mkdir()
    for split in ("train", "validation"):  # else some would be held out
        write(folder / "t" / f"{split}.jsonl", rows)
    write(folder / "said.jsonl", said)
    spec = TaskSpec.model_validate({"name": "t", **entry})
    data = load_data(spec, folder, splits=("train",), optional=())
    return with_predictions(data, folder / "said.jsonl")


NAMES = ["O", "B-P", "I-P", "B-L", "I-L"]


def tags_of(data: TaskData) -> list[list[str]]:
    found = data.splits["train"].predictions
    assert found is not None
    return [[NAMES[i] for i in one.argmax(-1)] for one in found]


def test_entities_are_at_the_characters_of_the_text_in_the_file(tmp_path: Path) -> None:
    rows = [
        {"tokens": ["Ann", "lives", "in", "Berlin", "today"], "tags": ["B-P", "O", "O", "B-L", "O"]}
    ]
    text = "  Ann lives  in Berlin today"
    at = text.index("Berlin")
    entities = [{"type": "P", "start": 2, "end": 5}, {"type": "L", "start": at, "end": at + 6}]
    said: list[Any] = [{"text": text, "entities": entities}]
    found = loaded(tmp_path, rows, said, type="token-classification", labels=NAMES)
    assert tags_of(found) == [["B-P", "O", "O", "B-L", "O"]]
    entities[1]["end"] = 99
    write(tmp_path / "said.jsonl", said)
    with pytest.raises(KdnasError, match="with characters of a text of 28$"):
        with_predictions(found, tmp_path / "said.jsonl")


def test_a_text_in_two_ways_of_words(tmp_path: Path) -> None:
    rows = [
        {"tokens": ["New York", "is", "big"], "tags": ["B-L", "O", "O"]},
        {"tokens": ["New", "York", "is", "big"], "tags": ["B-L", "I-L", "O", "O"]},
    ]
    said: list[Any] = [
        {"text": "New York  is big", "entities": [{"type": "L", "start": 0, "end": 8}]}
    ]
    entry = {"type": "token-classification", "labels": NAMES}
    data = loaded(tmp_path, rows, said, **entry)
    both = [["B-L", "O", "O"], ["B-L", "I-L", "O", "O"]]
    assert tags_of(data) == both
    write(tmp_path / "said.jsonl", [{"text": r["tokens"], "tags": r["tags"]} for r in rows])
    assert tags_of(with_predictions(data, tmp_path / "said.jsonl")) == both
    write(tmp_path / "said.jsonl", [{"text": rows[0]["tokens"], "tags": ["O"] * 5}])
    with pytest.raises(KdnasError, match="line 1: 5 under 'tags' for 3 words; give one a word"):
        with_predictions(data, tmp_path / "said.jsonl")


@pytest.mark.parametrize("whole", [True, False])
def test_answers_are_at_the_characters_of_the_context_in_the_file(
    whole: bool, tmp_path: Path
) -> None:
    context, question = "The tower\n\n was  built in 1889 .", "When?"
    answers = {"text": ["1889"], "answer_start": [context.index("1889")]}
    rows = [{"question": question, "context": context, "answers": answers, "id": "1"}]
    plain = " ".join(context.split())
    at = plain.index("1889")
    places = {"starts": [[at, 0.8], [None, 0.2]], "ends": [[at + 4, 0.8], [None, 0.2]]}
    says = {"answer": "1889", "start": at, "score": 0.64} if whole else places
    said = [{"question": question, "context": plain, **says}]
    found = loaded(tmp_path, rows, said, type="question-answering").splits["train"].predictions
    assert found is not None
    (start, _), (end, _) = found[0].starts[0], found[0].ends[0]
    assert context[start:end] == "1889"
    assert len(found[0].starts) == (1 if whole else 2)
