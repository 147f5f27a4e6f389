"""Drones of the built file: real processes that can be killed, each with a spool of its own."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.product.served import Product

FAKE_BUILD = """
import os, sys, time
atom, marks, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
print("building", atom, flush=True)
os.close(os.open(os.path.join(marks, "begun-" + atom.replace("/", "_")), os.O_CREAT | os.O_WRONLY, 0o600))
time.sleep(seconds)
print("built", atom, flush=True)
"""


@define(eq=False)
class DroneProcess:
    """One ``appliance drone``."""

    product: Product
    name: str
    folder: Path
    build_command: str
    """Empty: the drone's own default."""
    more: tuple[str, ...] = ()
    token: str = ""
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def said(self) -> str:
        """All that it has told on standard error, of every start."""
        path = self.folder / "said"
        return path.read_text() if path.exists() else ""

    @property
    def owed(self) -> Any:
        """What its spool says that it owes, ``None`` for nothing."""
        try:
            return json.loads((self.folder / "state" / "owed.json").read_text())
        except FileNotFoundError:
            return None

    def start(self) -> None:
        """Start it; it need not have registered when this returns."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "pkgs").mkdir(exist_ok=True)
        command = [
            *self.product.python, str(self.product.pyz), "drone", "--server", self.product.base,
            "--id", f"id-{self.name}", "--name", self.name, "--cores", "1",
            "--state-dir", str(self.folder / "state"),
            "--heartbeat-seconds", "0.3", "--poll-seconds", "0.3", "--stop-seconds", "5",
            "--sync-command", "", *self.more,
        ]  # fmt: skip
        if self.build_command:
            command += ["--build-command", self.build_command, "--pkgdir", str(self.folder / "pkgs")]
        environment = self.product.surroundings() | ({"APPLIANCE_TOKEN": self.token} if self.token else {})
        with (self.folder / "said").open("a") as said:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True
            )

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal and wait until it is gone; return its exit status."""
        process = self._process
        if process is None:
            return 0
        self._process = None
        process.send_signal(number)
        return process.wait(60)


def end_all(drones: list[DroneProcess]) -> None:
    """Stop drones so that nothing of their builds is left, and kill what does not stop."""
    for one in drones:
        try:
            one.end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            one.end()
