"""The pages in a real headless Chromium: they draw, tell, obey keyboard, width and dark mode."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import HOSTILE, make_run

from kdnas.report.compare import write_comparison
from kdnas.report.data import read_run
from kdnas.report.write import rewrite_report, write_picture
from kdnas.runs.run_folder import Run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRAWN = "document.documentElement.dataset.drawn === 'true'"
WIDTHS = {"desk": (1100, 900), "phone": (360, 740)}

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(NAMES)}, BROWSER_PATH)")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, one that only searched, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {
        "new": make_run(folder / "new"),
        "searched": make_run(folder / "searched", trials=3, finished=False),
    }
    for run in runs.values():
        rewrite_report(run)
    both = {f"{name} {HOSTILE}": read_run(runs[name]) for name in ("new", "searched")}
    write_comparison(folder / "compare.html", both)
    return folder


@pytest.fixture
def open_page(browser: Any, folder: Path) -> Iterator[Open]:
    """Opens a page without network; nothing may be complained of on its console."""
    contexts, complaints = [], []

    def open_(name: str, width: str = "desk", scheme: str = "light") -> Any:
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else 0)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto((folder / name).as_uri())
        page.wait_for_function(DRAWN, timeout=60_000)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "plots"),
    [
        ("new/report.html", "front scores search matter parallel layers losses latency seconds"),
        pytest.param(
            "searched/report.html", "front search parallel seconds", marks=pytest.mark.slow
        ),
        ("new/pareto.html", "front"),
        ("compare.html", "fronts"),
    ],
)
def test_the_plots_draw(open_page: Open, name: str, plots: str) -> None:
    page = open_page(name)
    having = "all => all.filter(e => e.querySelector('svg.main-svg'))"
    drawn = page.eval_on_selector_all(".plot", f"{having}.map(e => e.dataset.section)")
    assert drawn == plots.split()
    assert page.locator("#plot-front .scatterlayer .point, #plot-fronts .point").count() > 5
    assert "onerror" in page.inner_text("main") + page.title()  # shown as text, not obeyed
    assert page.locator("img").count() == 0
    assert page.locator("[data-title*=hare]").count() == 0  # nothing is sent anywhere


@pytest.mark.slow
def test_a_student_tells_its_architecture_under_the_pointer(open_page: Open) -> None:
    page = open_page("new/report.html")
    where = page.evaluate(
        """() => {
          const plot = document.getElementById("plot-front");
          const dots = plot.data.findIndex((trace) => trace.name === "students");
          const { x, y } = plot.calcdata[dots][3];
          const { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect();
          return [box.left + xaxis._offset + xaxis.c2p(x), box.top + yaxis._offset + yaxis.c2p(y)];
        }"""
    )
    page.mouse.move(where[0] - 3, where[1] - 3)
    page.mouse.move(*where, steps=3)
    label = page.locator("#plot-front .hoverlayer .hovertext").first
    label.wait_for(timeout=10_000)
    told = label.text_content()
    assert "trial " in told and " layers x " in told and " times as fast" in told


@pytest.mark.slow
def test_a_click_on_a_student_gives_its_command(open_page: Open) -> None:
    page = open_page("new/report.html")
    page.evaluate(
        """() => {
          const plot = document.getElementById("plot-front");
          const dots = plot.data.find((trace) => trace.name === "students");
          plot.emit("plotly_click", { points: [{ data: dots, customdata: dots.customdata[3] }] });
        }"""
    )
    trial = page.evaluate(
        "document.getElementById('plot-front').data.find(t => t.name === 'students')"
        ".customdata[3][0]"
    )
    told = page.inner_text("[data-picked=front] code")
    assert told.startswith("kdnas distill ") and told.endswith(f" --trial {trial}")
    page.click("[data-picked=front] button")
    page.wait_for_function("document.getElementById('said').textContent.startsWith('Copied')")
    assert page.inner_text("#said") == f"Copied: {told}"


@pytest.mark.slow
def test_a_table_that_scrolls_says_so(open_page: Open) -> None:
    shown = "all => all.filter(e => !e.hidden && e.offsetParent).length"
    phone = open_page("new/report.html", width="phone")
    phone.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    phone.wait_for_function("document.querySelectorAll('.scrolls').length > 2")
    assert phone.eval_on_selector_all(".more", shown) > 2
    assert phone.locator("#words .more").is_hidden()  # its sentences wrap


@pytest.mark.slow
def test_everything_can_be_reached_with_a_keyboard(open_page: Open) -> None:
    page = open_page("new/report.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.locator("button", has_text="parameters").focus()
    page.keyboard.press("Enter")
    title = "document.querySelector('#plot-front .xtitle').textContent"
    page.wait_for_function(f"{title} === 'parameters'", timeout=20_000)
    pressed = page.locator("#front button[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["parameters"]
    shown = page.locator("#front [data-note]:not([hidden])")
    assert shown.evaluate_all("all => all.map(e => e.dataset.note)") == ["parameters"]
    page.locator("#search summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#search tbody tr").first.is_visible()


@pytest.mark.parametrize(
    "name",
    [
        "new/report.html",
        pytest.param("searched/report.html", marks=pytest.mark.slow),
        pytest.param("compare.html", marks=pytest.mark.slow),
    ],
)
def test_a_phone_need_not_scroll_sideways(open_page: Open, name: str) -> None:
    page = open_page(name, width="phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"][0]
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["phone"][0]


@pytest.mark.slow
def test_plots_follow_the_dark(open_page: Open) -> None:
    page = open_page("new/report.html", scheme="dark")
    paper = "document.getElementById('plot-front')._fullLayout.paper_bgcolor"
    dark = page.evaluate(paper)
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == _rgb(dark)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{paper} === '#ffffff'", timeout=20_000)
    assert dark != "#ffffff"


@pytest.mark.slow
def test_the_front_as_a_picture(browser: Any, folder: Path) -> None:
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    write_picture(folder / "front.png", read_run(Run.open(folder / "new")))
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"
