"""Reading from the hub, with the hub's own classes and without a network."""

from typing import Any

import datasets
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import load_corpus, load_data, load_spec
from kdnas.tasks.examples import NoLabel
from kdnas.tasks.formats.tables import named_cells

UNLABELLED = NoLabel.UNLABELLED
LABELS = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])


def split(labels: list[int], feature: Any = LABELS) -> datasets.Dataset:
    columns = {
        "premise": [f"premise {i}" for i in range(len(labels))],
        "hypothesis": ["so"] * len(labels),
        "label": labels,
        "idx": list(range(len(labels))),
    }
    data = datasets.Dataset.from_dict(columns)
    return data.cast_column("label", feature)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the hub holds by data set id and configuration, and the calls made."""
    sets: dict[str, Any] = {"calls": []}

    def load_dataset(
        path: str,
        name: str | None = None,
        *,
        revision: str | None = None,
        split: str | None = None,
    ) -> Any:
        sets["calls"].append((path, name, revision) if revision else (path, name))
        found = sets.get(f"{path}:{name}")
        if isinstance(found, Exception):
            raise found
        if found is None:
            raise FileNotFoundError(f"Dataset '{path}' doesn't exist on the Hub\nmore about it")
        return found if split is None else found[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return sets


def test_mnli(hub: dict[str, Any]) -> None:
    hub["nyu-mll/glue:mnli"] = datasets.DatasetDict(
        train=split([0, 1, 2] * 33 + [-1]),
        validation_matched=split([2]),
        validation_mismatched=split([1, 1]),
        test_matched=split([-1, -1]),
    )
    data = load_data(load_spec("mnli"), None)
    train, test = data.splits["train"], data.splits["test_matched"]
    assert train.text[:3] == ["premise 0", "premise 1", "premise 2"]
    assert train.text_pair == ["so"] * 99
    assert train.labels is not None
    assert (train.labels.tolist(), train.dropped) == ([0, 1, 2] * 33, 1)
    assert (len(test), test.labels) == (2, None)
    assert "test_mismatched" not in data.splits
    assert hub["calls"] == [("nyu-mll/glue", "mnli")]


def test_the_hubs_order_of_the_classes_does_not_matter(hub: dict[str, Any]) -> None:
    turned = datasets.ClassLabel(names=["contradiction", "entailment", "neutral"])
    hub["nyu-mll/glue:mnli"] = datasets.DatasetDict(train=split([0, 1, 2], turned))
    labels = load_data(load_spec("mnli"), None, splits=["train"]).splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [2, 0, 1]


def test_classes_are_named_by_the_hub(hub: dict[str, Any]) -> None:
    hub["org/set:None"] = datasets.DatasetDict(train=split([0, 1, 2] * 40 + [-1]))
    spec = load_spec("mine", {"mine": {"text": ["premise", "hypothesis"], "hub": "org/set"}})
    data = load_data(spec, None)
    assert data.spec.labels == ("entailment", "neutral", "contradiction")
    assert (len(data.splits["train"]), len(data.splits["validation"])) == (108, 12)


def test_cells_without_a_class(hub: dict[str, Any]) -> None:
    """An empty cell is malformed, -1 is marked as unlabelled, and a text is a class name."""
    assert named_cells([0, 2, -1, None, 1.0], ["a", "b"]) == ["a", 2, UNLABELLED, None, "b"]
    assert named_cells([1, "c", float("inf")], ["a", "b"]) == ["b", "c", float("inf")]
    assert named_cells([1, None], None) == [1, None]
    hub["org/set:None"] = datasets.DatasetDict(train=split([0, 1, 2] * 40 + [-1, -1]))
    spec = load_spec("mine", {"mine": {"text": ["premise", "hypothesis"], "hub": "org/set"}})
    with pytest.raises(KdnasError, match="2 rows have no label under 'label', as its mark"):
        load_data(spec, None)


def test_regression(hub: dict[str, Any]) -> None:
    scores = datasets.Dataset.from_dict(
        {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [0.5, 5.0]}
    )
    unknown = scores.remove_columns("label").add_column("label", [-1.0, -1.0])
    hub["nyu-mll/glue:stsb"] = datasets.DatasetDict(train=scores, validation=scores, test=unknown)
    data = load_data(load_spec("stsb"), None)
    assert data.splits["train"].labels is not None
    assert data.splits["train"].labels.tolist() == [0.5, 5.0]
    assert data.splits["test"].labels is None


@pytest.mark.parametrize(
    "error", [None, ConnectionError("no route\nto host"), ValueError("config")]
)
def test_what_cannot_be_fetched_suggests_a_folder(
    hub: dict[str, Any], error: Exception | None
) -> None:
    hub["nyu-mll/glue:rte"] = error
    with pytest.raises(KdnasError) as caught:
        load_data(load_spec("rte"), None)
    message = str(caught.value)
    assert message.startswith("cannot load 'nyu-mll/glue' (rte) from the hub: ")
    assert message.endswith("give the data with --data-dir")
    assert "\n" not in message


def test_missing_split_and_column(hub: dict[str, Any]) -> None:
    hub["nyu-mll/glue:mnli"] = datasets.DatasetDict(train=split([0]))
    with pytest.raises(KdnasError, match="has no split 'validation_matched'; found train"):
        load_data(load_spec("mnli"), None)
    hub["nyu-mll/glue:rte"] = datasets.DatasetDict(train=split([0]), validation=split([0]))
    with pytest.raises(KdnasError, match="lacks the column 'sentence1', 'sentence2'; found 'prem"):
        load_data(load_spec("rte"), None)


def test_corpus(hub: dict[str, Any]) -> None:
    texts = datasets.Dataset.from_dict({"id": [1, 2, 3], "text": ["", " a ", "b"]})
    hub["wikitext:wikitext-2-raw-v1"] = datasets.DatasetDict(train=texts)
    assert load_corpus("wikitext:wikitext-2-raw-v1") == ["a", "b"]
    with pytest.raises(KdnasError, match="give a local file or folder as --corpus"):
        load_corpus("org/absent")


@pytest.mark.parametrize(
    ("task", "call"),
    [
        ("conll2003", ("lhoestq/conll2003", None)),
        ("wnut17", ("leondz/wnut_17", None, "refs/convert/parquet")),
    ],
)
def test_entities_come_from_parquet_copies(
    hub: dict[str, Any], task: str, call: tuple[str | None, ...]
) -> None:
    """Datasets 4 runs no scripts, which eriktks/conll2003 and leondz/wnut_17 are."""
    spec = load_spec(task)
    assert spec.labels is not None
    kinds = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=[*spec.labels])),
        }
    )
    rows = {"id": ["0"], "tokens": [["Berlin", "is", "big"]], "ner_tags": [[7, 0, 0]]}
    found = datasets.Dataset.from_dict(rows, features=kinds)
    hub[f"{call[0]}:None"] = datasets.DatasetDict(train=found, validation=found, test=found)
    train = load_data(spec, None).splits["train"]
    assert hub["calls"] == [call]
    assert train.labels is not None
    assert [spec.labels[i] for i in train.labels[0]] == [spec.labels[7], "O", "O"]


def test_a_task_names_a_branch_or_commit_of_its_data_set(hub: dict[str, Any]) -> None:
    hub["org/set:en"] = datasets.DatasetDict(train=split([0, 1, 2] * 40))
    place = {"path": "org/set", "name": "en", "revision": "v2"}
    entry = {"mine": {"text": ["premise", "hypothesis"], "hub": place}}
    load_data(load_spec("mine", entry), None)
    assert hub["calls"] == [("org/set", "en", "v2")]
