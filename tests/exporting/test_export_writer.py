"""kdnas export of a student that writes: files for ONNX Runtime, and code that runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, Said
from support.tiny_writers import END, save_writer, writers_config, writers_tokenizer
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.exporting.export import export
from kdnas.exporting.readme import table_lines
from kdnas.measure import latency
from kdnas.runs.run_folder import Run, dump
from kdnas.students.checkpoint import load_student, student_artifact

TEXTS = [f"the {a} {n} {v} the {b} bank" for a in ("good", "bad") for b in ("slow", "quick")
         for n in ("cat", "film", "city") for v in ("likes", "finds")]  # fmt: skip
# Runs in a process where what an exported folder must not need cannot be imported.
ELSEWHERE = "import sys\nsys.modules |= dict.fromkeys(('torch', 'kdnas', 'onnx'))\n"


@pytest.fixture(autouse=True)
def brief_timing() -> Iterator[None]:
    few = {"FEWEST": 2, "FEWER_WRITTEN": 100, "WARM_UP": 1}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in few.items():
            patch.setattr(latency, name, value)
        yield


def student_of(model_type: str) -> PreTrainedModel:
    """A small writer whose texts depend on what it reads."""
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(writers_config(model_type)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(12)
    model.config.prefix = "the "
    model.generation_config.update(max_new_tokens=9, num_beams=3, no_repeat_ngram_size=2)
    return model


def written(model: PreTrainedModel) -> list[str]:
    """What it writes without beams."""
    tokenizer, texts = writers_tokenizer(begins=True), []
    for text in TEXTS:
        given = tokenizer(["the " + text], return_tensors="pt")
        ids = model.generate(**given, num_beams=1)
        texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return texts


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose student is always right: its data are what it writes."""
    student, data = student_of("bart"), tmp_path / "data" / "captions"
    data.mkdir(parents=True)
    targets = written(student)
    assert len(set(targets)) > 8
    for split in ("train", "val"):
        for ending, lines in (("en", TEXTS), ("de", targets)):
            (data / f"{split}.{ending}").write_text("\n".join(lines) + "\n")
    entry = "name: captions\ntype: sequence-to-sequence\ntext: en\nlabel: de\n"
    (tmp_path / "captions.yaml").write_text(entry)
    folder = tmp_path / "run"
    student_artifact(folder / "student", {"trial": 3}, writers_tokenizer(begins=True)).write(
        student
    )
    given: dict[str, Any] = {**QUICK, "latency_length": 16, "max_length": 32}
    settings = Settings(
        teacher=str(save_writer(tmp_path / "bart")),
        task=str(tmp_path / "captions.yaml"),
        data_dir=tmp_path / "data",
        **given,
    )
    (folder / "config.yaml").write_text(dump(settings))
    return Run.open(folder)


@pytest.mark.slow
def test_it_writes_without_torch(run: Run) -> None:
    found = export(run, ["onnx", "int8"], max_drop=1)
    target = Path(found.pop("folder"))
    summary = json.loads((target / "export.json").read_text())
    assert summary == found and not list(target.glob("*.safetensors"))
    assert summary["rows_scored"] == {"validation": len(TEXTS)}
    parts = ("encoder", "decoder", "decoder_with_past")
    assert summary["files"] == {
        "onnx": [f"onnx/{part}_model.onnx" for part in parts],
        "int8": [f"onnx/{part}_model_int8.onnx" for part in parts],
    }
    assert {path.name for path in (target / "onnx").iterdir()} == {
        Path(file).name for files in summary["files"].values() for file in files
    }
    writing = summary["writing"]
    assert writing["max_new_tokens"] == 9 and writing["ends"] == [END]
    assert (writing["no_repeat"], writing["beams_of_checkpoint"]) == (2, 3)
    assert (writing["prefix"], writing["texts_compared"]) == ("the ", len(TEXTS))

    rows = {(row["model"], row["runtime"]): row for row in summary["models"]}
    assert set(rows) == {("teacher", "PyTorch"), ("teacher", "ONNX")} | {
        ("student", runtime) for runtime in ("PyTorch", "ONNX", "int8")
    }
    for runtime in ("PyTorch", "ONNX"):
        assert rows["student", runtime]["scores"]["bleu"] == pytest.approx(100)
    lost = rows["student", "int8"]["scores"]["bleu"] - 100
    assert summary["int8_change"]["bleu"] == pytest.approx(lost, abs=1e-4)
    whole = sum((target / file).stat().st_size for file in summary["files"]["onnx"])
    assert rows["student", "ONNX"]["bytes"] == whole > rows["student", "int8"]["bytes"]
    assert all(len(row["latency"]) == 2 for row in rows.values())
    lines, card = table_lines(summary), (target / "README.md").read_text()
    assert all(len(line) <= 80 for line in lines)
    assert "searches with 3 beams" in card and "for 24 evaluation rows" in card
    assert "each with 32 new tokens written" in card and f"int8 changes bleu by {lost:+.4f}" in card

    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = re.sub(r"texts = .*", f"texts = {TEXTS!r}", code)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE + code],
        cwd=target,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr(written(load_student(run.folder / "student")))


@pytest.mark.slow
def test_int8_alone_and_a_limit_on_what_it_loses(run: Run) -> None:
    """In BLEU's own range: 0.01 is one point."""
    with pytest.raises(KdnasError, match=r"int8 lowers bleu from 100\.0000 to \d+\.\d+, more than"):
        export(run, "int8", timing=False, max_drop=1e-6)
    assert not (run.folder / "export").exists()
    summary = export(run, "int8", timing=False, max_drop=1)
    folder = Path(summary["folder"])
    assert all(path.stem.endswith("_int8") for path in (folder / "onnx").iterdir())
    assert len(list((folder / "onnx").iterdir())) == 3


def test_the_command_says_what_was_checked(run: Run, command: Said) -> None:
    code, _ = command("export", run.folder, "--format", "onnx", "--no-timing")
    assert code == 0, command.all
    card = (run.folder / "export" / "README.md").read_text()
    assert "\nScores are of 24 rows of validation.\n" in card
    assert "ONNX writes the same texts as PyTorch for 24 evaluation rows" in " ".join(
        command.all.split()
    )
