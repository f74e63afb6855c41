"""A PostgreSQL server of one's own, for as long as it is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from kdnas.errors import KdnasError

# With what a URL must encode; tests look for its first six letters where it must not be.
PASSWORD = "secret@1/%3A"


class PostgreSQL:
    """A server in a folder of its own.

    Args:
        programs: Folder of its programs.
        folder: Empty; owned by `user`.
        user: Who runs it, since it refuses root; None for who runs this.
    """

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.programs, self.folder, self.user = programs, folder, user
        self.port = free_port()
        setup = ["-U", "kdnas", "-A", "scram-sha-256", "--no-sync", "--locale=C", "-E", "UTF8"]
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        setup.append(f"--pwfile={folder / 'password'}")
        self._run("initdb", "-D", folder / "data", *setup)
        self.start()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder]
        options = ["-p", self.port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command + options)), stdout=log, stderr=log, user=self.user
            )
        for _ in range(150):
            if self._run("pg_isready", "-h", "127.0.0.1", "-p", self.port, check=False) == 0:
                return
            time.sleep(0.2)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Stops it at once; connections break."""
        self.process.send_signal(3)
        self.process.wait(timeout=60)

    def database(self) -> str:
        """The URL of a new database, as a user writes it."""
        name = f"d{time.monotonic_ns()}"
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "kdnas", name)
        return f"postgresql://kdnas:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: object, check: bool = True) -> int:
        done = subprocess.run(
            [self.programs / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            user=self.user,
            cwd=self.folder,
            check=False,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )
        assert not check or done.returncode == 0, done.stderr
        return done.returncode


@contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server in a temporary folder.

    Raises:
        KdnasError: There is none to start.
    """
    programs = postgresql_programs()
    if programs is None:
        raise KdnasError("no PostgreSQL server (apt-get install postgresql)")
    user = other_user() if os.geteuid() == 0 else None
    # Not in pytest's folder, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="kdnas-pg-"))
    try:
        if user:
            shutil.chown(folder, user)
        server = PostgreSQL(programs, folder, user)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def postgresql_programs() -> Path | None:
    """The folder of Debian's newest server, or of the one on the PATH."""
    found = [Path(p) for p in (shutil.which("initdb"), shutil.which("postgres")) if p]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return (debian or found)[-1].parent if debian or len(found) == 2 else None


def other_user() -> str:
    """A user without rights."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
