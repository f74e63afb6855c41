"""A run's steps one at a time, for tests and benchmarks: each is taken when it is first needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.study import Study

from kdnas.config import Settings
from kdnas.evaluation.scores import evaluate_model
from kdnas.files.curves import Curves
from kdnas.recipes.full import RecipeRun
from kdnas.recipes.run_data import RunData
from kdnas.recipes.stages import StageResources, prepare_stage_resources
from kdnas.report import Report
from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime
from kdnas.scoring.costs import CostMeter
from kdnas.scoring.evaluate import Evaluate
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.scorer import Scorer
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.teachers.load import Teacher
from kdnas.workflow import pipeline
from kdnas.workflow.distilling import distil, measure
from kdnas.workflow.preparing import inputs
from kdnas.workflow.preparing.prepare import Prepared, prepare, prepare_full_kd, prepare_teacher
from kdnas.workflow.preparing.selection_rows import for_students
from kdnas.workflow.searching import search

# What decides which rows and teachers stages read, beside the kinds of rows that they name.
OF_ROWS = (
    *("transfer_rows", "transfer_methods", "transfer_tasks"),
    *("mask_probability", "general_teacher"),
)


class Stepwise:
    """A run, its steps as methods and what they made as attributes.

    Args:
        run: Its folder and settings.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._read: dict[str, StageResources] = {}

    @property
    def settings(self) -> Settings:
        """Of the run."""
        return self.run.settings

    @cached_property
    def runtime(self) -> Runtime:
        """Device and precision."""
        return open_context(self.run).runtime

    @property
    def context(self) -> Context:
        """What steps work with."""
        return Context(self.settings, self.run, self.runtime)

    @cached_property
    def inputs(self) -> inputs.Inputs:
        """Data and space."""
        return inputs.read_inputs(self.context)

    @property
    def data(self) -> RunData:
        """The task's rows and the corpus."""
        return self.inputs.data

    @property
    def space(self) -> SearchSpace:
        """The candidates."""
        return self.inputs.space

    @cached_property
    def teacher(self) -> Teacher:
        """Fine-tuned."""
        given = inputs.load_given_teacher(self.context, self.inputs)
        return prepare_teacher(self.context, self.inputs, given)

    @cached_property
    def prepared(self) -> Prepared:
        """Teacher, signal and scorer."""
        given = self.__dict__.get("teacher")
        given = given or inputs.load_given_teacher(self.context, self.inputs)
        return prepare(self.context, self.inputs, given)

    @property
    def mini(self) -> MiniKD:
        """Trains candidates briefly."""
        return self.prepared.mini

    @property
    def scorer(self) -> Scorer:
        """Scores candidates."""
        return self.prepared.scorer

    @property
    def meter(self) -> CostMeter:
        """Measures students beside the teacher."""
        return self.prepared.meter

    @property
    def evaluate(self) -> Evaluate:
        """Gives candidates their costs, scores and rewards."""
        return self.prepared.evaluate

    @cached_property
    def full(self) -> RecipeRun:
        """Takes students through the recipe; needs no signal for the proxy."""
        return prepare_full_kd(self.context, self.inputs, self.teacher)

    def full_by(self, settings: Settings) -> RecipeRun:
        """`full` by other settings, whose rows are made once for all that read the same.

        The rows that it holds out are the run's, whatever the seed.
        """
        kinds = sorted({(stage.data, stage.is_general) for stage in settings.full_stages})
        key = str((kinds, [getattr(settings, name) for name in OF_ROWS]))
        if key not in self._read:
            of_run = settings.model_copy(update={"seed": self.settings.seed})
            data = for_students(self.data, self.settings)
            given = (of_run, self.run, data, self.teacher, self.runtime)
            self._read[key] = prepare_stage_resources(*given)
        whole, record = self.space.teacher, Curves(self.run.folder).record
        return RecipeRun(settings, self.run, self.runtime, self._read[key], whole, record)

    def check(self) -> None:
        """Refuses bad input."""
        inputs.check_inputs(self.context, self.inputs)
        inputs.load_given_teacher(self.context, self.inputs)

    def check_limits(self) -> None:
        """Refuses limits out of reach."""
        inputs.check_limits(self.context, self.inputs)

    def open_study(self, control: str | None = None) -> Study:
        """The run's study, or that of a control."""
        return search.open_run_study(self.context, self.space, control)

    def search(self) -> None:
        """Step 4."""
        study = self.open_study()
        search.search(self.prepared, study)

    def random_search(self) -> Study | None:
        """Random search beside it."""
        return search.random_search(self.prepared, self.open_study())

    def work(self) -> None:
        """What a worker does."""
        pipeline.work_on_study(self.context, check=False)

    def distil(self, architecture: Architecture, trial: int | None, folder: Path) -> None:
        """Step 5."""
        distil.distil(self.prepared, Candidate(architecture), trial, folder)

    def fine_tune(self, architecture: Architecture, folder: Path) -> None:
        """The control on labels alone."""
        training = distil.FullTraining(
            Candidate(architecture), folder, step="control", distilled=False
        )
        training.fill(self.prepared)

    def measured(self, architecture: Architecture, folder: Path) -> dict[str, Any]:
        """Step 6."""
        return measure.measured(self.prepared, Candidate(architecture), folder)

    def score(self, model: Any) -> dict[str, float]:
        """A model's official scores; a regression's in the labels' unit."""
        exact, teacher = self.runtime.exact, self.teacher
        return evaluate_model(
            *(model, self.data.evaluation, self.data.spec, exact, teacher.pad_id, teacher.scale)
        )

    def everything(self) -> Report:
        """All seven steps."""
        return pipeline.find_student(self.context)
