"""Which options belong together: in --help, in a recipe, in a run that goes on."""

from __future__ import annotations

from typing import Any

from kdnas.config.options import PANELS, Options, SearchOptions

# Options of the recipe without `stages`; stages set their own.
PLAIN_RECIPE = (
    *("epochs", "lr", "task_epochs", "task_lr"),
    *("temperature", "logit_weight", "hidden_weight", "intermediate_losses"),
)
# What may change when a run continues: at any time; of the teacher and of scoring, until a
# candidate is scored. Teachers and students that were trained otherwise are trained again.
CHANGEABLE = (
    *("trials", "budget", "finalists", "final_seeds", "controls"),
    *("threads", "jobs", "device", "cache_limit", "force", "track"),
)
# What decides a student's training in full, and the short one by its recipe.
OF_SHORT_RUNS = (
    *("recipe", "stages", "after_mini_kd", "epochs_share", "more_epochs"),
    *("epochs", "lr", "task_epochs", "task_lr", "logit_weight", "hidden_weight"),
    *("intermediate_losses", "class_weights"),
)
OF_FULL_KD = (*OF_SHORT_RUNS, "teacher_folds")
OF_FINE_TUNING = ("teacher_epochs", "teacher_lr", "class_weights")
OF_THE_TEACHER = (*OF_FINE_TUNING, "fine_tune", "fresh_head", "label_map")
OF_SCORING = (
    *("mini_epochs", "mini_lr", "mini_steps", "mini_seconds", "mini_stride", "mini_losses"),
    *("temperature", "batch_size"),
)
# What a recipe may set: all that is part of a method.
OF_A_RECIPE = (
    *("stages", "students", *PLAIN_RECIPE, "space", "inherit", "after_mini_kd"),
    *("class_weights", "batch_size", "more_epochs", "lower_rates"),
    *("mapping", "normalisation", "shared_projection", "mask_probability"),
    *("transfer_rows", "transfer_methods", "transfer_tasks", "corpus_rows", "corpus_pairs"),
    *("mini_losses", "mini_score", "mini_epochs", "mini_lr", "mini_stride"),
)
# What `kdnas evaluate` takes.
OF_EVALUATION = (
    *("data_dir", "skip_malformed", "max_train_rows", "max_eval_rows", "seed"),
    *("max_length", "window_stride", "max_target_length", "source_prefix"),
    *("label_map", "precision", "threads", "device"),
)
# Of a search alone, beside the panel Search: one student of a given shape has no use for them. The
# last ones contradict a shape.
OF_SEARCHING = ("trials", "budget")
AGAINST_A_SHAPE = ("budget", "speedup", "max_params", "space", "recipes", "vocabularies")
AGAINST_PRUNING = ("architecture", "budget", "max_params", "recipes", "vocabularies")
# What may differ for another trial of a run.
OF_A_TRIAL = ("threads", "jobs", "device", "final_seeds", "controls", "assistants")


def default_of(name: str) -> Any:
    """An option's default."""
    return _home_of(name).model_fields[name].default


def is_main(name: str) -> bool:
    """Whether --help of a command with many options shows this one."""
    return bool(_in_help(name)["main"])


def panel_of(name: str) -> str:
    """The panel of --help that an option stands in."""
    return _home_of(name).panel


def is_of_a_search(name: str) -> bool:
    """Whether an option matters to a search alone."""
    return name in OF_SEARCHING or _home_of(name) is SearchOptions


def shown_as(name: str) -> str | None:
    """What stands for an option's value in help, where its type does not say it."""
    form = _in_help(name)["form"]
    return None if form is None else str(form)


def _home_of(name: str) -> type[Options]:
    return next(panel for panel in PANELS if name in panel.model_fields)


def _in_help(name: str) -> dict[str, Any]:
    extra = _home_of(name).model_fields[name].json_schema_extra
    assert isinstance(extra, dict), "every field is made by `setting`"
    return dict(extra)
