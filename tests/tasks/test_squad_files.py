"""Questions from files: SQuAD's JSON, JSON lines, tables; what is wrong with them, in a line."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from conftest import Said
from support.tiny import save_squad, squad_articles

from kdnas.errors import KdnasError
from kdnas.tasks import TaskSpec, load_data, load_spec
from kdnas.tasks.questions.references import References, read_references

ENTRY = {"name": "ask", "type": "question-answering"}
CONTEXT = "The tower was built in 1889, by Eiffel."


def spec(**changes: Any) -> TaskSpec:
    return TaskSpec.model_validate({**ENTRY, **changes})


def question(number: int = 0, **changes: Any) -> dict[str, Any]:
    answers = [{"text": "1889", "answer_start": 23}]
    return {"id": f"id{number}", "question": "When was it built?", "answers": answers, **changes}


def squad(*questions: dict[str, Any], context: str = CONTEXT) -> dict[str, Any]:
    """A file of one article; nine good questions come first, on a paragraph of their own."""
    good = {"context": f"{CONTEXT} It stands.", "qas": [question(i) for i in range(9)]}
    paragraphs = [good, {"context": context, "qas": list(questions)}]
    return {"data": [{"title": "Tower", "paragraphs": paragraphs}]}


def read(folder: Path, **options: Any) -> list[Any]:
    """Ids and labels of all questions of a training file, as they stand there."""
    parts = load_data(spec(), folder, splits=("train", "validation"), **options).splits.values()
    rows = [
        (id_, label)
        for part in parts
        for id_, label in zip(part.row_ids or [], part.labels, strict=True)  # type: ignore
    ]
    return [label for _, label in sorted(rows, key=lambda row: int(row[0].removeprefix("id")))]


def written(folder: Path, content: Any, name: str = "train.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refusal(folder: Path, content: Any, name: str = "train.json", **changes: Any) -> str:
    written(folder, content, name)
    with pytest.raises(KdnasError) as caught:
        load_data(spec(**changes), folder, splits=("train",), optional=())
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


def test_a_type_alone_says_what_the_columns_are() -> None:
    one = spec()
    assert [column.name for column in one.text] == ["question", "context"]
    assert (one.label[0].name, one.group and one.group.name, one.id and one.id.name) == (
        "answers",
        "title",
        "id",
    )
    assert one.metrics == ("f1", "exact_match")
    assert one.predictions_file("test") == "ask.json"
    again = TaskSpec.model_validate(one.model_dump())
    assert again == one
    other = spec(text=["q", "c"], label="a", group=None, id=None)
    assert [column.name for column in other.text] == ["q", "c"] and other.group is None


def test_squad_files_are_read_with_their_articles_and_ids(tmp_path: Path) -> None:
    save_squad(tmp_path, train=20, dev=8, impossible=0.5)
    task = load_data(load_spec("squad2"), tmp_path)
    train = task.splits["train"]
    assert (len(train), len(task.splits["validation"])) == (20, 8)
    assert train.row_ids is not None and train.row_ids[0] == "q1-0-0"
    assert train.groups is not None and train.groups[0] == "Article 1 0"
    assert train.labels is not None and train.text_pair is not None
    none = [label for label in train.labels if not label.texts]
    assert 0 < len(none) < 20
    for label, context in zip(train.labels, train.text_pair, strict=True):
        for text, start in zip(label.texts, label.starts, strict=True):
            assert context[start : start + len(text)] == text


def test_tables_say_the_same_in_either_form(tmp_path: Path) -> None:
    import pandas as pd

    base = {"question": "When was it built?", "context": CONTEXT}
    forms: list[Any] = [
        {"text": ["1889", "in 1889"], "answer_start": [23, 20]},
        [{"text": "1889", "answer_start": 23}, {"text": "in 1889", "answer_start": 20}],
    ]
    expected = References(("1889", "in 1889"), (23, 20))
    none: list[Any] = [{"text": [], "answer_start": []}, []]
    for number, (form, empty) in enumerate(zip(forms, none, strict=True)):
        rows = [{**base, "answers": form, "id": i} for i in range(6)]
        other = {**base, "context": f"{CONTEXT} It stands.", "answers": empty}
        rows += [{**other, "id": i} for i in range(6, 9)]
        for ending in ("jsonl", "json", "parquet", "csv"):
            folder = tmp_path / f"{number}-{ending}"
            folder.mkdir()
            path = folder / f"train.{ending}"
            if ending == "parquet":
                pd.DataFrame(rows).to_parquet(path)
            elif ending == "csv":
                frame = pd.DataFrame(rows)
                frame["answers"] = [json.dumps(row["answers"]) for row in rows]
                frame.to_csv(path, index=False)
            else:
                lines = "\n".join(map(json.dumps, rows))
                path.write_text(lines if ending == "jsonl" else json.dumps(rows))
            assert read(folder) == [expected] * 6 + [References((), ())] * 3


@pytest.mark.parametrize("start", ["null", "NaN", "1e999", "1.5", "true"])
def test_answers_begin_at_a_whole_number(tmp_path: Path, start: str) -> None:
    row = f'"question": "When?", "context": "{CONTEXT}"'
    text = f'{{{row}, "answers": {{"text": ["1889"], "answer_start": [{start}]}}}}'
    (tmp_path / "train.jsonl").write_text(f"{text}\n" * 3)
    with pytest.raises(KdnasError, match="no whole number as `answer_start` of '1889'; expected"):
        read(tmp_path)


def test_a_start_far_behind_the_context_is_told_in_short() -> None:
    found = read_references({"text": ["1889"], "answer_start": [10**400]}, CONTEXT)
    assert found.example == f"'1889' at character 1{'0' * 36}... of a context of {len(CONTEXT)}"


def test_what_is_impossible_has_no_answer_whatever_is_plausible(tmp_path: Path) -> None:
    impossible = question(9, is_impossible=True)
    for name, content in (
        ("train.json", squad(impossible)),
        (
            "train.jsonl",
            "\n".join(
                json.dumps({"context": CONTEXT, **q})
                for q in [question(1, context="The tower was built in 1889."), impossible]
            ),
        ),
    ):
        folder = tmp_path / name
        folder.mkdir()
        written(folder, content, name)
        labels = read(folder)
        assert labels[-1] == References((), ()) and labels[0].texts == ("1889",)


def test_wrong_answers_are_left_out_of_questions_that_have_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {"text": "Eiffel", "answer_start": 32}
    wrong = {"text": "Eiffel", "answer_start": 4}
    written(tmp_path, squad(question(9, answers=[wrong, right, wrong, right])))
    assert read(tmp_path)[-1][:2] == (("Eiffel", "Eiffel"), (32, 32))
    told = capsys.readouterr().out
    assert "left out 2 answers not in the context, of 1 question with others that are" in told
    assert "(the first: question 10, 'Eiffel' at character 4, where" in told
    refused = refusal(tmp_path, squad(question(9, answers=[wrong, wrong])))
    assert "1 of 10 questions cannot be used" in refused


def test_questions_of_no_article_are_no_article(tmp_path: Path) -> None:
    articles = squad_articles(80, 1)
    for article in articles[2:]:
        del article["title"]
    written(tmp_path, {"data": articles})
    parts = load_data(spec(), tmp_path).splits
    train, held = parts["train"], parts["validation"]
    assert 8 * len(held) < len(train)
    assert not set(train.groups or ()) & set(held.groups or ())
    assert not set(train.text_pair or ()) & set(held.text_pair or ())


def test_validation_rows_are_held_out_by_article_or_context(tmp_path: Path) -> None:
    articles = squad_articles(80, 1)
    written(tmp_path, {"data": articles})
    task = load_data(spec(), tmp_path)
    assert task.held_out == "validation"
    train, held = (task.splits[name].groups or [] for name in ("train", "validation"))
    assert held and not set(train) & set(held)
    for article in articles:
        del article["title"]
    written(tmp_path, {"data": articles})
    task = load_data(spec(), tmp_path)
    train, held = (task.splits[name].text_pair or [] for name in ("train", "validation"))
    assert held and not set(train) & set(held)


def test_spaces_are_no_difference(tmp_path: Path) -> None:
    context = "The tower\u00a0was built in 1889.\nIt is\ttall."
    answers = [
        {"text": "tower was", "answer_start": 4},
        {"text": " in 1889", "answer_start": 19},
        {"text": "1889. It is", "answer_start": 23},
        {"text": "1889", "answer_start": 22},
    ]
    written(tmp_path, squad(question(9, answers=answers), context=context))
    assert read(tmp_path)[-1].texts == ("tower\u00a0was", " in 1889", "1889.\nIt is", "1889")


def test_answers_a_character_off_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, squad(question(8)))
    read(tmp_path)
    assert "answer_start" not in capsys.readouterr().out
    answers = [{"text": "1889", "answer_start": at} for at in (22, 23, 24.0)]
    written(tmp_path, squad(question(8), question(9, answers=answers), question(10)))
    found = read(tmp_path)[-2]
    assert found[:2] == (("1889",) * 3, (23,) * 3)
    told = "found beside `answer_start`: 2 answers (the first: question 11, '1889' at character 22"
    assert f"{told}, found at 23)" in capsys.readouterr().out
    off = squad(question(9, answers=[{"text": "1889", "answer_start": 25}]))
    assert "'1889' at character 25, where" in refusal(tmp_path, off)


WRONG = [
    ({"answers": [{"text": "1899", "answer_start": 23}]}, r"'1899' at character 23, where its"),
    ({"answers": [{"text": "1889", "answer_start": 400}]}, r"'1889' at character 400 of a context"),
    ({"answers": [{"text": "1889", "answer_start": -1}]}, r"'1889' at character -1 of a context"),
    ({"answers": [{"text": "1889", "answer_start": 2.5}]}, r"no whole number as `answer_start`"),
    ({"answers": [{"text": "1889"}]}, r"no whole number as `answer_start` of '1889'"),
    ({"answers": [{"text": 1889, "answer_start": 23}]}, r"a number as an answer; expected \{"),
    ({"answers": ["1889"]}, r"text as an answer|answers in another form"),
    ({"answers": "1889"}, r"answers in another form"),
    ({"answers": 5}, r"answers in another form"),
    (
        {"answers": {"text": ["a"], "answer_start": [1, 2]}},
        r"answers without one start for each text \(1 text, 2 numbers under `answer_start`\)",
    ),
    ({"answers": {"text": ["1889", "tower"], "answer_start": [23]}}, r"2 texts, 1 number under"),
    ({"answers": None}, r"no label under 'answers'"),
    ({"question": None}, r"has no text under 'question' \(id id9\)"),
    ({"question": "  "}, r"has no text under 'question' \(id id9\)"),
    ({"question": 7}, r"a number instead of text under 'question'"),
]


@pytest.mark.parametrize(("changes", "told"), WRONG)
def test_a_bad_question_is_named_in_a_line(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, squad(question(9, **changes)))
    assert re.search(told, message), message
    assert "1 of 10 questions cannot be used: question 10" in message
    assert message.endswith("repair them, or leave them out with --skip-malformed")
    written(tmp_path, squad(question(9, **changes), question(10)))
    assert len(read(tmp_path, skip_malformed=True)) == 10


def test_few_of_many_misplaced_answers_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"answers": [{"text": "1899", "answer_start": 23}]}
    rows = [question(i, **(bad if i < 10 else {})) for i in range(1200)]
    written(tmp_path, squad(*rows))
    assert len(read(tmp_path)) == 1199
    said = capsys.readouterr().out
    assert "left out 10 of 1209 questions: 10 questions have an answer that is not in" in said
    assert "(the first: question 10, '1899' at character 23, where its context has '1889')" in said
    rows = [question(i, **(bad if i < 20 else {})) for i in range(1200)]
    assert "20 of 1209 questions cannot be used" in refusal(tmp_path, squad(*rows))


def broken(path: list[Any], value: Any) -> Any:
    content = deepcopy(squad(question(9)))
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            '{"data": [{"title": "x", "paragraphs": [',
            "cannot be read as SQuAD JSON: Expecting value in",
        ),
        ({"data": []}, "is empty: it has no question"),
        ({"data": {"title": "x"}, "paragraphs": []}, "'data' is an object, not a list"),
        (broken(["data", 0, "paragraphs"], KeyError), "article 1 ('Tower'): lacks 'paragraphs'"),
        (broken(["data", 0, "paragraphs"], 3), "'paragraphs' is a number, not a list"),
        (broken(["data", 0, "paragraphs", 0, "qas"], KeyError), "paragraph 1: lacks 'qas'"),
        (broken(["data", 0, "paragraphs", 0], "x"), "paragraph 1: found \"'x'\""),
        (broken(["data", 0, "paragraphs", 0, "qas", 0], 5), "a question is a number"),
        (broken(["data", 0, "paragraphs", 0, "context"], KeyError), "have no text under 'context'"),
        (broken(["data", 0, "paragraphs", 0, "context"], ""), "no text under 'context'"),
        ('[{"question": "q", "context": "c"}]', "lacks the column 'answers'"),
    ],
)
def test_a_broken_file_is_refused_in_a_line(content: Any, told: str, tmp_path: Path) -> None:
    assert told in refusal(tmp_path, content)


def test_a_format_may_be_named(tmp_path: Path) -> None:
    message = refusal(
        tmp_path, '[{"question": "q", "context": "c", "answers": []}]', format="squad"
    )
    assert "at its top: found" in message
    with pytest.raises(ValueError, match=r"unknown format 'conll'"):
        spec(format="conll")


def test_a_test_file_needs_no_answers(tmp_path: Path) -> None:
    content = squad(question(9))
    for one in content["data"][0]["paragraphs"][0]["qas"]:
        del one["answers"]
    written(tmp_path, content, "test.json")
    task = load_data(spec(), tmp_path, splits=("test",), optional=())
    assert task.splits["test"].labels is None
    assert task.splits["test"].row_ids == [f"id{i}" for i in range(10)]


def test_the_real_files(shared_data: Path) -> None:
    folder = shared_data.parent
    if not (folder / "squad").is_dir():
        pytest.skip(f"no SQuAD in {folder}")
    task = load_data(load_spec("squad"), folder)
    assert {name: len(part) for name, part in task.splits.items()} == {
        "train": 11_877,
        "validation": 10_570,
    }
    assert task.splits["train"].dropped == 0
    task = load_data(load_spec("SQuAD-2"), folder)
    assert sum(map(len, task.splits.values())) == 6078 and task.held_out == "validation"
    groups = [set(part.groups or ()) for part in task.splits.values()]
    assert not groups[0] & groups[1]


def test_the_command_says_it_in_a_line(command: Said, tmp_path: Path, teacher_folder: Path) -> None:
    entry = tmp_path / "ask.yaml"
    entry.write_text("ask: {type: question-answering}\n")
    written(tmp_path, squad(question(9, answers=[{"text": "no", "answer_start": 0}])))
    flags = ("--teacher", teacher_folder, "--task", entry, "--data-dir", tmp_path)
    code, error = command("search", *flags, "--dry-run")
    assert code == 2
    assert "'no' at character 0, where its context has 'Th'" in " ".join(error.split())


def test_questions_that_share_an_id_cannot_be_scored(tmp_path: Path) -> None:
    """A predictions file would hold one answer to both; training questions need no ids."""
    written(tmp_path, squad(question(3)))
    assert len(read(tmp_path)) > 0
    path = written(tmp_path, squad(question(3)), "dev.json")
    with pytest.raises(KdnasError) as caught:
        load_data(spec(), tmp_path)
    told = f"{path}: questions 4 and 10 have the same id 'id3'; give each its own"
    assert str(caught.value) == told


def test_nor_can_those_that_are_held_out_of_the_training_file(tmp_path: Path) -> None:
    """Its rows may share an id, but not where a tenth of them stands in for a file to score."""
    twice = [question(3, question=f"When was it built, {n}?") for n in range(20)]
    path = written(tmp_path, {"data": [{"paragraphs": [{"context": CONTEXT, "qas": twice}]}]})
    assert load_data(spec(), tmp_path, splits=("train",), optional=()).splits
    told = f"{path}: questions 1 and 2 have the same id 'id3'; give each its own"
    with pytest.raises(KdnasError, match=re.escape(told)):
        load_data(spec(), tmp_path)
