"""Words and tags in columns, and in lists of JSON lines and Parquet files."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TASK_TYPES, TaskData, TaskSpec, load_data, load_spec
from kdnas.tasks.examples import RawSplit
from kdnas.tasks.formats.conll import is_conll

ENTRY: dict[str, Any] = {"name": "ner", "type": "token-classification"}
TRAIN = "EU B-ORG\nrejects O\nGerman B-MISC\n\nPeter B-PER\nBlackburn I-PER\n"


def load(folder: Path, files: dict[str, str], **entry: Any) -> TaskData:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    spec = TaskSpec.model_validate({**ENTRY, **entry})
    return load_data(spec, folder)


def tags_of(task: TaskData, split: str = "train") -> list[list[str]]:
    examples, labels = task.splits[split], task.spec.labels or ()
    assert examples.labels is not None
    return [[labels[i] for i in row] for row in examples.labels]


def words_of(task: TaskData, split: str = "train") -> list[list[str]]:
    examples = task.splits[split]
    assert examples.words is not None
    rows = zip(examples.text, examples.words, strict=True)
    return [[text[start:end] for start, end in spans] for text, spans in rows]


WORDS = [["EU", "rejects", "German"], ["Peter", "Blackburn"]]
TAGS = [["B-ORG", "O", "B-MISC"], ["B-PER", "I-PER"]]
UD = "# sent_id = 1\n# text = EU rejects German\n"


@pytest.mark.parametrize(
    "text",
    [
        TRAIN,
        TRAIN.replace(" ", "\t"),
        TRAIN.replace("\n", "\r\n"),
        TRAIN.replace(" ", "  "),
        f"\ufeff{TRAIN}",
        f"-DOCSTART- -X- O\n\n{TRAIN}".replace("-X- O", "O"),
        "-DOCSTART- -X- -X- O\n\n" + TRAIN.replace(" ", " NNP I-NP "),
        TRAIN.replace("\n\n", "\n \t\n\n\n"),
        UD + TRAIN.replace(" ", "\t").replace("\n\n", "\n\n# newdoc\n"),
        UD + TRAIN.replace(" ", " _ _ "),
        "1 EU B-ORG\n2 rejects O\n3 German B-MISC\n\n1 Peter B-PER\n2 Blackburn I-PER",
        TRAIN.replace("\n\n", "\n\ufeff\tO\n\n\ufeff\n\n"),
    ],
)
@pytest.mark.parametrize("name", ["conll", "txt", "iob2", "bio", "tsv", "conll2003"])
def test_columns_as_they_come(tmp_path: Path, text: str, name: str) -> None:
    task = load(tmp_path, {f"train.{name}": text, f"dev.{name}": TRAIN})
    assert words_of(task) == WORDS
    assert tags_of(task) == TAGS
    assert task.spec.labels == ("O", "B-MISC", "B-ORG", "B-PER", "I-PER")
    assert ("\ufeff" in text[1:]) == any(
        "byte-order mark left out (line" in a for a in task.assumed
    )


def test_a_hash_is_a_word_where_it_has_a_tag(tmp_path: Path) -> None:
    task = load(tmp_path, {"train.conll": f"# O\n#tag B-ORG\n\n{TRAIN}", "dev.conll": TRAIN})
    assert words_of(task)[0] == ["#", "#tag"]


def test_a_hash_is_a_word_where_only_hashes_have_its_tag(tmp_path: Path) -> None:
    text = f"# B-SIGN\n#tag B-TAG\n\n# B-TAG\nx O\n\n{TRAIN}"
    task = load(tmp_path, {"train.conll": text, "dev.conll": TRAIN})
    assert words_of(task)[:2] == [["#", "#tag"], ["#", "x"]]
    plain = f"# one\n# S-12\n# I\n{TRAIN}\n# two\n{TRAIN}"
    assert words_of(load(tmp_path, {"train.conll": plain})) == [*WORDS, *WORDS]


def test_a_task_names_its_columns(tmp_path: Path) -> None:
    text = "1 EU NNP B-ORG _\n2-3 x _ _ _\n2 says VBZ O _\n\n1 Peter NNP B-PER _\n"
    entry = {
        "headerless": ["id", "form", "pos", "tag", "misc"],
        "text": "form",
        "label": "tag",
    }
    task = load(tmp_path, {"train.conllu": text, "dev.conllu": text}, **entry)
    assert words_of(task) == [["EU", "says"], ["Peter"]] and tags_of(task)[0] == ["B-ORG", "O"]
    parts = load(tmp_path, {}, **{**entry, "label": "pos", "metrics": ["word_accuracy"]})
    assert tags_of(parts)[0] == ["NNP", "VBZ"]
    with pytest.raises(KdnasError, match=r"has 5 columns; `headerless` in task 'ner' names 2"):
        load(tmp_path, {}, headerless=["form", "tag"], text="form", label="tag")


def test_iob1_is_read_as_iob2_and_said(tmp_path: Path) -> None:
    iob1 = "EU I-ORG\nGerman I-MISC\nNew I-LOC\nYork I-LOC\nParis B-LOC\n\nhe O\n"
    task = load(tmp_path, {"train.iob": iob1, "dev.conll": "EU B-ORG\n"})
    assert tags_of(task)[0] == ["B-ORG", "B-MISC", "B-LOC", "I-LOC", "B-LOC"]
    assert task.assumed == ("train.iob: tags in IOB1, read as IOB2",)


def test_tags_without_b_stay_where_the_classes_have_none(tmp_path: Path) -> None:
    text = "EU I-ORG\nNew I-LOC\nYork I-LOC\n\nhe O\n"
    listed = ["O", "I-ORG", "I-LOC"]
    task = load(tmp_path, {"train.iob": text, "dev.iob": text}, labels=listed)
    assert task.spec.labels == tuple(listed) and task.assumed == ()
    for split in ("train", "validation"):
        assert tags_of(task, split) == [["I-ORG", "I-LOC", "I-LOC"], ["O"]]


def test_tags_stay_where_an_entity_of_some_type_begins_with_nothing_but_i(tmp_path: Path) -> None:
    text = "EU I-ORG\nUN B-ORG\n\nPeter I-PER\nis O\n"
    listed = ["O", "I-PER", "I-ORG", "B-ORG"]
    task = load(tmp_path, {"train.iob": text, "dev.iob": "EU I-ORG\n"}, labels=listed)
    assert tags_of(task) == [["I-ORG", "B-ORG"], ["I-PER", "O"]] and task.assumed == ()
    assert tags_of(task, "validation") == [["I-ORG"]]
    task = load(tmp_path, {}, labels=[*listed, "b-per"])
    assert tags_of(task) == [["B-ORG", "B-ORG"], ["b-per", "O"]] and len(task.assumed) == 2


@pytest.mark.parametrize("row", [{"tokens": None}, {}, {"tokens": math.nan}])
def test_tags_without_words_are_malformed_also_in_test(tmp_path: Path, row: Any) -> None:
    good = {"tokens": ["EU", "said"], "tags": ["B-ORG", "O"]}
    files = {f"{name}.jsonl": json.dumps(good) + "\n" for name in ("train", "validation")}
    lines = [good, {**row, "tags": ["O"]}]
    files["test.jsonl"] = "".join(f"{json.dumps(line)}\n" for line in lines)
    with pytest.raises(KdnasError, match=r"line 2 has 1 tags for 0 words"):
        load(tmp_path, files)
    (tmp_path / "test.jsonl").write_text(files["test.jsonl"].replace('["O"]', "[]"))
    assert words_of(load(tmp_path, {}), "test") == [["EU", "said"], []]


def test_train_decides_whether_tags_are_iob1(tmp_path: Path) -> None:
    train = f"{TRAIN}\nBonn I-LOC\n\nRome B-LOC\n"
    task = load(tmp_path, {"train.conll": train, "dev.conll": "Oslo I-LOC\n\nhe O\n"})
    assert tags_of(task, "validation") == [["I-LOC"], ["O"]] and task.assumed == ()
    iob1 = "Bonn I-LOC\nRome B-LOC\n\nhe O\n"
    task = load(tmp_path, {"train.conll": iob1, "dev.conll": "Oslo I-LOC\n\nhe O\n"})
    assert tags_of(task, "validation") == [["B-LOC"], ["O"]]


def test_bioes_stays(tmp_path: Path) -> None:
    text = "EU S-ORG\nNew B-LOC\nYork E-LOC\nhe O\n"
    task = load(tmp_path, {"train.bioes": text, "dev.bioes": text})
    assert tags_of(task)[0] == ["S-ORG", "B-LOC", "E-LOC", "O"]


@pytest.mark.parametrize("suffix", ["conll", "txt", "tsv"])
def test_test_files_may_have_no_tags(tmp_path: Path, suffix: str) -> None:
    files = {"train.conll": TRAIN, "dev.conll": TRAIN, f"test.{suffix}": "He\ncame\n\n#\n"}
    task = load(tmp_path, files)
    assert task.splits["test"].labels is None
    assert words_of(task, "test") == [["He", "came"], ["#"]]


def test_one_sentence_without_tags_by_the_files_ending(tmp_path: Path) -> None:
    files = {"train.conll": TRAIN, "dev.conll": TRAIN, "test.conll": "He\nlikes\nOslo\n"}
    assert words_of(load(tmp_path, files), "test") == [["He", "likes", "Oslo"]]
    for name, sure in (("a.conll", True), ("a.bio", True), ("a.txt", False), ("a.tsv", False)):
        (tmp_path / name).write_text("He\nlikes\nOslo\n")
        assert is_conll(tmp_path / name) == sure


@pytest.mark.parametrize(
    ("files", "entry", "message"),
    [
        (
            {"train.conll": "EU B-ORG\nrejects\nit O\n\nhe O\n", "dev.conll": TRAIN},
            {},
            "train.conll: 1 of 2 lines cannot be used: line 2 has 1 field instead of 2; repair",
        ),
        (
            {"train.conll": "a O\nb\tc O\n\nhe B-X\n\n", "dev.conll": TRAIN},
            {},
            "line 2 has 3 fields instead of 2",
        ),
        (
            {"train.conll": "a\tO\n\tO\n\nb\tB-A\n", "dev.conll": TRAIN},
            {},
            "line 2 has an empty field",
        ),
        (
            {"train.conll": TRAIN, "dev.conll": "x O\n\nEU B-LOC\n"},
            {},
            "dev.conll, line 3, word 1: unknown tag 'B-LOC'; expected one of O, B-MISC, B-ORG, "
            "B-PER, I-PER (found in train; list others under `labels:` in the task)",
        ),
        ({"train.conll": "a O\n", "dev.conll": TRAIN}, {}, "found only the tag 'O'; token-classif"),
        (
            {"train.conll": "a\n\nb\n", "dev.conll": TRAIN},
            {},
            "lacks the column 'tags' or 'ner_tag",
        ),
        (
            {"train.conll": "a DT\nb NN\n", "dev.conll": TRAIN},
            {},
            "the tag 'DT' is none of O, B-TYPE, I-TYPE and the like; f1 needs such tags, else set "
            "`metrics: [word_accuracy]`",
        ),
        ({"train.conll": "\n\n", "dev.conll": TRAIN}, {}, "train.conll is empty; give a file with"),
        (
            {"train.jsonl": '{"tokens": ["a", "b"], "tags": ["O"]}', "dev.conll": TRAIN},
            {},
            "line 1 has 1 tags for 2 words",
        ),
        (
            {"train.jsonl": '{"tokens": ["a", 5], "tags": ["O", "O"]}', "dev.conll": TRAIN},
            {},
            "line 1 has a number as word 2 under 'tokens'",
        ),
        (
            {"train.jsonl": '{"tokens": [null, "b"], "tags": ["O", "O"]}', "dev.conll": TRAIN},
            {},
            "line 1 has no word 1 under 'tokens'",
        ),
        (
            {"train.jsonl": '{"tokens": "a b", "tags": ["O", "O"]}', "dev.conll": TRAIN},
            {},
            "line 1 has a text instead of a list of words beside its tags",
        ),
        (
            {"train.jsonl": '{"tokens": ["a"], "tags": "O"}', "dev.conll": TRAIN},
            {},
            "line 1 has text instead of a list of tags",
        ),
        (
            {"train.jsonl": '{"tokens": ["a"], "tags": [null]}', "dev.conll": TRAIN},
            {},
            "line 1 has no tag for word 1",
        ),
        (
            {"train.jsonl": '{"tokens": ["a"]}\n{"tokens": ["b"], "tags": ["O"]}'},
            {},
            "line 1 has no label under 'tags'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, files: dict[str, str], entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdnasError) as error:
        load(tmp_path, files, **entry)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_malformed_sentences_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    files = {"train.conll": f"EU B-ORG\nrejects\n\n{TRAIN}", "dev.conll": TRAIN}
    task = load(tmp_path, files, skip_malformed=True)
    assert words_of(task) == WORDS and task.splits["train"].dropped == 1


def test_listed_labels_may_be_missing_in_train(tmp_path: Path) -> None:
    labels = ["O", "B-ORG", "B-MISC", "B-PER", "I-PER", "B-LOC"]
    task = load(tmp_path, {"train.conll": TRAIN, "dev.conll": "EU B-LOC\n"}, labels=labels)
    assert tags_of(task, "validation") == [["B-LOC"]]


def test_lists_in_json_lines(tmp_path: Path) -> None:
    rows = [
        dict(zip(("words", "labels"), row, strict=True)) for row in zip(WORDS, TAGS, strict=True)
    ]
    rows.append({"words": [], "labels": []})
    rows.append({"words": ["a\ud83d"], "labels": ["O"]})
    rows.append({"words": ["New York", "\u200b", ""], "labels": ["B-ORG", "O", "O"]})
    text = "\n".join(map(json.dumps, rows))
    task = load(tmp_path, {"train.jsonl": text, "dev.jsonl": text})
    assert words_of(task) == [*WORDS, [], ["a\ufffd"], ["New York", "\u200b", ""]]
    assert tags_of(task)[:3] == [*TAGS, []]


def test_ids_are_the_classes_that_a_file_or_a_set_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    names = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-MISC", "I-MISC"]
    features = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=names)),
        }
    )
    ids = [[names.index(tag) for tag in row] for row in TAGS]
    data = datasets.Dataset.from_dict({"tokens": WORDS, "ner_tags": ids}, features=features)
    data.to_parquet(tmp_path / "train.parquet")
    data.to_parquet(tmp_path / "validation.parquet")
    task = load(tmp_path, {})
    assert task.spec.labels == tuple(names) and tags_of(task) == TAGS and words_of(task) == WORDS
    splits = datasets.DatasetDict({"train": data, "validation": data})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: splits)
    spec = TaskSpec.model_validate({**ENTRY, "hub": "someone/ner"})
    of_hub = load_data(spec, None)
    assert of_hub.spec.labels == tuple(names) and tags_of(of_hub) == TAGS
    plain = {"tokens": WORDS, "ner_tags": ids}
    for split in ("train", "validation"):
        pd.DataFrame(plain).to_parquet(tmp_path / f"{split}.parquet")
    listed = load(tmp_path, {}, labels=names)
    assert tags_of(listed) == TAGS
    with pytest.raises(KdnasError, match="the tag '0' is none of O, B-TYPE"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("conll2003", ("eng.train", "eng.testa", "eng.testb")),
        ("conll2003", ("train.txt", "valid.txt", "test.txt")),
        ("CoNLL2003", ("train.conll", "dev.conll", "test.conll")),
        ("wnut17", ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")),
        ("wnut17", ("train.conll", "dev.conll", "test.conll")),
    ],
)
def test_built_in_tasks_have_the_files_that_are_about(
    tmp_path: Path, name: str, files: tuple[str, str, str]
) -> None:
    spec = load_spec(name)
    (tmp_path / spec.name).mkdir()
    assert spec.labels
    text = "-DOCSTART- -X- -X- O\n\nEU NNP I-NP {}\nsays VBZ I-VP O\n"
    for file in files:
        path = tmp_path / spec.name / file
        path.write_text(text.format(spec.labels[1]), encoding="utf-8")
    task = load_data(spec, tmp_path)
    assert set(task.splits) == {"train", "validation", "test"}
    assert words_of(task) == [["EU", "says"]]


def test_wnut_as_it_lies_there(shared_data: Path) -> None:
    task = load_data(load_spec("wnut17"), shared_data.parent)
    rows = {split: len(examples) for split, examples in task.splits.items()}
    assert rows == {"train": 3394, "validation": 1009, "test": 1287}
    assert len(task.assumed) == 1
    assert "1 word with nothing but a byte-order mark left out (line 16742)" in task.assumed[0]


def test_pairs_of_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="token-classification reads 1 text a row, not 2; name"):
        TaskSpec.model_validate({**ENTRY, "text": ["a", "b"]})


def test_many_words_and_no_empty_line_are_refused(tmp_path: Path) -> None:
    text = "EU B-ORG\nrejects O\n" * 600
    with pytest.raises(KdnasError, match="has 1,200 words and no empty line; put one between"):
        load(tmp_path, {"train.conll": text, "dev.conll": TRAIN})


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Anna Schmidt met me and I\n", False),
        ("Tell Anna Schmidt what B\nAsk John what I\n", False),
        ("I met Anna and so did I\n\nShe and I\n", False),
        ("She takes vitamin E\nHe takes vitamin B\n", False),
        ("Anna B-PER\nSchmidt I-PER\n", True),
        ("He O\nran O\n\nShe O\nsat O\n", True),
    ],
)
def test_texts_that_end_like_tags_are_no_columns(tmp_path: Path, text: str, columns: bool) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert is_conll(tmp_path / "a.txt") == columns


def test_one_column_is_told_apart(tmp_path: Path) -> None:
    text = TRAIN.replace(" ", ";")
    with pytest.raises(KdnasError, match="separate each word and its tag by a space or a tab"):
        load(tmp_path, {"train.conll": text, "dev.conll": text})


def test_tags_without_b_stay_where_the_set_has_no_such_class() -> None:
    kind, rows = TASK_TYPES["token-classification"], [["I-LOC", "O"]]
    raw = RawSplit("hub", ["a b"], None, rows, [1], classes=("O", "I-LOC"))
    assert kind.with_plain_labels(raw, ()).cells == rows
    known = kind.with_plain_labels(replace(raw, classes=("O", "B-LOC", "I-LOC")), ())
    assert known.cells == [["B-LOC", "O"]]
