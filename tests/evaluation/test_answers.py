"""What is chosen on held-out rows: the bias of a head that labels words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_config, small_tokenizer
from support.tiny import save_animals
from transformers import AutoModelForTokenClassification

from kdnas.distillation.training import predict
from kdnas.evaluation.answers import settle_answers
from kdnas.runtime.device import Runtime
from kdnas.tasks import TASK_TYPES, encode, load_data, load_spec
from kdnas.tasks.tagging.entities import Tags


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
