"""Students without layers: token vectors, averaged, and a small head."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import QUICK
from support.tiny import save_animals, small_config, small_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from kdnas import KdnasError, distill, evaluate, export, predict
from kdnas.space import Architecture
from kdnas.students import build_student, empty_student
from kdnas.students.build import initialiser_of
from kdnas.students.static import token_vectors
from kdnas.teachers.tokenizer import longest_input

STATIC = Architecture(0, 1, 16, 1, "gelu")
LEFT_OUT = (
    "random_control",
    "finalists",
    "screen",
    "epochs",
    "task_epochs",
)  # its recipe has stages
FILTERS = {"name": "filters", "data": "task", "losses": {"filtered": 1, "task": 1}, "epochs": 1}
FILTERS |= {"lr": 1e-3, "filter_goal": "labels"}
ONE = {k: v for k, v in QUICK.items() if k not in LEFT_OUT}


def teacher_of(family: str = "bert") -> Any:
    torch.manual_seed(0)
    config = small_config(family, vocab_size=50, num_labels=3, pad_token_id=0)
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "albert", "deberta-v2"])
def test_order_and_padding_do_not_count(family: str) -> None:
    student = build_student(teacher_of(family), STATIC)
    assert student.config.num_labels == 3 and not list(student.base_model.layers)
    rows = torch.tensor([[2, 7, 9, 11, 3], [3, 11, 7, 2, 9]])
    padded = torch.cat([rows, torch.zeros(2, 3, dtype=torch.long)], dim=1)
    mask = (padded > 0).long()
    with torch.no_grad():
        first, again = student(rows, attention_mask=torch.ones_like(rows)).logits
        behind = student(padded, attention_mask=mask).logits[0]
    torch.testing.assert_close(first, again)
    torch.testing.assert_close(first, behind)
    assert longest_input(student.config) == longest_input(teacher_of(family).config)


def test_vectors_start_as_what_the_teacher_makes_of_each_token() -> None:
    """In their principal components: of as many as there are, distances stay as they were."""
    teacher = teacher_of()
    ends = ((2,), (3,))
    vectors = token_vectors(teacher, ends)
    with torch.no_grad():
        alone = teacher.base_model(torch.tensor([[2, 17, 3]])).last_hidden_state.mean(1)
    torch.testing.assert_close(vectors[17], alone[0])
    whole = Architecture(0, 1, teacher.config.hidden_size, 1, "gelu")
    student = build_student(teacher, whole, vectors=lambda: vectors)
    table = student.get_input_embeddings().weight.detach()
    apart, before = (torch.cdist(t, t) for t in (table.double(), vectors.double()))
    torch.testing.assert_close(apart / apart.max(), before / before.max(), atol=1e-4, rtol=1e-3)
    assert table.square().mean().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("[CLS] $A", "[CLS] the"),
        ("$A [SEP]", "the [SEP]"),
        ("[CLS] $A [SEP]", "[CLS] the [SEP]"),
        ("$A [SEP] [CLS]", "the [SEP] [CLS]"),
        ("$A", "the"),
    ],
)
def test_special_tokens_stand_where_the_tokenizer_puts_them(template: str, text: str) -> None:
    tokenizer = small_tokenizer()
    special = [(one, tokenizer.convert_tokens_to_ids(one)) for one in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(template, None, special)
    torch.manual_seed(0)
    config = small_config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    teacher: Any = SimpleNamespace(model=model, tokenizer=tokenizer, pad_id=0)
    rows: Any = None  # what matters in the teacher is known
    cached: Any = SimpleNamespace(get=lambda measure: None)
    runtime: Any = SimpleNamespace(device=torch.device("cpu"))
    made = initialiser_of(teacher, rows, runtime, inherit=True, seed=0, cached=cached)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert ids.tolist() == [tokenizer("the")["input_ids"]]
    with torch.no_grad():
        alone = model.base_model(ids).last_hidden_state.mean(1)[0]
    torch.testing.assert_close(made.vectors[tokenizer.convert_tokens_to_ids("the")], alone)


def test_without_inheritance_vectors_are_drawn() -> None:
    one, other = (build_student(teacher_of(), STATIC, inherit=False, seed=s) for s in (0, 1))
    tables = [student.get_input_embeddings().weight for student in (one, other)]
    assert not torch.equal(*tables)
    assert empty_student(teacher_of().config, STATIC).config.num_hidden_layers == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path) -> Path:
    """A finished run of a static student."""
    out = tmp_path_factory.mktemp("static") / "run"
    given = {**ONE, "data_dir": data_folder, "out": out, "vocabulary": "task"}
    given |= {"transfer_rows": 300}
    return distill(teacher=teacher_folder, task="mrpc", architecture="0x16", **given).folder


def test_it_ships_as_a_plain_checkpoint(made: Path, data_folder: Path) -> None:
    report = json.loads((made / "report.json").read_text())
    assert report["student"]["name"] == "0x16 task"
    tokenizer = AutoTokenizer.from_pretrained(made / "student")
    model = AutoModelForSequenceClassification.from_pretrained(made / "student")
    assert model.config.vocab_size == len(tokenizer)
    texts = {"text": "the good cat sees the river", "text_pair": "a dull film"}
    said = pipeline("text-classification", str(made / "student"))(texts)
    found = predict(made, [texts["text"]], pairs=[texts["text_pair"]])[0]
    assert said["label"] == found["label"] and said["score"] == pytest.approx(found["score"])
    again = evaluate(made / "student", "mrpc", data_dir=data_folder)["tasks"]["mrpc"]
    assert again["scores"] == pytest.approx(report["student"]["scores"], abs=1e-5)  # rounded there


def test_it_runs_in_onnx(made: Path) -> None:
    found = export(made, "onnx,int8", max_drop=1, timing=False)
    assert found["largest_difference"] < 1e-4
    student = json.loads((made / "report.json").read_text())["student"]
    scores = {row["runtime"]: row["scores"] for row in found["models"]}
    assert scores["ONNX"] == pytest.approx(student["scores"], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "0x64"}, "hidden size 64 is more than the teacher's 32"),
        ({"architecture": "0x16-h2"}, "a student without layers has no num_attention_heads"),
        ({"recipe": "transfer"}, "for a student without layers use task, logits"),
        ({"recipe": "default"}, "use task, logits (e.g. --recipe static)"),
        ({"stages": [FILTERS]}, "'filters' learns from filtered, which reads more of a student th"),
        ({"epochs": 2}, "invalid --epochs 2.0: recipe static has stages, which set their own"),
        ({"mini_score": "hidden"}, "for a student without layers give logits"),
    ],
)
def test_what_it_lacks_is_refused_in_one_line(
    changes: dict[str, Any], message: str, teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    given = {"architecture": "0x16", "data_dir": data_folder, "out": tmp_path / "run", **ONE}
    with pytest.raises(KdnasError) as caught:
        distill(teacher=teacher_folder, task="mrpc", **{**given, **changes})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_students_with_layers_read_every_word(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    stage = {"name": "task", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-3}
    given = {"architecture": "1x16", "data_dir": data_folder, "out": tmp_path / "run", **ONE}
    with pytest.raises(KdnasError, match="'task' has word_dropout, which is for students without"):
        distill(
            teacher=teacher_folder, task="mrpc", **given, stages=[{**stage, "word_dropout": 0.3}]
        )


def test_tasks_on_words_are_refused(teacher_folder: Path, tmp_path: Path) -> None:
    save_animals(tmp_path)
    given = {**ONE, "data_dir": tmp_path, "out": tmp_path / "run"}
    task = tmp_path / "animals.yaml"
    with pytest.raises(KdnasError, match="answers for whole texts, and the task is token-class"):
        distill(teacher=teacher_folder, task=task, architecture="0x16", **given)
