"""--help shows the main options of a command with many, --help-all every one, in 80 columns."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from conftest import Said
from typer.testing import CliRunner

from kdnas.cli.app import app
from kdnas.cli.help import FEW
from kdnas.cli.search import OF_ONE_STUDENT
from kdnas.config import Settings
from kdnas.config.groups import is_main, is_of_a_search

COMMANDS: dict[str, Any] = {
    name: each
    for name, each in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    if not hasattr(each, "commands")
}
HARD = {
    *(
        "space",
        "mini_losses",
        "hidden_losses",
        "intermediate_losses",
        "speedups",
        "stages",
        "offered",
    ),
    *("transfer_methods", "transfer_tasks", "tasks", "students"),
}


def told(*arguments: str, columns: int = 80) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.output


def options_in(text: str) -> set[str]:
    """The options that begin a row."""
    names = re.findall(r"^│? ?(?:-\w, )?--(?:\[no-\])?([a-z][a-z-]+)", text, re.MULTILINE)
    return {name.replace("-", "_") for name in names}


def test_a_group_without_a_command_says_what_there_is(command: Said) -> None:
    code, error = command("cache")
    assert (code, error) == (0, "") and "Remove entries of the cache" in command.all


def test_help_of_a_search_is_the_main_options_and_the_way_to_the_others() -> None:
    out = told("search", "--help")
    main = {name for name in Settings.model_fields if is_main(name)} - {*OF_ONE_STUDENT}
    general = {"config", "dry_run", "quiet", "json", "help", "help_all"}
    assert options_in(out) == main | general
    assert re.search(r"^\d+ more options: \S*.* search --help-all$", out.splitlines()[-1])
    assert out.index("--teacher") < out.index("--data-dir") < out.index("--quiet")


def test_help_all_of_a_search_has_every_setting_that_is_a_flag() -> None:
    out = told("search", "--help-all")
    assert options_in(out) >= Settings.model_fields.keys() - HARD - {*OF_ONE_STUDENT}
    assert "more options" not in out


def test_help_of_distill_has_all_but_the_options_of_a_search() -> None:
    found = options_in(told("distill", "--help-all"))
    shared = {name for name in Settings.model_fields if not is_of_a_search(name)}
    assert found >= shared - HARD and {"trial", "speedup", "architecture"} <= found
    assert not found & {"trials", "sampler", "max_params", "storage", "rungs"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_few_options_shows_them_all(name: str) -> None:
    short, whole = options_in(told(name, "--help")), options_in(told(name, "--help-all"))
    assert short <= whole and {"help", "help_all"} <= short
    assert (short == whole) == (len(whole) <= FEW + 1 or not COMMANDS[name].callback.further)


@pytest.mark.parametrize("columns", [80, 100, 200, 50])
@pytest.mark.parametrize("name", [*COMMANDS, "cache clear"])
def test_help_fits_and_nothing_is_cut(name: str, columns: int) -> None:
    out = told(*name.split(), "--help-all", columns=columns)
    assert max(map(len, out.splitlines())) <= min(columns, 100)
    assert "…" not in out and "\x1b" not in out
    assert not re.search(r"INTEGER|NUMBER|<\w+|\bNone\b", out.replace("<task>", ""))


def test_descriptions_have_room_at_80_columns() -> None:
    for name in COMMANDS:
        for line in told(name, "--help-all").splitlines():
            found = re.match(r"│ (.*?\S) {2,}(?=\S)", line) if line.startswith("│ -") else None
            assert not found or found.end() <= 34, line


def test_forms_of_values_are_short() -> None:
    out = told("search", "--help-all")
    for row in ("--trials INT ", "--alpha FLOAT ", "--config FILE ", "--precision auto|fp32|bf16 "):
        assert row in out
    assert "--[no-]warm-start " in out and "One of gp, lstm" in " ".join(
        out.replace("│", "").split()
    )


def test_usage_names_the_arguments() -> None:
    assert re.search(r"^Usage: .* export \[OPTIONS\] RUN$", told("export", "--help"), re.MULTILINE)
    assert told("worker", "--help").splitlines()[0].endswith("worker [OPTIONS] [RUN]")
    assert told("predict", "--help").splitlines()[0].endswith("predict [OPTIONS] MODEL [TEXT]...")
