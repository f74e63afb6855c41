"""Run folders as a search leaves them, made by hand in a moment; nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna

from kdnas.config import Settings
from kdnas.report.model import VERSION, Report
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture
from kdnas.space.derivation import derive_choices
from kdnas.study.attributes import (
    EPSILON_ATTR,
    INFEASIBLE,
    PROPOSAL_ATTR,
    REPEATS,
    RUNG,
    RUNG_VALUES,
)
from kdnas.study.storage import storage_url

TEACHER = Architecture(6, 12, 384, 1536, "gelu")
HOSTILE = "</script><img src=x onerror=alert(1)>"


def make_run(
    folder: Path,
    *,
    trials: int = 14,
    finished: bool = True,
    task: str = "sst2",
) -> Run:
    """A run with a study and, where it is finished, with all that a report tells.

    Args:
        folder: Its place.
        trials: Evaluated students.
        finished: Whether the controller searched and the winner is distilled and measured, or
            there is nothing yet but trials.
        task: As `--task` names it.
    """
    settings = Settings(teacher=HOSTILE, task=task, out=folder, sampler="lstm")
    run = Run.create(settings)
    url = storage_url(None, run.folder)
    for name, seed in (("kdnas", 0), ("kdnas-random", 3)):
        study = optuna.create_study(storage=url, study_name=name, direction="maximize")
        study.set_user_attr("teacher", f"/somewhere/{HOSTILE}".replace("/img", "img"))
        study.set_user_attr("task", task)
        _fill(study, trials, seed, finished)
    run.log("start", step="search")
    run.log("end", step="search", seconds=12.5)
    if finished:
        report_of(task=task).write(run.folder / "report.json")
        (run.folder / "student").mkdir()
        _write_curves(run.folder, trials)
    return run


def _fill(study: optuna.Study, trials: int, seed: int, finished: bool) -> None:
    choices = derive_choices(TEACHER)
    spaces = {k: optuna.distributions.CategoricalDistribution(v) for k, v in choices.items()}
    for i in range(trials):
        params = {k: v[(3 * i + 7 * seed + n) % len(v)] for n, (k, v) in enumerate(choices.items())}
        size = params["num_hidden_layers"] * params["hidden_size"]
        speedup, loss = 1 + 4000 / size, 0.2 + 100 / (size + 150 + 10 * (i % 3))
        known = {"lstm:proposal": "random"} if i < 4 else {"lstm:proposal": "controller"}
        known |= {EPSILON_ATTR: max(0.0, 1 - i / 5)}
        attributes = {
            **{"params": size * 3000, "macs": size * 90_000, "seconds": 1.5 + i % 3},
            **{"latency_ms": 60 / speedup, "latency_iqr_ms": 0.4, "teacher_latency_ms": 60.0},
            **{"speedup": speedup, "loss": loss, "worker": f"{'ab'[i % 2]}:1:1"},
            **{"reward": (1 - loss) * speedup**0.1},
        }
        assert PROPOSAL_ATTR in known
        trial = optuna.create_trial(
            params=params,
            distributions=spaces,
            value=attributes["reward"],
            user_attrs=attributes,
            system_attrs=known if finished else {},
        )
        study.add_trial(trial)
        if i == 5:
            _fill_the_rest(study, trial, attributes)


def _fill_the_rest(
    study: optuna.Study, trial: optuna.trial.FrozenTrial, attributes: dict[str, Any]
) -> None:
    """Trials that count for nothing: on a rung, beyond a limit, repeated, failed."""
    pruned = optuna.trial.TrialState.PRUNED
    for state, marks in (
        (pruned, {RUNG: 1 / 3, RUNG_VALUES: [0.4]}),
        (pruned, {INFEASIBLE: True}),
        (optuna.trial.TrialState.COMPLETE, {REPEATS: 5}),
        (optuna.trial.TrialState.FAIL, {"error": "ValueError: <b>no</b>"}),
    ):
        scored = RUNG in marks or REPEATS in marks
        known = {k: v for k, v in attributes.items() if scored or k not in ("loss", "reward")}
        study.add_trial(
            optuna.create_trial(
                state=state,
                params=trial.params,
                distributions=trial.distributions,
                value=trial.value if REPEATS in marks else None,
                user_attrs={**known, **marks},
            )
        )


def report_of(**changes: Any) -> Report:
    """A report with everything in it; fields by name, or `student__name` for one of a part."""
    scores = {"accuracy": 0.84, "f1": 0.86}
    shape = Architecture(3, 6, 192, 768, "gelu")
    small = {"architecture": shape, "params": 7_000_000, "macs": 188_000_000, "latency_ms": 12.0}
    controls = ("fine-tuned without KD", "hand-picked, as fast", HOSTILE)
    best: dict[str, Any] = {"trial": 3, "name": shape.label, "architecture": shape, "speedup": 2.5}
    best |= {"score": 0.71, "reward": 0.8}
    found = {"evaluated": 12, "best_reward": 0.8, "hypervolume": 0.5, "seconds": 99.0}
    content: dict[str, Any] = {
        **{"version": VERSION, "kdnas": "0.1.0", "task": "sst2", "dataset": "nyu-mll/glue"},
        **{
            "dataset_config": "sst2",
            "task_type": "classification",
            "dataset_name": "GLUE SST2",
            "evaluation": ["validation"],
        },
        **{"main_score": "accuracy", "verdict": "The student keeps most of its teacher's scores."},
        **{"speedup": 5.0, "speedup_wanted": None, "seconds": {}, "examples": {"validation": 872}},
        "teacher": {
            **{"name": HOSTILE, "architecture": TEACHER, "params": 22_713_986, "scores": scores},
            **{"macs": 1_400_000_000, "latency_ms": 60.0, "speedup": 1.0},
        },
        "student": {
            **{**small, "name": shape.label, "speedup": 5.0, "scores": scores, "trial": 2},
            **{"latency_iqr_ms": 0.4, "intervals": {"accuracy": (0.81, 0.87)}},
        },
        "controls": [
            {**small, "name": name, "speedup": 4.5, "scores": {"accuracy": 0.8, "f1": 0.81}}
            | {"folder": folder}
            for name, folder in zip(controls, ("fine-tuned", "hand-picked", "odd"), strict=True)
        ],
        "search": {
            **{**found, "sampler": "tpe", "objective": "reward", "trials": 12, "distinct": 12},
            **{
                "seen": 12,
                "infeasible": 0,
                "space": 1536,
                "rungs": 1,
                "speedup_wanted": None,
                "fastest": 12.0,
            },
            **{"max_params": None, "alpha": 1.0, "beta": 0.1, "cost": "latency", "seed": 0},
            "seconds_per_trial": {"median": 5.0, "least": 2.5, "most": 30.1},
            "random_search": {**found, "best_reward": 0.69},
            "budgets": [
                {"speedup": 2.0, "search": best, "random_search": {**best, "score": 0.65}},
                {"speedup": 8.0, "search": {**best, "score": 0.5}, "random_search": None},
            ],
        },
        "latency": [
            *(_cell(batch, length) for batch in (1, 8) for length in (16, 64)),
            {"batch": 32, "length": 64, "repeats": 0},
        ],
        "recipe": [{"name": "a", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 1e-4}],
        "environment": {
            **{"device": "cpu", "device_name": "x86_64", "precision": "fp32", "threads": 1},
            **{"torch": "2", "python": "3", "platform": "Linux", "latency_batch": 1},
            **{"latency_length": 128, "latency_runtime": "torch 2", "latency_measured": "alone"},
        },
    }
    for key, value in changes.items():
        part, _, name = key.rpartition("__")
        (content[part] if part else content)[name] = value
    return Report.model_validate(content)


def _cell(batch: int, length: int) -> dict[str, Any]:
    base = 1.0 + batch * length / 100
    return {
        **{"batch": batch, "length": length, "repeats": 20},
        **{"student_ms": base, "student_quartiles_ms": [0.9 * base, 1.2 * base]},
        **{"teacher_ms": 4 * base, "teacher_quartiles_ms": [3.9 * base, 4.3 * base]},
    }


def _write_curves(folder: Path, trials: int) -> None:
    curves: list[dict[str, Any]] = [
        {"name": f"trial {n}", "stage": "mini-KD", "heldout": 0.4, "points": _falling(n)}
        for n in range(trials)
    ]
    curves.append({**curves[0], "name": "hand-picked"})
    for name in ("student", "hand-picked"):
        for stage in ("hidden", "task"):
            curves.append({"name": name, "stage": stage, "heldout": None, "points": _falling(3)})
    text = "\n".join(map(json.dumps, curves))
    (folder / "curves.jsonl").write_text(f'{text}\n{{"name": "cut sho', encoding="utf-8")


def _falling(n: int) -> list[list[float]]:
    return [[step, 1 / (1 + step / (20 + n))] for step in range(1, 200, 20)]
