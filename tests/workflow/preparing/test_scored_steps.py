"""Which scores of an earlier start of a run still count."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kdnas.config import Settings
from kdnas.runs.run_folder import Run
from kdnas.tasks import TaskSpec
from kdnas.workflow.preparing.scored_steps import key_of_scores


def test_scores_of_other_metrics_do_not_count(tmp_path: Path) -> None:
    context: Any = SimpleNamespace(run=Run(tmp_path, Settings()))

    def key(*metrics: str, **entry: Any) -> dict[str, Any]:
        spec = TaskSpec.model_validate(
            {"name": "t", "text": "text", "labels": ["ham", "spam"], "metrics": metrics, **entry}
        )
        return key_of_scores(context, "floor", {"seed": 0}, spec, ["validation"])

    def keep(key: dict[str, Any], *names: str) -> None:
        context.run.step("floor", key).write({"scores": dict.fromkeys(names, 0.5)})

    assert key("f1") == {"seed": 0, "metrics": ["f1 (spam)"]}
    keep({"seed": 0}, "accuracy", "f1 (spam)")  # as of earlier versions
    assert key("accuracy", "f1") == {"seed": 0}
    assert key("f1", "accuracy")["metrics"] == ["f1 (spam)", "accuracy"]
    assert key("accuracy", "f1", positive="ham")["metrics"] == ["accuracy", "f1 (ham)"]
    assert key("accuracy", "f1", benchmark="B", positive="ham")["positive"] == "ham"
    keep({"seed": 0}, "accuracy", "f1")
    assert key("accuracy", "f1", benchmark="B") == {"seed": 0}
    context.run.step("floor", {"seed": 0}).write(None)
    assert key("mcc") == {"seed": 0}, "of a type without such scores"
    found = key("accuracy", "mcc")
    keep({**found, "metrics": ["accuracy"]}, "accuracy")
    assert not context.run.step("floor", found).done()
