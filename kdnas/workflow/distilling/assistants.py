"""Assistants: students that teach in the teacher's place, each of them the next one.

Mirzadeh et al. 2020, Improved Knowledge Distillation via Teacher Assistant; of pruned students, the
path of Zhang et al. 2022, MiniDisc (there called MaxiDisc).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedModel

from kdnas.config.assistants import AUTO, as_given, in_a_path, sparsity_of, trial_of
from kdnas.errors import KdnasError
from kdnas.files.artifact import Artifact
from kdnas.recipes.full import RecipeRun
from kdnas.runs.context import Context
from kdnas.runs.student import places_of_trial
from kdnas.runtime.console import say
from kdnas.space import NOT_PRUNED, Candidate, Pruning
from kdnas.space.candidate import TEACHERS_VOCABULARY, shape_of_assistant
from kdnas.students.checkpoint import student_artifact
from kdnas.study.whole import open_study_of
from kdnas.study.winner import Winner, choose_winner
from kdnas.teachers.head import to_standard_units
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.records import record_of

FOLDER = "assistants"


@dataclass(frozen=True)
class Assistant:
    """A student that teaches another one.

    Attributes:
        word: What it is, as in `kdnas.config.assistants`.
        folder: Its checkpoint, made or not, in the run folder.
        candidate: What is trained; None of one that is found out, or copied.
        trial: Of which its training goes on; None where it begins afresh.
        source: The checkpoint that is copied, if any.
    """

    word: str
    folder: Path
    candidate: Candidate | None = None
    trial: int | None = None
    source: Path | None = None

    @property
    def name(self) -> str:
        """What a person gave, or nearly so: of a shape no more than its layers and width."""
        return as_given([self.word])

    @property
    def step(self) -> str:
        """What the step that trains it is called."""
        return step_of(self.folder, self.trial)

    @property
    def is_pruned(self) -> bool:
        """Whether it is pruned for this, to a sparsity."""
        return sparsity_of(self.word) is not None

    @property
    def title(self) -> str:
        """What a person reads in a plan."""
        if self.candidate is None:
            return "of several sparsities in one network"
        named = "" if self.trial is None else f"{self.word}, "
        return f"{named}{self.candidate.label}"


def step_of(folder: Path, trial: int | None = None) -> str:
    """The step that trains an assistant."""
    return f"distil {folder.name if trial is None else f'assistant-trial-{trial}'}"


def assistants_of(context: Context, candidate: Candidate) -> list[Assistant]:
    """Those of a candidate, in the order in which they are made; each is taught by the former.

    They read the teacher's own vocabulary. Their folders are named by all that taught them.

    Raises:
        KdnasError: The run has no such trial.
    """
    found = list[Assistant]()
    for i, word in enumerate(candidate.assistants):
        number, share, shape = trial_of(word), sparsity_of(word), shape_of_assistant(word)
        folder = _folder(context, candidate, candidate.assistants[: i + 1])
        before = candidate.assistants[:i]
        taught = replace(candidate, vocabulary=TEACHERS_VOCABULARY, assistants=before)
        if number is not None:
            found.append(_of_trial(context, number))
        elif share is not None:
            pruning = Pruning(candidate.pruning.method, share)
            found.append(Assistant(word, folder, replace(taught, pruning=pruning)))
        elif shape is not None:
            own = replace(taught, architecture=shape, pruning=NOT_PRUNED)
            found.append(Assistant(word, folder, own))
        else:
            source = None if word == AUTO else Path(word)
            found.append(Assistant(word, folder, source=source))
    return found


def copy_checkpoint(prepared: Prepared, source: Path, folder: Path) -> None:
    """Keeps an assistant that exists already, so that the run needs its folder no more."""
    artifact = copied_artifact(source, folder)
    if artifact.done():
        return
    teacher = load_teacher(str(source), prepared.inputs.data.spec)
    say(f"{folder.name}: {source}")
    student_artifact(folder, artifact.key, teacher.tokenizer).write(teacher.model)


def copied_artifact(source: Path, folder: Path) -> Artifact[PreTrainedModel]:
    """The copy of a checkpoint."""
    return student_artifact(folder, {"copied": str(source)})


def taught_by_assistant(prepared: Prepared, job: RecipeRun, candidate: Candidate) -> RecipeRun:
    """What a candidate is trained with: its last assistant, which is made, as the teacher."""
    if not candidate.assistants:
        return job
    folder = assistants_of(prepared.context, candidate)[-1].folder
    teacher = assistant_teacher(prepared, folder)
    resources = replace(job.resources, task_teacher=teacher, outputs=None)
    return replace(job, resources=resources, assisted=True)


def assistant_teacher(prepared: Prepared, folder: Path) -> Teacher:
    """A student of the run as a teacher, in standard units; a pruned one in its dense form."""
    teacher = load_teacher(str(folder), prepared.inputs.data.spec)
    to_standard_units(teacher.model, prepared.teacher.scale)
    teacher.scale = prepared.teacher.scale
    teacher.model.to(prepared.context.runtime.device)  # type: ignore[arg-type]
    return teacher


def _folder(context: Context, candidate: Candidate, words: Sequence[str]) -> Path:
    """`RUN/assistants/assistant-ziplm-60-80` of 80%, taught by 60%."""
    parts = [in_a_path(words)]
    pruned = [word for word in words if word == AUTO or sparsity_of(word) is not None]
    parts = [candidate.pruning.method] * bool(pruned) + parts
    # Which sparsities are tried depends on what the one that is found will teach.
    parts += [candidate.pruning.target.strip("%")] * (AUTO in words)
    return context.run.folder / FOLDER / "-".join(("assistant", *parts))


def _of_trial(context: Context, number: int) -> Assistant:
    """A trial's student: where it was distilled already, else where it will be."""
    run, settings = context.run, context.settings
    if not settings.searches:
        raise KdnasError(
            f"invalid --assistants trial-{number}: trials are those of a search, and this is none; "
            "give the folder of a checkpoint, such as OTHER_RUN/student"
        )
    try:
        winner = Winner.of(choose_winner(open_study_of(run), number=number), settings)
    except KdnasError as error:
        raise KdnasError(f"invalid --assistants trial-{number}: {error}") from None
    record = record_of(settings, winner.candidate, number)
    places = places_of_trial(run.folder, number)
    folder = next((at for at in places if student_artifact(at, record).done()), places[0])
    return Assistant(f"trial-{number}", folder, winner.candidate, number)
