"""Another user of the same host: no trust, no control socket, no look at the data."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.product.served import Product, until

pytestmark = [
    pytest.mark.zipapp,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]
STRANGER = 65534
TRIES = """
import json, os, socket, sys
port, data, control = int(sys.argv[1]), sys.argv[2], sys.argv[3]
"".encode("idna"); os.setgroups([]);  # what lies where only root may look is loaded before
os.setgid(65534); os.setuid(65534)
found = {"uid": os.getuid()}

def ask(path):
    one = socket.create_connection(("127.0.0.1", port), timeout=30)
    one.sendall(f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = b""
    while got := one.recv(65536):
        answer += got
    return answer.decode()

for path in ("/healthz", "/readyz", "/api/appliance/overview", "/api/appliance/users", "/metrics"):
    found[path] = ask(path)
try:
    socket.socket(socket.AF_UNIX).connect(control)
    found["control"] = "connected"
except OSError as error:
    found["control"] = type(error).__name__
look = {"list": lambda: os.listdir(data), "read": lambda: open(data + "/appliance.db", "rb").read(1)}
for name, try_ in look.items():
    try:
        try_()
        found[name] = "allowed"
    except OSError as error:
        found[name] = type(error).__name__
json.dump(found, sys.stdout)
"""


def test_stranger_is_not_trusted_and_reaches_neither_control_socket_nor_data(shared: Product) -> None:
    control = shared.data / "run" / "control.sock"
    recorded = shared.data / "run" / "control"
    path = control if control.exists() else Path(recorded.read_text().strip())
    assert stat.S_ISSOCK(path.stat().st_mode)
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(str(path))
    command = [sys.executable, "-I", "-c", TRIES, str(shared.port), str(shared.data), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["uid"] == STRANGER
    assert found["/healthz"].startswith("HTTP/1.1 200")
    assert found["/readyz"].startswith("HTTP/1.1 200")
    assert '"items"' not in found["/readyz"]
    for path_of_people in ("/api/appliance/overview", "/api/appliance/users", "/metrics"):
        assert found[path_of_people].startswith("HTTP/1.1 401"), path_of_people
    assert (found["control"], found["list"], found["read"]) == ("PermissionError",) * 3
    # The same request from our own user is trusted: what keeps the stranger out is who they are.
    assert shared.get("/api/appliance/overview").status_code == 200


def test_everything_in_the_data_directory_is_closed_to_others(fresh: Product) -> None:
    fresh.options["umask"] = 0
    fresh.start()
    fresh.set_up().close()
    assert fresh.command("token", "create", "admin-key").returncode == 0
    assert (fresh.data / "keys").is_dir()
    until((fresh.data / "appliance.db-wal").exists)
    # What sandboxes show to tasks, which are other users; on the host the folders above it are closed.
    for_tasks = fresh.data / "plugin-data" / "engine_sandbox" / "etc"
    seen = 0
    for place, folders, files in os.walk(fresh.data):
        for path in (Path(place), *(Path(place, name) for name in (*folders, *files))):
            if path.is_relative_to(for_tasks):
                continue
            mode = path.lstat().st_mode
            wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
            assert stat.S_IMODE(mode) == wanted, (path, oct(mode))
            seen += 1
    assert seen > 12
