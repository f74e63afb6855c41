"""What options must be beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kdnas.config.assistants import problem_of_assistants
from kdnas.config.black_box import problem_of_black_box
from kdnas.config.choices import AGREEMENT, DIMENSIONS, RECIPE, SHAPE, VOCABULARY
from kdnas.config.groups import AGAINST_A_SHAPE, AGAINST_PRUNING, PLAIN_RECIPE, default_of
from kdnas.config.names import split
from kdnas.config.recipe import LEAST_EPOCHS, problem_of
from kdnas.config.values import Values
from kdnas.config.vocabulary import TEACHERS, problem_of_names
from kdnas.runtime.shown import shown


def problem_of_settings(settings: Values) -> str | None:
    """What contradicts what among a run's options, in words; None: nothing does."""
    return next(filter(None, _problems(settings)), None)


def _problems(settings: Values) -> Iterator[str | None]:
    yield _of_head(settings)
    yield _of_fine_tuning(settings)
    yield _of_shape(settings)
    yield _of_pruning(settings)
    yield _of_assistants(settings)
    yield _of_epochs(settings)
    yield _of_rungs(settings)
    yield problem_of_names(settings.vocabulary_names)
    yield _of_offer(settings)
    yield _of_masks(settings)
    yield problem_of(settings.stages, settings.corpus)
    yield problem_of_black_box(dict(settings), settings.full_stages)
    yield _of_stages(settings)


def _of_head(settings: Values) -> str | None:
    if not settings.fresh_head or not (settings.label_map or settings.teacher_as_is):
        return None
    other = "label-map" if settings.label_map else "teacher-as-is"
    return f"--fresh-head and --{other} contradict each other: give one of them"


def _of_fine_tuning(settings: Values) -> str | None:
    if not (settings.fine_tune and settings.teacher_as_is):
        return None
    return "--fine-tune and --teacher-as-is contradict each other: give one of them"


def _of_shape(settings: Values) -> str | None:
    for name in AGAINST_A_SHAPE if settings.architecture is not None else ():
        if getattr(settings, name):
            option = name.replace("_", "-")
            return (
                f"--{option} and --architecture contradict each other: the shape is given, and "
                f"nothing is chosen; leave --{option} out"
            )
    return None


def _of_pruning(settings: Values) -> str | None:
    """What does not go with pruned students."""
    options = ("sparsity", "speedup", "speedups")
    asked = [name for name in options if getattr(settings, name) not in (None, ())]
    further = [name for name in asked if name != "speedup"]
    further += ["kept-layers"] * (settings.kept_layers is not None)
    given = f"--pruned {settings.pruned}"
    if settings.searches_pruned:
        given = f"--search-over {settings.search_over}"
    elif settings.pruned is None:
        if settings.speedups:
            told = ",".join(f"{one:g}" for one in settings.speedups)
            return (
                f"invalid --speedup {told}: several speed-ups need --pruned, such as --pruned "
                "ziplm; without it give one"
            )
        told = "goes with kdnas distill --pruned; a search chooses pruned students itself"
        return f"--{further[0]} {told}" if further else None
    if not settings.inherit:
        return (
            f"--no-inherit and {given} contradict each other: a pruned student has weights of its "
            "teacher; leave --no-inherit out"
        )
    if settings.searches_pruned:
        return _of_a_search(further[0], given) if further else None
    for name in AGAINST_PRUNING:
        if value := getattr(settings, name):
            option = f"--{name.replace('_', '-')} {value}"
            return f"{option} and {given} contradict each other: leave one of them out"
    return _of_targets(settings, asked)


def _of_a_search(option: str, given: str) -> str:
    """Why a search over pruned students takes no option that says how far one of them is pruned."""
    chosen = "how far to prune, from `space: {sparsity: [...]}`"
    if option == "kept-layers":
        chosen = "how many layers stay"
    return (
        f"--{option} and {given} contradict each other: a search chooses {chosen}; leave "
        f"--{option} out"
    )


def _of_assistants(settings: Values) -> str | None:
    """What is wrong with who teaches a student; a search has one teacher."""
    words = settings.assistant_words
    if not words:
        return None
    wrong = f"invalid --assistants {settings.assistants}"
    if settings.searches:
        return (
            f"{wrong}: a search has none; give them for one student, with kdnas distill RUN "
            "--trial N, or with --pruned or --architecture"
        )
    if settings.speedups:
        return f"{wrong}: in a family, students are pruned from each other; give one --speedup"
    return problem_of_assistants(words, settings.sparsity, pruned=settings.pruned is not None)


def _of_targets(settings: Values, asked: Sequence[str]) -> str | None:
    """How far a student is pruned, as the options named say."""
    if len(asked) != 1:
        found = " and ".join(f"--{name}" for name in asked) or "neither"
        return (
            f"--pruned {settings.pruned} needs --sparsity, such as 0.8, or --speedup, such as 4 or "
            f"2,4,8; got {found}"
        )
    if settings.speedup is not None and settings.speedup <= 1:
        return f"invalid --speedup {settings.speedup:g}: expected a number above 1"
    if list(settings.speedups) != sorted(set(settings.speedups)):
        told = ",".join(f"{one:g}" for one in settings.speedups)
        return f"invalid --speedup {told}: give each once, the lowest first"
    if settings.speedups and settings.vocabulary != default_of("vocabulary"):
        return (
            f"--vocabulary {settings.vocabulary} and several speed-ups contradict each other: each "
            "student is pruned from the one before it; give one --speedup"
        )
    return None


def _of_epochs(settings: Values) -> str | None:
    if not 0 < settings.epochs < LEAST_EPOCHS:
        return None
    return f"invalid --epochs {settings.epochs}: expected 0, or {LEAST_EPOCHS} or more"


def _of_rungs(settings: Values) -> str | None:
    if not settings.scores_agreement or settings.rungs == 1:
        return None
    return (
        f"invalid --rungs {settings.rungs}: --mini-score {AGREEMENT} compares whole runs of "
        "recipes, many of which train the head last; leave --rungs out"
    )


def _of_stages(settings: Values) -> str | None:
    """Stages set for themselves what these options set otherwise."""
    for name in PLAIN_RECIPE if settings.stages else ():
        if getattr(settings, name) != default_of(name):
            return set_by_stages(settings, name)
    return None


def set_by_stages(settings: Values, name: str) -> str:
    """Why an option is refused that the stages of the recipe set for themselves."""
    value: Any = getattr(settings, name)
    wrong, recipe = f"invalid --{name.replace('_', '-')} {value}", shown(settings.recipe)
    if settings.recipe == default_of("recipe"):
        return f"{wrong}: the recipe has stages, which set their own; change it there"
    return (
        f"{wrong}: recipe {recipe} has stages, which set their own; change it in a recipe "
        f"file of your own (kdnas recipes {recipe} prints this one)"
    )


def _of_offer(settings: Values) -> str | None:
    """What is wrong with what a search chooses."""
    over, usual = split(settings.search_over), default_of("recipe")
    asked = f"invalid --search-over {settings.search_over}"
    further = f"{', '.join(DIMENSIONS[1:-1])} and {DIMENSIONS[-1]}"
    known = f"{SHAPE}, with commas behind it any of {further}"
    several = "recipes" if settings.offered else "vocabularies"
    another = "stages" if settings.recipe == usual else f"--recipe {shown(settings.recipe)}"
    problems = (
        (
            not set(over) <= set(DIMENSIONS),
            f"{asked}: expected {known}",
        ),
        (
            SHAPE not in over,
            f"{asked}: a search chooses the shape, too; give {known}, and one shape in `space` "
            "where it is known",
        ),
        (
            (RECIPE in over) != bool(settings.offered),
            f"--search-over {settings.search_over} and --recipes {settings.recipes} contradict "
            "each other: leave one of them out",
        ),
        (
            (VOCABULARY in over) != bool(settings.vocabularies),
            f"--search-over {settings.search_over} and --vocabularies {settings.vocabularies} "
            "contradict each other: leave one of them out",
        ),
        (
            settings.offered and (settings.recipe != usual or settings.stages),
            f"{another} and --recipes contradict each other: give one of them",
        ),
        (
            (settings.offered or settings.vocabularies) and not settings.scores_agreement,
            f"invalid --mini-score {settings.mini_score}: it does not compare {several}; with "
            f"several --{several} the score is {AGREEMENT}: leave --mini-score out",
        ),
    )
    return next((text for wrong, text in problems if wrong), None)


def _of_masks(settings: Values) -> str | None:
    """The teacher answers masked rows; students read theirs anew, by their own vocabulary."""
    smaller = next((name for name in settings.vocabulary_names if name != TEACHERS), None)
    if not (settings.mask_probability and smaller and settings.scores_agreement):
        return None
    return (
        f"invalid --mask-probability {settings.mask_probability}: for {AGREEMENT}, students with "
        f"vocabulary {smaller} are scored on whole texts; leave it out"
    )
