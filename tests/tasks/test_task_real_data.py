"""Real GLUE files against their known row counts."""

import os
from pathlib import Path

import numpy as np
import pytest

from kdnas.tasks import load_corpus, load_data, load_spec

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
ROOT = Path(os.environ.get("KDNAS_TEST_DATA", BESIDE))
GLUE = ROOT / "glue"
pytestmark = pytest.mark.skipif(
    not GLUE.is_dir(), reason="set KDNAS_TEST_DATA to a folder that holds glue/"
)


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        ("mrpc", (3668, 408, 1725)),
        ("sst2", (67349, 872, 1821)),
        ("stsb", (5749, 1500, 1379)),
        ("wnli", (635, 71, 146)),
    ],
)
def test_row_counts(task: str, counts: tuple[int, int, int]) -> None:
    data = load_data(load_spec(task), GLUE)
    assert tuple(len(data.splits[split]) for split in ("train", "validation", "test")) == counts
    assert all(part.dropped == 0 for part in data.splits.values())
    assert data.splits["train"].labels is not None
    assert data.splits["test"].labels is None


def test_mrpc_texts_and_labels() -> None:
    train = load_data(load_spec("mrpc"), GLUE, optional=[]).splits["train"]
    assert train.text_pair is not None
    assert train.labels is not None
    assert train.text[0].startswith('Amrozi accused his brother, whom he called "the witness"')
    assert train.text_pair[0].startswith('Referring to him as only "the witness"')
    assert int(train.labels.sum()) == 2474  # as published: 67% of the pairs are paraphrases


def test_stsb_scores_are_from_0_to_5() -> None:
    labels = load_data(load_spec("stsb"), GLUE).splits["train"].labels
    assert labels is not None
    assert labels.dtype == np.float32
    assert (labels.min(), labels.max()) == (0, 5)


def test_mnli_matched_without_the_rest() -> None:
    data = load_data(load_spec("mnli"), GLUE, splits=["validation_matched"])
    labels = data.splits["validation_matched"].labels
    assert labels is not None
    assert np.bincount(labels).tolist() == [3479, 3123, 3213]


def test_qqp_sample_by_an_explicit_file() -> None:
    spec = load_spec("qqp").model_copy(update={"files": {"train": ("train_sample",)}})
    data = load_data(spec, GLUE)
    assert len(data.splits["train"]) + len(data.splits["validation"]) == 23496
    assert data.splits["train"].dropped == 1


def test_corpus() -> None:
    corpus = load_corpus(ROOT / "corpus" / "sentences.txt.gz", limit=1000)
    assert len(corpus) == len(set(corpus)) == 1000
    assert corpus == load_corpus(ROOT / "corpus", limit=1000)
