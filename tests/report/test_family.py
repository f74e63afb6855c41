"""The table of a family of pruned students: terminal, page, card, and what was exported since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_runs import report_of

from kdnas.files.artifact import Artifact, content_of
from kdnas.report.card import model_card
from kdnas.report.family import family_lines, family_of, family_section, with_exports
from kdnas.report.model import Kept, PrunedFacts, Report
from kdnas.space import PrunedArchitecture


def pruned_report(asked: float, params: int) -> Report:
    """Of a student that was pruned to a speed-up."""
    report = report_of(speedup=asked + 0.1)
    sizes: dict[str, Any] = {
        "params": {"sliced": params, "dense": 100_000},
        "params_without_embeddings": {"sliced": params // 2, "dense": 90_000},
        "macs": {"sliced": 7, "dense": 9},
    }
    facts = PrunedFacts(
        method="ziplm", asked=f"{asked:g}x", heads=[1, 2], neurons=[8, 0], macs_length=16, **sizes
    )
    shape = PrunedArchitecture((1, 2), 32, (8, 0), "gelu")
    changes = {"pruned": facts, "params": params, "architecture": shape}
    student = report.student.model_copy(update=changes)
    kept = Kept(share=0.9, interval=(0.8, 1.0))
    return report.model_copy(update={"student": student, "speedup_wanted": asked, "kept": kept})


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Of the faster of two students, the other of which was exported."""
    slow, fast = pruned_report(2, 80_000), pruned_report(4, 40_000)
    export = tmp_path / "family" / "2x" / "export"
    export.mkdir(parents=True)
    times = {("teacher", "PyTorch"): 9, ("teacher", "ONNX"): 6, ("student", "ONNX"): 2}
    models = [
        {"model": model, "runtime": runtime, "latency": timed_at_own_point_and_others(ms)}
        for (model, runtime), ms in times.items()
    ]
    (export / "export.json").write_text(json.dumps({"models": models}))
    family = family_of({"family/2x": slow, ".": fast})
    members = with_exports(family, tmp_path, fast.environment.point)
    return fast.model_copy(update={"family": members})


def timed_at_own_point_and_others(ms: int) -> list[dict[str, Any]]:
    """Entries of export.json; at no other point is a student faster than its teacher."""
    return [
        {"batch": 1, "length": 64, "ms": 5},
        {"batch": 1, "length": 128, "ms": ms},
        {"batch": 32, "length": 128, "ms": 5},
    ]


def test_a_row_says_of_which_file_a_speed_is(report: Report) -> None:
    slow, fast = report.family
    assert slow.exported == {"ONNX": 3.0} and fast.exported == {}
    assert (slow.params, slow.params_without_embeddings) == (80_000, 40_000)
    section = family_section(report)
    assert section is not None and section.table is not None
    head, rows = list(section.table.head), section.table.rows
    first = dict(zip(head, rows[0], strict=True))
    assert (first["asked"], first["PyTorch"], first["ONNX"], first["int8"]) == (
        *("2x", "2.10x", "3.00x", "-"),
    )
    assert first["kept"] == "0.9000 (0.800 to 1.000)" and first["folder"] == "family/2x"
    assert first["without embeddings"] == "40k"
    assert set(slow.controls) <= set(head)
    again = Report.model_validate_json(report.model_dump_json())
    assert again.family == report.family


def test_speeds_of_files_are_of_the_batch_and_length_of_the_run(
    report: Report, tmp_path: Path
) -> None:
    [other, _] = with_exports(report.family, tmp_path, (32, 128))
    assert other.exported == {"ONNX": 1.0}
    [never, _] = with_exports(report.family, tmp_path, (1, 256))
    assert never.exported == {}


def test_files_of_an_earlier_student_have_no_say(report: Report, tmp_path: Path) -> None:
    home = tmp_path / "family" / "2x"
    student: Artifact[str] = Artifact(
        home / "student",
        {"seed": 0},
        load=lambda folder: (folder / "a").read_text(),
        save=lambda text, folder: (folder / "a").write_text(text),
    )
    for text, found in (("first", {"ONNX": 3.0}), ("second", {})):
        shutil.rmtree(home / "student", ignore_errors=True)
        student.write(text)
        if text == "first":
            change_export(home, student=content_of(home / "student"))
        [one, _] = with_exports(report.family, tmp_path, (1, 128))
        assert one.exported == found


def test_a_black_box_teachers_files_are_timed_beside_the_base(
    report: Report, tmp_path: Path
) -> None:
    home = tmp_path / "family" / "2x"
    models = json.loads((home / "export" / "export.json").read_text())["models"]
    named = {"teacher": "student base"}
    change_export(
        home, models=[{**one, "model": named.get(one["model"], one["model"])} for one in models]
    )
    [one, _] = with_exports(report.family, tmp_path, (1, 128))
    assert one.exported == {"ONNX": 3.0}


def change_export(home: Path, **changes: Any) -> None:
    file = home / "export" / "export.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_terminal_and_card_have_the_table(report: Report) -> None:
    lines = family_lines(report)
    assert len(lines) == 4 and max(map(len, lines)) <= 80
    assert "2.10x" in lines[2] and "3.00x" in lines[2] and "90.0%" in lines[2]
    card = model_card(report)
    assert "## The family" in card and card.count("| family/2x |") == 1
    alone = report.model_copy(update={"family": []})
    assert family_lines(alone) == [] and family_section(alone) is None
    assert "## The family" not in model_card(alone)


def test_speeds_are_said_to_be_of_the_runtime_that_was_timed(report: Report) -> None:
    changes = {"latency_runtime": "onnxruntime 1.20.0"}
    environment = report.environment.model_copy(update=changes)
    timed = report.model_copy(update={"environment": environment})
    for one, words, other in ((report, "PyTorch", "ONNX Runtime"), (timed, "ONNX Runtime", "")):
        section = family_section(one)
        assert section is not None and section.table is not None
        assert section.table.head[2] == words and f" {words}: the sliced student" in section.told
        assert words in family_lines(one)[1] and max(map(len, family_lines(one))) <= 80
        _, _, card = model_card(one).partition("## The family")
        told = card.partition("## Training")[0]
        assert f"{words}, multiply-accumulates" in told and f"the teacher in {words};" in told
        assert not other or other not in told
    assert "PyTorch" not in told and "PyTorch" not in "".join(family_lines(timed))


def test_older_reports_are_read(report: Report) -> None:
    content = json.loads(report.model_dump_json())
    for one in content["family"]:
        for name in ("name", "exported", "macs", "params_without_embeddings", "interval", "kept"):
            del one[name]
    old = Report.model_validate(content)
    section = family_section(old)
    assert section is not None and section.table is not None and "-" in section.table.rows[0]


def test_a_student_that_misses_its_speedup_is_marked_in_every_table() -> None:
    slow = pruned_report(1.5, 80_000).model_copy(update={"speedup": 1.4})
    fast = pruned_report(16, 40_000).model_copy(update={"speedup": 15.9})
    told = fast.model_copy(update={"family": family_of({"family/1.5x": slow, ".": fast})})
    section = family_section(told)
    assert section is not None and section.table is not None
    assert [row[0] for row in section.table.rows] == ["1.5x, missed", "16x, missed"]
    lines = family_lines(told)
    assert lines[2].startswith("1.5x, missed  ") and lines[3].startswith("16x, missed  ")
    assert max(map(len, lines)) <= 80
    assert "| 1.5x, missed |" in model_card(told)
