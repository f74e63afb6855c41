"""`kdnas report` in its manners: a page elsewhere, Markdown, a page that follows a run."""

from __future__ import annotations

import json
import os
import pwd
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Said
from filelock import FileLock
from made_runs import make_run
from support import processes
from support.processes import Child

from kdnas import load_run
from kdnas.report import watch
from kdnas.report.compare import names_of
from kdnas.report.data import ReportData, read_run
from kdnas.report.model import HAND_PICKED, Report, Selection
from kdnas.report.search_summary import TOO_SLOW
from kdnas.report.searched import Finalist
from kdnas.report.timed_again import TIMED_AGAIN
from kdnas.report.worth import worth
from kdnas.report.write import rewrite_report
from kdnas.runs.run_folder import Run
from kdnas.scoring.reward import reward_at


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run").folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_page_elsewhere_leaves_the_run_as_it_is(run: Path, command: Said, tmp_path: Path) -> None:
    before = contents(run)
    code, error = command("report", run, "--out", tmp_path / "page.html")
    assert code == 0, error
    assert contents(run) == before
    assert "Pareto front" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="another user is needed")
def test_a_run_of_somebody_else_is_only_read(run: Path, tmp_path: Path) -> None:
    """A process that may write nowhere in the run makes its page elsewhere."""
    from support.postgresql import other_user

    own = tmp_path / "own"
    own.mkdir(mode=0o777)
    own.chmod(0o777)
    for folder in (run, *run.parents[:4]):
        folder.chmod(folder.stat().st_mode | 0o055)
    child = Child(_as_another, other_user(), str(run), str(own / "page.html"))
    assert child.wait() == 0, child.output
    assert "Pareto front" in (own / "page.html").read_text(encoding="utf-8")


def _as_another(user: str, run: str, page: str) -> None:
    with suppress(SystemExit):  # what is imported later may be out of the other user's reach
        processes.command("report", run, "--out", f"{page}.first")
    os.setuid(pwd.getpwnam(user).pw_uid)
    assert not os.access(run, os.W_OK)
    processes.command("report", run, "--out", page)


def test_markdown_has_verdict_and_table(run: Path, command: Said, tmp_path: Path) -> None:
    before = contents(run)
    code, error = command("report", run, "--markdown", "--out", tmp_path / "a.md")
    assert code == 0, error
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert text.startswith("### ") and "| teacher |" in text and "|---|---:|" in text
    assert "<script>" not in text and contents(run) == before
    assert command("report", run, run, "--markdown")[0] == 0
    assert "| sst2 |" in command.all


def test_without_room_for_the_pages_the_student_stays_as_it_is(run: Path, command: Said) -> None:
    card = run / "student" / "README.md"
    card.parent.mkdir(exist_ok=True)
    card.write_text("An older card.", encoding="utf-8")
    before, usual = contents(run), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, usual[1]))  # bytes; plotly has millions
    try:
        code, error = command("report", run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert code == 2 and error.count("\n") == 1
    assert "larger than this process may write (ulimit -f)" in error and "free" not in error
    assert contents(run) == before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--markdown", "--open"], "--markdown makes no page; leave out --open"),
        (["--watch", "--png", "a.png"], "--watch draws no picture; leave out --png"),
        (["--out", "."], "it is a folder; give report.html"),
        (["--markdown", "--out", "."], "it is a folder; give report.md"),
    ],
)
def test_what_does_not_go_together(
    run: Path, command: Said, given: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    code, error = command("report", run, *given)
    assert code == 2 and told in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_watched_page_follows_until_the_run_is_free(run: Path, tmp_path: Path) -> None:
    page, pages = tmp_path / "page.html", list[str]()
    lock = FileLock(run / ".lock", thread_local=False)
    lock.acquire()

    def written() -> None:
        pages.append(page.read_text(encoding="utf-8"))
        if len(pages) == 2:
            lock.release()

    data = watch.watch(run, page, seconds=0.05, written=written)
    assert data.report is not None and len(pages) == 3
    assert ["loads itself again" in text for text in pages] == [True, True, False]
    assert 'data-reload="0.05"' in pages[0] and "data-reload" not in pages[2]


@pytest.mark.slow
def test_a_worker_between_two_trials_is_waited_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no trial at that moment, and the run no report: a second look tells."""
    (run / "report.json").rename(tmp_path / "report.json")
    working, pages = iter([1, 0, 1, 0, 0]), list[int]()
    monkeypatch.setattr(watch, "workers_here", lambda _: next(working))
    watch.watch(run, tmp_path / "page.html", seconds=0.01, written=lambda: pages.append(1))
    (tmp_path / "report.json").rename(run / "report.json")
    assert len(pages) == 5 and not list(working)


@pytest.mark.slow
def test_ctrl_c_leaves_a_page_that_stays(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    def interrupted() -> None:
        raise KeyboardInterrupt

    with FileLock(run / ".lock"), pytest.raises(KeyboardInterrupt):
        watch.watch(run, page, seconds=0.05, written=interrupted)
    assert "data-reload" not in page.read_text(encoding="utf-8")


def test_runs_are_named_by_as_much_as_tells_them_apart() -> None:
    folders = [Path("/a/x/run"), Path("/a/y/run"), Path("/b/other")]
    assert names_of(folders) == ["x/run", "y/run", "other"]
    assert names_of([Path("/a/run"), Path("/a/run")]) == ["/a/run", "/a/run"]


def test_the_worth_of_the_score_is_told_or_how_it_is_found_out(run: Path) -> None:
    known = worth(read_run(Run.open(run)))
    assert known is not None
    assert "cannot be told: 3 students" in known.sentence and "kdnas fidelity" in known.sentence


def test_a_finalist_that_full_training_found_worse_is_not_recommended(run: Path) -> None:
    found = Run.open(run)
    before = rewrite_report(found).report.search
    better = max(before.bargains, key=lambda one: one.difference)
    assert better.difference > 0 and better.trial != 2
    names = {"name": "a", "score": 0.7}
    finalists = [{"trial": 2, "selection": 0.98, **names}, {"trial": better.trial, **names}]
    found.step("finalists", {}).write([finalists[0], {**finalists[1], "selection": 0.68}])
    told = [one.trial for one in rewrite_report(found).report.search.bargains]
    assert better.trial not in told
    found.step("finalists", {}).write([finalists[0], {**finalists[1], "selection": 0.99}])
    told = [one.trial for one in rewrite_report(found).report.search.bargains]
    assert better.trial in told  # no clear difference, and the first of the search ships


def test_a_trial_that_a_second_timing_contradicts_is_not_recommended(run: Path) -> None:
    """Its speed-up and reward are then those of the second; where they are near, of the first."""
    before, found = read_run(Run.open(run)), Run.open(run)
    first = before.table.dropna(subset=["score"]).sort_values("score")
    wrong, near = (first.iloc[i] for i in (-1, -2))
    found.log(TIMED_AGAIN, trial=int(near.number), speedup=near.speedup / 1.4)
    found.log(TIMED_AGAIN, trial=int(wrong.number), speedup=0.1)
    data = rewrite_report(Run.open(run))
    assert data.report is not None and data.report.search is not None
    held = data.held.set_index("number")
    assert held.speedup[wrong.number] == 0.1 and held.speedup[near.number] == near.speedup
    reward = reward_at(wrong.loss, 0.1, found.settings)
    assert held.reward[wrong.number] == reward < wrong.reward
    search = data.report.search
    assert search.best_reward == pytest.approx(held.reward.max())
    advised = [one.trial for one in search.bargains if one.times > 1]
    advised += [one.search.trial for one in search.budgets if one.search]
    assert wrong.number not in advised
    assert data.table.equals(before.table)
    front = load_run(run).front
    assert wrong.number not in front.number[front.speedup > 0.1].to_list()
    assert str(wrong.speedup) in (run / "trials.csv").read_text()


def test_what_was_found_at_the_end_of_a_search_stays_in_its_report(run: Path) -> None:
    found = Run.open(run)
    Run(run, found.settings.model_copy(update={"speedup": 3.0})).save()
    table = read_run(Run.open(run)).table.dropna(subset=["score"])
    best = table.sort_values("score").iloc[-1]
    found.log(TOO_SLOW, trial=int(best.number), speedup=2.9)
    names = {"trial": 2, "name": "a", "score": 0.7, "selection": 0.8}, {"trial": 1, "name": "b"}
    finalists = [names[0], {**names[1], "score": 0.6, "selection": 0.7}]
    found.step("finalists", {}).write([Finalist(**one).model_dump() for one in finalists])
    search = rewrite_report(Run.open(run)).report.search
    assert [one.trial for one in search.finalists] == [2, 1] and search.finalists_tau == 1
    assert [one.trial for one in search.too_slow] == [best.number]
    assert best.number not in [one.trial for one in search.bargains]
    shutil.rmtree(run / "steps")  # as docs/run-folder.md allows
    rewrite_report(Run.open(run))
    again = Report.read(run / "report.json").search
    assert again is not None and again == search


def test_advice_stays_that_beside_the_trial_that_the_search_chose(run: Path) -> None:
    """Also where a control ships, which no trial tried, or another one did."""
    found = Run.open(run)
    before = rewrite_report(found).report
    assert before.search.winner == 2 and before.search.bargains
    for trial in (None, 1):
        shipped = Selection(rows=9, shipped=HAND_PICKED, scores={})
        student = before.student.model_copy(update={"trial": trial})
        changes = {"selection": shipped, "student": student}
        before.model_copy(update=changes).write(run / "report.json")
        assert rewrite_report(found).report.search == before.search
    older = json.loads((run / "report.json").read_text())
    del older["search"]["winner"]
    older["student"]["trial"] = 2
    (run / "report.json").write_text(json.dumps(older))
    assert rewrite_report(found).report.search == before.search


def test_a_run_that_finishes_meanwhile_keeps_its_new_report(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Report.read(run / "report.json").model_copy(update={"verdict": "The new one."})
    drawn: list[str] = []

    def finishes(path: Path, data: ReportData, *more: object) -> None:
        assert data.report
        drawn.append(data.report.verdict)
        new.write(run / "report.json")

    monkeypatch.setattr("kdnas.report.write._write_sections", finishes)
    monkeypatch.setattr("kdnas.report.write._write_trials", lambda *given: None)
    data = rewrite_report(Run.open(run))
    assert data.report and data.report.verdict == "The new one."
    assert Report.read(run / "report.json").verdict == drawn[-1] == "The new one."


def test_a_report_written_anew_knows_what_was_not_tried(run: Path) -> None:
    before = json.loads((run / "report.json").read_text())
    tried = str(read_run(Run.open(run)).table.recipe[0])
    before["search"]["not_tried"] = {"recipes": [tried, "logits"]}
    (run / "report.json").write_text(json.dumps(before))
    assert rewrite_report(Run.open(run)).report.search.not_tried == {"recipes": ["logits"]}
