"""Students trained with several seeds: each an artifact; the best on selection rows ships."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from conftest import Said

from kdnas.files.artifact import content_of, key_of
from kdnas.report.model import Seeds
from kdnas.workflow.distilling import choose
from kdnas.workflow.distilling.measure import Control

NAMES = ("student", "fine-tuned", "hand-picked")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def prefer(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    """The student whose folder ends in these names alone is right on the held-out rows."""

    def scored(prepared: object, one: Control) -> dict[str, Any]:
        right = int(one.folder.parts[-len(parts) :] == parts)
        part = {"predicted": [right] * 40, "truth": [1] * 40}
        return {"score": float(right), "rows": {"validation": part}}

    monkeypatch.setattr(choose, "_on_held_out_rows", scored)


def report_in(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "report.json").read_text())
    return found


@pytest.mark.slow
def test_seeds_may_be_added_and_the_best_ships(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, control = content_of(run / "student"), content_of(run / "controls" / "fine-tuned")
    prefer(monkeypatch, "seeds", "1", "student")
    assert command("resume", run, "--final-seeds", 2) == (0, "")
    assert "distil the student, seed 1" in command.all and "student seed 1: distil" in command.all
    assert "seed 1 counts; 7 held-out rows: 0.0000 (seed 0), 1.0000 (seed 1)" in command.all
    seeds = run / "seeds" / "1"
    assert {path.name for path in seeds.iterdir()} == set(NAMES)
    for name in NAMES:
        assert (key_of(seeds / name) or {})["seed"] == 1
    assert content_of(run / "controls" / "fine-tuned") == control  # not trained again
    assert content_of(run / "student") == content_of(seeds / "student") != own
    assert content_of(run / "controls" / "searched") == own

    report = report_in(run)
    for model in (report["student"], *report["controls"]):
        each = [scores["accuracy"] for scores in model["seeds"]["scores"].values()]
        assert len(each) == 2
        assert model["seeds"]["mean"]["accuracy"] == pytest.approx(fmean(each), abs=1e-5)
        assert model["seeds"]["deviation"]["accuracy"] == pytest.approx(stdev(each), abs=1e-5)
    assert report["student"]["seeds"]["shown"] == 1
    assert report["student"]["scores"] == report["student"]["seeds"]["scores"]["1"]
    assert "Over 2 seeds its accuracy is " in report["verdict"]
    for text in (command.all, (run / "student" / "README.md").read_text()):
        assert "mean ± std of 2 seeds" in text
    assert "mean ± std of 2 seeds" in (run / "report.html").read_text()

    shutil.rmtree(seeds / "fine-tuned")
    command.all = ""
    assert command("resume", run) == (0, "")  # trains what is lost, and nothing else
    assert command.all.count("fine-tuned seed 1: training") == 1
    assert "distilling" not in command.all and "fine-tuned: training" not in command.all
    assert content_of(run / "student") == content_of(seeds / "student")
    assert command("resume", run, "--final-seeds", 1) == (0, "")
    assert content_of(run / "student") == own and not (run / "controls" / "searched").exists()
    assert report_in(run)["student"]["seeds"] is None


@pytest.mark.slow
def test_another_trial_is_distilled_with_several_seeds_too(run: Path, command: Said) -> None:
    other = 1 - report_in(run)["student"]["trial"]
    given = ("distill", run, "--trial", other, "--final-seeds", 2)
    assert command(*given) == (0, "")
    home = run / "students" / f"trial-{other}"
    report = report_in(home)
    assert set(report["student"]["seeds"]["scores"]) == {"0", "1"}
    shown = report["student"]["seeds"]["shown"]
    place = home / "seeds" / "1" / "student" if shown else home / "student"
    assert content_of(home / "student") == content_of(place)
    before = content_of(home / "student")
    command.all = ""
    assert command(*given) == (0, "")
    assert "distilling" not in command.all and content_of(home / "student") == before


def test_mean_and_spread_are_of_the_metrics_that_all_seeds_have() -> None:
    seeds = Seeds.of({0: {"accuracy": 0.8, "mcc": 0.6}, 3: {"accuracy": 0.9}}, 3)
    assert seeds.mean == {"accuracy": 0.85} and seeds.deviation == {"accuracy": 0.0707106781}
    assert seeds.told("accuracy") == "0.8500 ± 0.0707" and seeds.told("mcc") == "-"
