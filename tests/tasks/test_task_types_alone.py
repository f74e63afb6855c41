"""Nothing outside kdnas/tasks asks which kind a task is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kdnas

# `testing` makes teachers for tests and may name a class of transformers.
ROOMS = ("tasks", "testing")
FORBIDDEN = [
    r"is_regression",
    r"""["'](regression|classification)["']""",
    r"ForSequenceClassification",
    r"text-classification",
    r"num_labels\s*[=!<>]=?\s*1\b",
    r"shape\[-1\]\s*[=!]=\s*1\b",
    r"""dtype\.kind""",
    r"""["'](label|score|probabilities)["'] (not )?in\b""",
    r"labels\.is_floating_point|labels\.isnan|isnan\(labels",
    r"UNLABELLED|(?<![\w.])-100\b",
    r"logits\.argmax|argmax\(logits",
    r"problem_type\s*[=!]=",
    r"isinstance\(.*(TaskType|Classification|Regression)\)",
    r"(task_type|spec\.type|task\.name)\s*[=!]=\s*[\"']",
]


def test_no_other_room_asks_which_kind_a_task_is() -> None:
    root = Path(kdnas.__file__).parent
    asked = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root).parts[0] not in ROOMS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(re.search(pattern, line) for pattern in FORBIDDEN)
    ]
    assert not asked, "\n".join(asked)


def test_reading_a_tasks_data_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; import kdnas.tasks.load, kdnas.tasks.registry, kdnas.evaluation.texts; "
        "print([m for m in ('torch', 'transformers', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
