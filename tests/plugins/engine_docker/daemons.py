"""Real container engines in a folder of their own: their processes, network and images end with the tests."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest
from attrs import define, field

IMAGE: Final = "localhost/bb:latest"
PATIENCE_SECONDS: Final = 60.0
# Of a network namespace that nobody else sees: an address as clouds have it, an ordinary one, and a way out.
NETWORK: Final = """
ip link set lo up
ip addr add 169.254.169.254/32 dev lo
ip addr add 10.99.0.1/32 dev lo
ip link add out type bridge
ip link set out up
ip addr add 10.98.0.1/24 dev out
ip route add default via 10.98.0.2
busybox httpd -f -p 169.254.169.254:80 -h "$WWW" &
busybox httpd -f -p 10.99.0.1:80 -h "$WWW" &
"""
CONTAINERS_CONF: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""


def missing() -> str:
    """Return why no engine can be started here, empty when one can."""
    if os.geteuid() != 0:
        return "container engines need root here"
    programs = [one for one in ("dockerd", "podman", "runc", "conmon", "busybox", "ip") if shutil.which(one) is None]
    return f"not installed: {', '.join(programs)}" if programs else ""


@define
class Daemon:
    """One engine, which can be killed and started again."""

    kind: str
    folder: Path
    socket: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.socket = self.folder / f"{self.kind}.sock"

    @property
    def url(self) -> str:
        """As in DOCKER_HOST."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it in a network of its own, and return once it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        www = self.folder / "www"
        www.mkdir(exist_ok=True)
        (www / "index.html").write_text("served")
        (self.folder / "containers.conf").write_text(CONTAINERS_CONF)
        environment = os.environ | {"WWW": str(www), "CONTAINERS_CONF": str(self.folder / "containers.conf")}
        script = NETWORK + "exec " + " ".join(self._command())
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", script],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,  # Podman's keepers leave files where it was started
            )
        try:
            self._answers()
        except BaseException:
            self._end(signal.SIGKILL)
            raise

    def _command(self) -> list[str]:
        at = self.folder
        if self.kind == "docker":
            return [
                f"dockerd --data-root {at}/root --exec-root {at}/exec --pidfile {at}/pid --host {self.url}",
                "--storage-driver=overlay2",
            ]
        where = f"--root {at}/store --runroot {at}/run --tmpdir {at}/tmp --network-config-dir {at}/networks"
        return [f"podman {where} system service --time 0 {self.url}"]

    def request(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        """Ask the engine directly."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=PATIENCE_SECONDS) as client:
            return client.request(method, f"http://engine/v1.41{path}", content=content)

    def request_json(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Ask the engine directly, with a body."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=PATIENCE_SECONDS) as client:
            return client.request(method, f"http://engine/v1.41{path}", json=body)

    def _answers(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._listens() or self.request("GET", "/version").status_code != 200:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def load(self, archive: Path, repository: str = "localhost/bb") -> None:
        """Import a root filesystem as an image with the tag ``latest``."""
        answer = self.request("POST", f"/images/create?fromSrc=-&repo={repository}&tag=latest", archive.read_bytes())
        assert answer.status_code == 200, answer.text

    def kill(self) -> None:
        """Kill it as a crash would, with what it started for itself; containers are left to their fate."""
        self._end(signal.SIGKILL)

    def clear(self) -> None:
        """Remove its containers."""
        for row in self.request("GET", "/containers/json?all=1").json():
            self.request("DELETE", f"/containers/{row['Id']}?force=1&v=1")

    def stop(self) -> None:
        """Remove its containers, end it, and let go of what it mounted."""
        if self._listens():
            self.clear()
        self._end(signal.SIGTERM)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            place = line.split()[4]
            if place.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", place], check=False)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        # unshare became the shell and then the engine; the two servers are of its session, its containerd is not.
        pids = _session(self._process.pid)
        supervised = self.folder / "exec" / "containerd" / "containerd.pid"
        if supervised.exists():
            pids.append(int(supervised.read_text()))
            supervised.unlink()  # a new engine takes even a dead one, whom nobody has buried yet, for running
        _signal(self._process.pid, how)
        self._process.wait(PATIENCE_SECONDS)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(_runs(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.socket.unlink(missing_ok=True)


def _session(leader: int) -> list[int]:
    """Return the processes of a session; containers and their keepers have sessions of their own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def _signal(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def make_rootfs(folder: Path) -> Path:
    """Make a root filesystem of busybox as a tar."""
    root = folder / "rootfs"
    for one in ("bin", "etc", "tmp", "proc", "dev", "sys"):
        (root / one).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    archive = folder / "rootfs.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
    return archive


def start(kind: str, folder: Path) -> Daemon:
    """Start an engine with the image `IMAGE`, or skip where there is none."""
    if reason := missing():
        pytest.skip(reason)
    daemon = Daemon(kind, folder / kind)
    daemon.start()
    daemon.load(make_rootfs(daemon.folder))
    return daemon
