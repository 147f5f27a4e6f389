"""The built file, started and talked to as a person's shell and browser would: from another process, over sockets."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, TypeVar

import httpx2 as httpx
from attrs import define, field

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "dist" / "appliance.pyz"
SOURCES = ("appliance", "plugins", "packaging", "zipapp.spec", "config")
PASSWORD = "correct horse battery staple"
ADMIN = "ana"
START_SECONDS = 60.0
STOP_SECONDS = 40.0
LINK = re.compile(r"Open +(https?)://([^/\s]+)/(?:setup#t=(\S+))?")

T = TypeVar("T")


def _newest(path: Path) -> float:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if "__pycache__" not in one.parts]
    return max((one.stat().st_mtime for one in files if one.is_file()), default=0.0)


def built_file(folder: Path) -> Path:
    """Put the file to test into ``folder``.

    It is the one that APPLIANCE_TEST_PYZ names (a release, say), else that of this tree.
    """
    given = os.environ.get("APPLIANCE_TEST_PYZ")
    if not given:
        return file_of_this_tree(folder)
    output = folder / "appliance.pyz"
    shutil.copy2(given, output)
    output.chmod(0o755)
    return output


def file_of_this_tree(folder: Path) -> Path:
    """Put the file of this tree into ``folder``: what dist/ has if nothing has changed since, else one built now."""
    output = folder / "appliance.pyz"
    if SHIPPED.is_file() and all(_newest(ROOT / name) < SHIPPED.stat().st_mtime for name in SOURCES):
        shutil.copy2(SHIPPED, output)  # another build may replace it while we run
    else:
        command = [sys.executable, str(ROOT / "packaging/build_zipapp.py"), "--output", str(output)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    output.chmod(0o755)
    return output


def until(check: Callable[[], T], *, seconds: float = 40.0) -> T:
    """Look again and again until ``check`` returns something true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.02)
    return found


@define(eq=False)
class Product:
    """One data directory, the built file, and the process that serves it."""

    pyz: Path
    folder: Path
    environment: dict[str, str] = field(factory=dict)
    python: tuple[str, ...] = (sys.executable, "-I")
    options: dict[str, Any] = field(factory=dict)
    """Further arguments of `subprocess.Popen`."""
    said: list[str] = field(factory=list)
    """What the last start printed."""
    base: str = ""
    """``http://127.0.0.1:PORT`` of the last start."""
    token: str = ""
    """The secret of the setup link; empty when there was none."""
    _process: subprocess.Popen[str] | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def dropped(self) -> Path:
        """Where plugins are dropped in; made on first use."""
        (self.data / "plugins").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data.chmod(0o700)
        return self.data / "plugins"

    @property
    def config(self) -> Path:
        """The configuration file, empty until a test writes it."""
        path = self.folder / "appliance.toml"
        if not path.exists():
            path.write_text("")
        return path

    @property
    def log(self) -> str:
        """Everything on standard error, of all starts."""
        path = self.folder / "stderr"
        return path.read_text() if path.exists() else ""

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that serves."""
        assert self._process is not None
        return self._process

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return int(self.base.rpartition(":")[2])

    def drop(self, name: str, source: str) -> Path:
        """Drop a plugin in."""
        path = self.dropped / f"{name}.py"
        path.write_text(source)
        path.chmod(0o600)
        return path

    def surroundings(self) -> dict[str, str]:
        """Return the environment of everything we start: nothing of our own but PATH."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environment}

    def launch(self, *listen: str) -> subprocess.Popen[str]:
        """Start ``serve`` and do not wait for it; where to listen may be in the configuration."""
        command = [*self.python, str(self.pyz), "serve", "--data-dir", str(self.data), "--config", str(self.config)]
        for one in listen or (() if "[[listeners]]" in self.config.read_text() else ("127.0.0.1:0",)):
            command += ["--listen", one]
        with (self.folder / "stderr").open("a") as errors:
            self._process = subprocess.Popen(
                command,
                env=self.surroundings(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                **self.options,
            )
        return self._process

    def start(self, *listen: str) -> None:
        """Start ``serve`` and wait until it has said where it answers."""
        process = self.launch(*listen)
        self.said = []
        # Ends a process that never says where it answers, so that reading its output has a bound.
        guard = Timer(START_SECONDS, process.kill)
        guard.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self.said.append(line.rstrip("\n"))
                if found := LINK.search(line):
                    self.base, self.token = f"{found[1]}://{found[2]}", found[3] or ""
                    break
            else:
                raise AssertionError(f"it never said where it answers: {self.said}\n{self.log}")
        finally:
            guard.cancel()
        until(lambda: self.get("/readyz").status_code == 200)

    def refused(self, *listen: str) -> tuple[int, str]:
        """Start ``serve`` where it must not come up; return its exit status and what it said on standard error."""
        before = len(self.log)
        process = self.launch(*listen)
        try:
            process.communicate(timeout=START_SECONDS)
        finally:
            process.kill()
        return process.returncode, self.log[before:]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.end()

    def end(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def restart(self, *listen: str) -> None:
        """Stop in order, and start again."""
        assert self.stop() == 0
        self.start(*listen)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET as a program of the same user: trusted, without a credential."""
        return httpx.get(self.base + path, timeout=30, verify=False, **options)

    def command(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of ``appliance`` to its end, on this data directory."""
        command = [*self.python, str(self.pyz), "--data-dir", str(self.data), "--config", str(self.config), *arguments]
        chosen: dict[str, Any] = {"env": self.surroundings(), "cwd": self.folder, "timeout": 60, **options}
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, **chosen)

    def json(self, *arguments: str) -> Any:
        """Run a command with ``--json`` and return what it printed."""
        done = self.command("--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def set_up(self) -> httpx.Client:
        """Make the first admin with the printed link, and return a browser's client that is logged in as them."""
        browser = httpx.Client(base_url=self.base, timeout=30)
        body = {"token": self.token, "name": ADMIN, "password": PASSWORD}
        answer = browser.post("/api/appliance/setup", json=body)
        assert answer.status_code == 200, answer.text
        return browser

    def plugin(self, name: str) -> dict[str, Any]:
        """Return what the API says of a plugin."""
        items: list[dict[str, Any]] = self.get("/api/appliance/plugins").json()["items"]
        return next(one for one in items if one["name"] == name)

    def readiness(self, word: str) -> list[dict[str, Any]]:
        """Return the lines of ``/readyz`` whose name has ``word``."""
        return [one for one in self.get("/readyz").json()["items"] if word in one["name"]]

    def connect(self) -> socket.socket:
        """Open a plain socket to the first listener."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def product(pyz: Path, folder: Path, **changed: Any) -> Iterator[Product]:
    """A product in ``folder``, ended in the end whatever happened."""
    one = Product(pyz, folder, **changed)
    try:
        yield one
    finally:
        one.end()


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Decode server-sent events: name and data of each."""
    name, data = "message", ""
    for line in lines:
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
        elif not line and data:
            yield name, json.loads(data)
            name, data = "message", ""


def exchange(one: socket.socket, data: bytes, *, until_bytes: bytes = b"", seconds: float = 30.0) -> bytes:
    """Send bytes and read until ``until_bytes`` have come, or the other side has closed."""
    one.settimeout(seconds)
    if data:
        one.sendall(data)
    found = b""
    while not (until_bytes and until_bytes in found):
        got = one.recv(65_536)
        if not got:
            break
        found += got
    return found


__all__ = ["ADMIN", "PASSWORD", "ROOT", "Product", "built_file", "events", "exchange", "product", "until"]
