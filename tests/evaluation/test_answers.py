"""What is chosen on held-out rows: the bias of a head that labels words, a threshold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_config, small_tokenizer
from support.tiny import save_animals, save_squad
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification

from kdnas.distillation.training import predict
from kdnas.evaluation.answers import settle_answers
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, encode, load_data, load_spec
from kdnas.tasks.tagging.entities import Tags
from kdnas.tasks.types import threshold_of
from kdnas.teachers.load import load_teacher


def test_a_students_head_finds_as_many_entities_as_are_labelled(
    tmp_path: Path, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_animals(tmp_path)
    task = load_data(load_spec(folder / "animals.yaml"), folder)
    kind, names = TASK_TYPES["token-classification"], task.spec.labels
    assert names is not None
    torch.manual_seed(0)
    model: Any = AutoModelForTokenClassification.from_config(
        small_config("bert", **kind.head_config(names))
    )
    rows, tags = encode(task.splits["train"], small_tokenizer(), 64), Tags(names)

    def count(answers: Any) -> int:
        return sum(len(tags.entities(row)) for row in answers)

    def apart() -> int:
        found = kind.predictions(predict(model, rows, runtime, pad_id=0).numpy(), rows)
        return abs(count(found) - count(kind.truths(rows)))

    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = apart()
    settle_answers(model, rows, runtime, 0)
    best = apart()
    assert best < first
    changed = [n for n, v in model.state_dict().items() if not torch.equal(v, before[n])]
    assert changed == ["classifier.bias"]
    moved = (model.classifier.bias - before["classifier.bias"]).detach().numpy()
    assert np.flatnonzero(moved).tolist() == [tags.outside]
    told = f"the bias of the head, by training rows held out: O {moved[tags.outside]:+.3g}"
    assert told in capsys.readouterr().out
    settle_answers(model, rows.take([]), runtime, 0)  # nothing to choose on: as it was
    assert apart() == best


def test_who_learnt_questions_without_an_answer_keeps_a_threshold(
    tmp_path: Path, runtime: Runtime
) -> None:
    folder = save_squad(tmp_path, train=40, dev=8, impossible=0.3)
    task = load_data(load_spec("squad2"), folder)
    kind, train = TASK_TYPES["question-answering"], task.splits["train"]
    model: Any = AutoModelForQuestionAnswering.from_config(small_config("bert"))
    tokenizer = small_tokenizer()
    rows = encode(train, tokenizer, 64)
    has_answer = np.array([bool(one) for one in kind.truths(rows)])
    assert 0 < has_answer.sum() < len(has_answer)
    answered = encode(train.take(np.flatnonzero(has_answer)), tokenizer, 64)
    settle_answers(model, answered, runtime, 0)
    assert model.config.kdnas_threshold is None  # each question is answered
    settle_answers(model, answered, runtime, 0, rows)
    assert model.config.kdnas_threshold == 0  # nothing to choose it by
    settle_answers(model, rows, runtime, 0)
    assert model.config.kdnas_threshold


@pytest.mark.parametrize(("impossible", "threshold"), [(0.0, None), (0.3, 0.0)])
def test_a_checkpoint_from_elsewhere_answers_all_that_have_answers(
    tmp_path: Path, impossible: float, threshold: float | None
) -> None:
    """As the official script of SQuAD 1.1 has it, which knows no other questions."""
    config = small_config("bert", architectures=["BertForQuestionAnswering"])
    AutoModelForQuestionAnswering.from_config(config).save_pretrained(tmp_path / "model")
    small_tokenizer().save_pretrained(tmp_path / "model")
    folder = save_squad(tmp_path, train=20, dev=20, impossible=impossible)
    spec = load_spec("squad2" if impossible else "squad")
    rows = encode(load_data(spec, folder).splits["train"], small_tokenizer(), 64)
    model = load_teacher(str(tmp_path / "model"), spec, scored=[rows]).model
    assert threshold_of(model.config) == threshold


def test_a_checkpoint_from_elsewhere_is_scored_as_it_predicts(tmp_path: Path) -> None:
    config = small_config("bert", architectures=["BertForQuestionAnswering"])
    AutoModelForQuestionAnswering.from_config(config).save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    spec = load_spec("squad2")
    for given in (None, spec):
        assert threshold_of(load_teacher(str(tmp_path), given).model.config) == 0
    file = tmp_path / "config.json"
    plain = json.loads(file.read_text())
    for more, threshold in (
        ({"kdnas_task_type": "question-answering"}, None),  # a student that has none
        ({"kdnas_threshold": None}, None),
        ({"kdnas_threshold": 1.5}, 1.5),
    ):
        file.write_text(json.dumps(plain | more))
        for given in (None, spec):
            assert threshold_of(load_teacher(str(tmp_path), given).model.config) == threshold
