"""What `kdnas space` prints."""

from __future__ import annotations

from typing import Any

from kdnas.config import Settings
from kdnas.measure import count_macs, count_params
from kdnas.runtime.formatting import in_millions
from kdnas.space import Architecture
from kdnas.space.architecture import EMBEDDINGS
from kdnas.space.derivation import TEACHERS
from kdnas.students import empty_student
from kdnas.teachers.load import load_config, teacher_source
from kdnas.teachers.tokenizer import longest_input
from kdnas.workflow.preparing.recipes_on_offer import with_usable_recipes
from kdnas.workflow.preparing.run_space import space_of


def describe(settings: Settings) -> dict[str, Any]:
    """Choices, numbers of valid shapes and of candidates, the smallest, the largest, the teacher.

    A candidate is a shape, or the teacher pruned, with a recipe and a vocabulary. Of all recipes
    those count that a search can use, as far as that does not depend on its task.

    Raises:
        KdnasError: The teacher is no encoder, the space is empty, or a recipe cannot be used.
    """
    source = teacher_source(settings.base)
    config = load_config(source)
    space = space_of(settings, config, source).with_vocabularies(settings.vocabulary_names)
    if settings.offered:
        space = with_usable_recipes(settings, space, None, config)
    length = min(settings.latency_length, longest_input(config))

    def described(architecture: Architecture) -> dict[str, Any]:
        student = empty_student(config, architecture).eval()
        costs = {"params": count_params(student), "macs": count_macs(student, length)}
        return {"architecture": architecture.params, **costs}

    return {
        "teacher": {"name": source, **described(space.teacher)},
        "choices": {name: list(values) for name, values in space.choices.items()},
        "recipes": list(space.every_recipe) if settings.offered else [settings.recipe],
        "vocabularies": list(space.vocabularies),
        "students": len(space.architectures),
        "candidates": len(space.candidates),
        "prunings": [pruning.label for pruning in space.prunings],
        "smallest": described(space.smallest),
        "largest": described(space.largest),
        "macs_length": length,
    }


def lines(described: dict[str, Any]) -> list[str]:
    """The description for people."""

    def row(name: str) -> str:
        costs = described[name]
        label = Architecture.from_params(costs["architecture"]).label
        return (
            f"{label}  {in_millions(costs['params'], 2)} params  {in_millions(costs['macs'])} MACs"
        )

    pruned, count = described["prunings"], described["candidates"]
    lists = {name: described[name] for name in ("recipes", "vocabularies")}
    searched = {name: values for name, values in lists.items() if len(values) > 1}
    wide = max(20, *map(len, described["choices"]))
    in_all = [f"{count:,} candidates in all"] if count != described["students"] else []
    choices = {name: [*map(str, values)] for name, values in described["choices"].items()}
    if EMBEDDINGS in choices:
        choices[EMBEDDINGS] = [TEACHERS if v == "0" else v for v in choices[EMBEDDINGS]]
    return [
        *(f"teacher   {described['teacher']['name']}", f"          {row('teacher')}"),
        *(f"{name:<{wide}} {', '.join(values)}" for name, values in choices.items()),
        *(f"{name:<{wide}} {', '.join(values)}" for name, values in searched.items()),
        f"{described['students']:,} valid students",
        *([f"pruned    {', '.join(pruned)}"] if pruned else []),
        *in_all,
        *(f"{name:<9} {row(name)}" for name in ("smallest", "largest")),
        f"MACs: multiply-accumulates for one example of {described['macs_length']} tokens",
    ]
