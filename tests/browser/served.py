"""A whole appliance in a process of its own, as a person starts it; stopped and started again as a test asks."""

import json
import os
import re
import signal
import threading
import time
import urllib.request
from pathlib import Path

from attrs import define, field

from tests.forked import Forked

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60.0
ADMIN = ("ana", "correct horse battery staple")


@define
class Served:
    """One appliance on a port of its own, with its data below ``folder``."""

    folder: Path
    config: str = ""
    port: int = 0
    link: str = field(default="", init=False)
    """The one-time setup link it printed, or empty when it has an admin."""
    _process: Forked | None = field(default=None, init=False)
    _output: list[str] = field(factory=list, init=False)

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def plugins(self) -> Path:
        """Where a file becomes a plugin."""
        return self.folder / "data" / "plugins"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.plugins.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "data").chmod(0o700)
        config = self.folder / "appliance.toml"
        config.write_text(self.config)
        config.chmod(0o600)
        arguments = ["--data-dir", str(self.folder / "data"), "--config", str(config)]
        words = ["serve", *arguments, "--listen", f"127.0.0.1:{self.port}"]
        self._output.clear()
        self._process = Forked.popen(words, cwd=ROOT, env={**os.environ, "HOME": str(self.folder)})
        reading = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        reading.start()
        self._await_address()

    def _read(self, process: Forked) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._output.append(line)

    def _await_address(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = self.output
            link = re.search(r"http://127\.0\.0\.1:(\d+)(/setup#t=\S+)?", text)
            if link and self._answers(int(link[1])):
                self.port = int(link[1])
                self.link = f"{self.base}{link[2]}" if link[2] else ""
                return
            if self._process is None or self._process.poll() is not None:
                break
            threading.Event().wait(0.05)
        raise AssertionError(f"the appliance did not start:\n{self.output}")

    def _answers(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def output(self) -> str:
        """All it has written so far."""
        return "".join(self._output)

    def set_up(self) -> None:
        """Make the first admin, as the setup page does."""
        token = self.link.partition("#t=")[2]
        self.post("/api/appliance/setup", {"token": token, "name": ADMIN[0], "password": ADMIN[1]})

    def post(self, path: str, body: object) -> None:
        """Send JSON to it; raises for a refusal."""
        request = urllib.request.Request(
            self.base + path, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30):
            pass

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and wait for its end."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
