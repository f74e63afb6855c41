"""URLs of storages: no password is shown, or kept where others read."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import optuna
import pytest
import yaml
from conftest import Said
from support.postgresql import PASSWORD, PostgreSQL, free_port

from kdnas.config import validated
from kdnas.config.storage_url import (
    VARIABLE,
    absolute,
    hide_password,
    remember,
    remove_password,
    with_password,
)
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.runtime.shown import redact
from kdnas.study.join import join
from kdnas.study.storage import make_storage, storage_url
from kdnas.study.study import load_run_study


@pytest.mark.parametrize(
    ("url", "seen", "kept"),
    [
        ("postgresql://me:a%40b@h:1/d", "postgresql://me:***@h:1/d", "postgresql://me@h:1/d"),
        ("mysql://me:x@h/d?a=b", "mysql://me:***@h/d?a=b", "mysql://me@h/d?a=b"),
        (
            "postgresql://h/d?user=me&password=x&sslmode=require",
            "postgresql://h/d?sslmode=require&user=me",
            "postgresql://h/d?sslmode=require&user=me",
        ),
        ("postgresql://h/d?password=x", "postgresql://h/d", "postgresql://h/d"),
        ("postgresql://me@h:5432/d", "postgresql://me@h:5432/d", "postgresql://me@h:5432/d"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("journal:///a?b@c", "journal:///a?b@c", "journal:///a?b@c"),
        ("grpc://host:port", "grpc://host:port", "grpc://host:port"),
    ],
)
def test_urls_are_shown_and_kept_without_passwords(url: str, seen: str, kept: str) -> None:
    assert hide_password(url) == seen and remove_password(url) == kept


def test_a_password_with_an_at_sign_is_refused_and_not_shown() -> None:
    for use in (remove_password, absolute, remember):
        with pytest.raises(
            KdnasError, match="--storage mysql://.*@h/d: its password has an @.*%40"
        ) as e:
            use("mysql://me:se@cret@h/d")
        assert "cret" not in str(e.value)


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql:/me:hush1@h/db", "postgresql//me:hush1@h/db", "me:hush1@h/db"),
        *("postgresql://me:hush1@h:port/db", "postgresql://me:/hush1@h:x/d", "h:hush1@"),
        *("postgresql:me:hush1@h", "mysql:/h/d?password=hush1", "://u:hush1@h", "a b://u:hush1@h"),
    ],
)
def test_a_malformed_url_is_refused_without_its_password(url: str) -> None:
    assert "hush1" not in hide_password(url)
    with pytest.raises(KdnasError, match="--storage .*: expected sqlite:///") as caught:
        absolute(url)
    assert "hush1" not in str(caught.value)


def test_a_storage_that_is_no_text_is_refused_without_its_password() -> None:
    for given in (["postgresql://me:hush2@h/d"], {"url": "postgresql://me:hush2@h/d"}):
        with pytest.raises(KdnasError, match="invalid --storage .*: expected a text") as caught:
            validated({"storage": given})
        assert "hush2" not in str(caught.value)


def test_sqlite_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"):
        with pytest.raises(KdnasError, match="it ends with the process; give sqlite:///PATH"):
            absolute(url)


def test_a_study_cannot_lie_in_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(KdnasError, match="its name is not UTF-8; rename it"):
        storage_url(None, tmp_path / "caf\udce9")


@pytest.mark.parametrize("name", ["q?lr=1", "50%", "a#b", "a%3Fb", "{n}", "a b"])
def test_a_run_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    url = storage_url(None, tmp_path / name)
    (tmp_path / name).mkdir()
    optuna.create_study(storage=make_storage(url), study_name="s")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["study.db"]
    assert (tmp_path / name / "study.db").exists()
    assert absolute(url) == url


def test_passwords_are_hidden_in_every_spelling() -> None:
    remember("postgresql://me:open%40sesame%2F@h/d?sslpassword=hush+hush")
    said = "open%40sesame%2F, open@sesame/, hush+hush, hush hush"
    assert redact(said) == "***, ***, ***, ***"


def test_the_environment_gives_the_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "a@b")
    assert with_password("mysql://me@h/d", tmp_path) == "mysql://me:a%40b@h/d"
    assert with_password("mysql://h/d", tmp_path) == "mysql://h/d"
    assert with_password("mysql://me:x@h/d", tmp_path) == "mysql://me:x@h/d"


@pytest.mark.slow
def test_a_password_stays_in_one_file_of_its_owner(
    postgresql: PostgreSQL,
    quick_flags: list[str],
    tmp_path: Path,
    command: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, url = tmp_path / "run", postgresql.database()
    few = ["--trials", "1", "--mini-steps", "2", "--epochs", "0"]
    code, error = command("search", *quick_flags, *few, "--storage", url, "--out", run)
    assert code == 0, error
    config = yaml.safe_load((run / "config.yaml").read_text())
    place = url.partition("@")[2]
    assert config["storage"] == f"postgresql://kdnas@{place}"
    assert stat.S_IMODE((run / ".storage").stat().st_mode) == 0o600
    assert holding(b"secret", run) == [".storage"]
    assert command("resume", run, "--trials", 2)[0] == 0
    assert command("report", run)[0] == 0
    study = load_run_study(storage_url(config["storage"], run), "kdnas", run)
    assert len(study.trials) == 2
    attributes = [study.user_attrs, study._storage.get_study_system_attrs(study._study_id)]
    for trial in study.trials:
        attributes += [trial.user_attrs, trial.system_attrs]
    assert "secret" not in json.dumps(attributes)

    # Its owner may prefer to give it again each time.
    (run / ".storage").unlink()
    code, error = command("report", run)
    assert code == 2 and "password" in error
    monkeypatch.setenv(VARIABLE, PASSWORD)
    assert command("report", run)[0] == 0
    joined = join({"storage": config["storage"], "study": "kdnas", "out": tmp_path / "joined"})
    assert joined.settings.storage == config["storage"]
    assert holding(b"secret", tmp_path) == [] and "secret" not in command.all


def test_no_error_line_shows_a_password(
    postgresql: PostgreSQL, quick_flags: list[str], tmp_path: Path, command: Said
) -> None:
    url = postgresql.database()
    encoded = url.partition("://kdnas:")[2].partition("@")[0]
    wrong = {
        "authentication failed": url.replace(encoded, "secretwrong%40"),
        "refused": url.replace(str(postgresql.port), str(free_port())),
        "does not exist": f"{url}-elsewhere",
        "%40": url.replace(encoded, "secret@1"),
        "no-such-host": url.replace("127.0.0.1", "no-such-host.invalid"),
    }
    for message, storage in wrong.items():
        run = tmp_path / str(len(command.all))
        code, error = command("search", *quick_flags, "--storage", storage, "--out", run)
        assert code == 2 and message in error and error.count("\n") == 1, error
        code, error = command("worker", "--storage", storage, "--study", "x", "--out", run)
        assert code == 2 and message in error, error
        assert set(holding(b"secret", tmp_path)) <= {f"{run.name}/.storage"}
        shutil.rmtree(run, ignore_errors=True)
    assert "secret" not in command.all


def test_a_run_that_kept_its_password_elsewhere_is_put_right(
    quick_flags: list[str], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("storage: mysql://me:secret@h/d\n")
    run = Run.open(tmp_path)
    assert run.settings.storage == "mysql://me@h/d"
    assert storage_url(run.settings.storage, tmp_path) == "mysql://me:secret@h/d"
    assert holding(b"secret", tmp_path) == [".storage"]


def holding(word: bytes, folder: Path) -> list[str]:
    """The files below a folder that hold a word."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if word in path.read_bytes()]
