"""The card's metadata against the hub's own reader and the fields that its schema requires."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from made_runs import report_of

from kdnas.config import Settings
from kdnas.report.card import model_card, origin_of
from kdnas.tasks import TASK_TYPES

CARD = "---\nlanguage: en\nlicense: mit\nbase_model: org/elder\n---\n# A teacher\n"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub says of a teacher must not decide."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def card_of(teacher: str, **changes: Any) -> ModelCard:
    """The card of a student of some teacher, as the hub reads it."""
    mrpc = {"task": "mrpc", "dataset_config": "mrpc", "dataset_name": "GLUE MRPC"}
    return ModelCard(model_card(report_of(teacher__name=teacher, **{**mrpc, **changes})))


def check_model_index(index: Any) -> None:
    """What the hub's documentation requires of a model-index."""
    assert isinstance(index, list) and isinstance(index[0]["name"], str)
    for result in index[0]["results"]:
        assert isinstance(result["task"]["type"], str)
        assert isinstance(result["dataset"]["type"], str)
        assert isinstance(result["dataset"]["name"], str)
        for optional in ("config", "split"):
            assert isinstance(result["dataset"].get(optional, ""), str)
        assert result["metrics"]
        for metric in result["metrics"]:
            assert isinstance(metric["type"], str) and isinstance(metric["value"], float)


def test_the_hubs_reader_finds_every_score() -> None:
    card = card_of("bert-base-uncased")
    results = card.data.eval_results
    assert [(r.metric_type, r.metric_name, r.metric_value) for r in results] == [
        ("accuracy", "Accuracy", 0.84),
        ("f1", "F1", 0.86),
    ]
    first = results[0]
    assert (first.task_type, first.task_name) == ("text-classification", "Text Classification")
    assert (first.dataset_type, first.dataset_name) == ("nyu-mll/glue", "GLUE MRPC")
    assert (first.dataset_config, first.dataset_split) == ("mrpc", "validation")
    data = card.data.to_dict()
    check_model_index(data["model-index"])
    assert json.loads(json.dumps(data)) == data
    assert data["base_model"] == "bert-base-uncased" and data["datasets"] == ["nyu-mll/glue"]
    assert data["library_name"] == "transformers" and data["metrics"] == ["accuracy", "f1"]
    assert data["pipeline_tag"] == "text-classification" and "kdnas" in data["tags"]
    assert data["kdnas"]["sampler"] == "tpe" and data["kdnas"]["space"] == 1536
    assert "license" not in data, "it is not known here"
    assert "sampler `tpe`, seed 0" in card.text and "## Limits" in card.text


def test_mnlis_splits_are_two_results() -> None:
    card = card_of(
        "bert-base-uncased",
        main_score="accuracy_matched",
        student__scores={"accuracy_matched": 0.8, "accuracy_mismatched": 0.81},
        evaluation=["validation_matched", "validation_mismatched"],
        dataset_config="mnli",
    )
    results = card.data.eval_results
    assert [(r.dataset_split, r.metric_type, r.metric_value) for r in results] == [
        ("validation_matched", "accuracy", 0.8),
        ("validation_mismatched", "accuracy", 0.81),
    ]


def test_a_task_of_ones_own_names_no_hub_data_set() -> None:
    changes = {"task": "mail", "dataset": "mail", "dataset_config": None, "dataset_name": "MAIL"}
    data = card_of("org/teacher", **changes).data.to_dict()
    check_model_index(data["model-index"])
    assert "datasets" not in data
    assert data["model-index"][0]["results"][0]["dataset"] == {
        **{"name": "MAIL", "type": "mail", "split": "validation"}
    }


def test_metrics_have_the_names_of_the_hub() -> None:
    named = [(n, m.hub_type) for task in TASK_TYPES.values() for n, m in task.metrics.items()]
    others = {"mcc": "matthews_correlation", "correlation": "matthews_correlation"}
    others |= {"pearson": "pearsonr", "spearman": "spearmanr"}
    others |= {"subset_accuracy": "accuracy", "word_accuracy": "accuracy"}
    others |= dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), "rouge")
    for name, hub_type in named:
        own = others.get(name, re.sub("_(macro|micro|strict)$", "", name))
        assert hub_type in (own, "squad_v2")


def test_a_local_teacher_tells_what_it_was_made_from(tmp_path: Path) -> None:
    assert origin_of(str(tmp_path))["base_model"] is None
    (tmp_path / "README.md").write_text(CARD)
    origin = origin_of(str(tmp_path))
    assert origin == {"base_model": "org/elder", "license": "mit", "language": "en"}
    (tmp_path / "config.json").write_text('{"_name_or_path": "bert-base-uncased"}')
    assert origin_of(str(tmp_path))["base_model"] == "org/elder"
    (tmp_path / "README.md").write_text("---\n: not YAML: [\n---\n")
    assert origin_of(str(tmp_path))["base_model"] == "bert-base-uncased"
    for path in ("/home/me/models/mine", "results/checkpoint-500"):
        (tmp_path / "config.json").write_text(f'{{"_name_or_path": "{path}"}}')
        assert origin_of(str(tmp_path))["base_model"] is None
    assert "/" not in card_of(str(tmp_path)).data.model_name


@pytest.mark.usefixtures("minilm")
def test_the_embedded_teacher_is_a_hub_model_with_a_licence() -> None:
    data = card_of("sentence-transformers/all-MiniLM-L6-v2").data
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert (data.license, data.language) == ("apache-2.0", "en")


def test_scores_on_held_out_training_rows_are_not_those_of_a_split() -> None:
    told = {"length": 64, "splits": {}, "proxy": 1, "stands_in": "validation"}
    assert {r.dataset_split for r in card_of("a", data=told).data.eval_results} == {"train"}
    assert {r.dataset_split for r in card_of("a").data.eval_results} == {"validation"}


def test_folders_of_a_machine_stay_out_of_it(tmp_path: Path) -> None:
    own, run = tmp_path / "own.yaml", tmp_path / "run"
    text = model_card(report_of(), Settings(recipe=str(own), learn_from=str(run)))
    assert str(tmp_path) not in text and "recipe own.yaml" in text
    pruned = Settings(pruned="ziplm", sparsity=0.8, assistants=f"{run},0.6")
    text = model_card(report_of(), pruned)
    assert str(tmp_path) not in text and "assistants run,0.6" in text
