"""Paths, links, commands and options that README and docs name exist; docs that code names, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from kdnas.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PATH = re.compile(r"(?<![\w/.:-])(?:kdnas|docs|tests|benchmarks|studies)/[\w/.-]*\w/?")
LINK = re.compile(r"\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]*[a-z]")
CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# In code: a page, and the heading in it behind a comma or a number sign.
NAMED = re.compile(r"(docs/[\w/-]+\.md)(?:#([\w-]+)|, ([A-Z][\w' -]+))?")
COMMAND = re.compile(r"(?:^ *|[`|$] ?|-m )kdnas ([a-z]+)", re.MULTILINE)
# Options of other programs, and those that typer adds.
FOREIGN = {
    *("--multi_gpu", "--num_processes", "--nproc-per-node", "--logdir", "--no-deps", "--help"),
    *("--array", "--signal", "--build", "--model-id", "--dtype", "--workers"),
}
PLACEHOLDERS = {"studies/TASK.yaml"}


def commands() -> dict[str, set[str]]:
    """The options of each command."""
    root = typer.main.get_command(app)
    found: dict[str, set[str]] = {"": options_of(root)}
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {}).values()
        found[name] = options_of(command).union(*map(options_of, below))
    return found


def options_of(command: Any) -> set[str]:
    return {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)}


def of_benchmarks() -> Iterator[str]:
    for script in (*(ROOT / "benchmarks").rglob("*.py"), ROOT / "tests/hostile/run.py"):
        yield from OPTION.findall(script.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_paths_and_links(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if not link.startswith("http")]
    paths = set(PATH.findall(text)) - PLACEHOLDERS
    missing = {path for path in paths if not (ROOT / path).exists()}
    missing |= {link for link in links if not there(page, link)}
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_options(page: Path) -> None:
    text, known = page.read_text(encoding="utf-8"), commands()
    options = set(OPTION.findall(text)) - FOREIGN - set(of_benchmarks())
    assert not options - set().union(*known.values())
    code = "\n".join(CODE.findall(text))
    assert not set(COMMAND.findall(code)) - known.keys()


def test_pages_and_headings_that_code_names() -> None:
    places = [*(ROOT / "kdnas").rglob("*.py"), *(ROOT / "kdnas").rglob("*.yaml")]
    places += [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.yaml")]
    missing = []
    for place in places:
        text = re.sub(r"\n\s*#? *", " ", place.read_text(encoding="utf-8"))
        for page, anchor, heading in NAMED.findall(text):
            link = f"{page}#{anchor or anchor_of(heading)}".rstrip("#")
            if not there(ROOT / "README.md", link):
                missing.append((place, link))
    assert not missing


def test_each_page_of_results_is_linked_from_results() -> None:
    links = LINK.findall((ROOT / "docs/results.md").read_text(encoding="utf-8"))
    pages = {f"results/{page.name}" for page in (ROOT / "docs/results").glob("*.md")}
    assert pages == {link.split("#")[0] for link in links if link.startswith("results/")}


def there(page: Path, link: str) -> bool:
    """Whether a link's file exists, with the heading that it names."""
    place, _, anchor = link.partition("#")
    file = page.parent / place if place else page
    return file.exists() and (not anchor or anchor in anchors(file))


def anchors(file: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them: those that repeat are numbered."""
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        name = anchor_of(heading)
        found[name] = found.get(name, -1) + 1
    return {
        f"{name}-{n}".removesuffix("-0") for name, last in found.items() for n in range(last + 1)
    }


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
