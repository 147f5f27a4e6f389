"""A shared HTTP service of the built file: downloaded from until its share expires, and opened in a browser.

The GPUs are scripted; the command, its user, the relay, ``curl`` and Chromium are real.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, expect

from tests.nvml.scripted import VARIABLE, Script, build, compiler, gpu, uuid_of
from tests.product.served import Product, product, until

PYTHON = "/usr/bin/python3"
"""Of the system: a user without rights may not be able to run the one of these tests."""
BIG_BYTES = 2**30
SLOW_BYTES_PER_S = 16 * 2**20
SHARE_SECONDS = 4.0
CUT_SECONDS = 2.0
"""A second, and one more for a busy machine."""
CURL_CUT = {18, 56}
"""curl(1): the transfer ended too early, or receiving failed: by a reset, as here."""
CURL_RESET = {7, 56}
"""It could not connect, or receiving failed: a reset may come while it still connects."""
SHARING = "/api/appliance/sharing"
PORTS = range(33_000, 34_000)
CONFIG = f"""
[devices]
sample_seconds = 0.2
[plugins.gpu_sharing]
relay_ports = "{PORTS[0]}-{PORTS[-1]}"
default_command = "web"
[plugins.gpu_sharing.commands.web]
argv = ["{PYTHON}", "-m", "http.server", "{{port}}", "--bind", "127.0.0.1"]
user = "nobody"
folder = "{{folder}}"
"""


def why_not() -> str:
    """Return why this machine cannot run these tests; empty where it can."""
    missing = [name for name in ("setpriv", "curl") if shutil.which(name) is None]
    for reason, is_so in (
        ("a command is run as another user by root alone", os.geteuid() != 0),
        ("no C compiler for the scripted NVML library", compiler() is None),
        (f"no {' and no '.join(missing)} on this machine", bool(missing)),
        (f"no {PYTHON} on this machine", not Path(PYTHON).exists()),
        ("no user nobody on this machine", all(one.pw_name != "nobody" for one in pwd.getpwall())),
    ):
        if is_so:
            return reason
    return ""


pytestmark = [pytest.mark.zipapp, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scripted library."""
    return build(tmp_path_factory.mktemp("nvml")).parent


@pytest.fixture
def folder() -> Iterator[Path]:
    """What the command serves: one large file without content on disk, and one to read; for everybody's eyes."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        with (path / "big.bin").open("wb") as file:
            file.truncate(BIG_BYTES)
        (path / "model.txt").write_text("answers of a model on a GPU\n")
        yield path


@pytest.fixture
def sharing(pyz: Path, tmp_path: Path, library: Path, folder: Path) -> Iterator[Product]:
    """A product on a host of two GPUs whose worker serves the folder."""
    script = Script(tmp_path / "nvml.script")
    script.write(gpu(0), gpu(1))
    environment = {"LD_LIBRARY_PATH": str(library), VARIABLE: str(script.path)}
    with product(pyz, tmp_path, environment=environment) as one:
        one.config.write_text(CONFIG.replace("{folder}", str(folder)))
        one.start()
        yield one
        if one._process is not None:
            assert one.stop() == 0


def listed(one: Product, what: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = one.get(f"{SHARING}/{what}").json()["items"]
    return items


def worker(one: Product) -> dict[str, Any]:
    """Return the default worker once its command answers."""
    return until(lambda: [each for each in listed(one, "workers") if each["status"] == "running"], seconds=30)[0]


def share(one: Product, *terms: str) -> dict[str, Any]:
    """Share the worker by the command."""
    command = ("share", "create", "--worker", worker(one)["worker_id"], "--connection-ip", "127.0.0.1", *terms)
    made: dict[str, Any] = one.json(*command)
    assert made["relay_port"] in PORTS
    assert made["connection_url"] == f"tcp://127.0.0.1:{made['relay_port']}"
    return made


def told(one: Product, kind: str) -> list[dict[str, Any]]:
    items = one.get("/api/appliance/events/history", params={"limit": 1000}).json()["items"]
    return [event for event in items if event["kind"] == kind]


def used(one: Product, by: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in listed(one, f"usage?by={by}&all=true")}


def refused(port: int) -> bool:
    """Whether nobody listens at a port any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_download_is_cut_when_its_share_expires_and_what_had_passed_is_recorded(
    sharing: Product, tmp_path: Path
) -> None:
    found = worker(sharing)
    assert found["gpu_ids"] == [uuid_of(0), uuid_of(1)]
    made = share(sharing, "--expires-in", f"{SHARE_SECONDS:.0f}s", "--max-uses", "3")
    url, code, target = f"http://127.0.0.1:{made['relay_port']}", made["short_code"], tmp_path / "big.bin"
    stranger = subprocess.run(["curl", "-sS", f"{url}/big.bin"], capture_output=True, timeout=20, check=False)
    assert stranger.returncode in CURL_RESET, "nobody has followed the link yet"
    assert stranger.stdout == b""
    assert sharing.get(f"/s/{code}").json()["connection_url"] == made["connection_url"]
    download = ["curl", "-sS", "--limit-rate", str(SLOW_BYTES_PER_S), "-o", str(target), f"{url}/big.bin"]
    done = subprocess.run(download, capture_output=True, text=True, timeout=30, check=False)
    assert 0 <= time.time() - made["expires_unix_s"] < CUT_SECONDS
    assert done.returncode in CURL_CUT, done.stderr
    size = target.stat().st_size
    assert 2**20 < size < BIG_BYTES / 2

    assert sharing.get(f"/s/{code}").status_code == 410
    until(partial(refused, made["relay_port"]))
    (cut,) = until(lambda: told(sharing, "sharing.share.cut"))
    facts = cut["data"]
    assert (facts["share_id"], facts["reason"], facts["connections"]) == (made["share_id"], "expired", 1)
    assert size <= facts["bytes_to_guests"] < BIG_BYTES
    assert "1 connection was cut" in cut["message"]
    (over,) = until(lambda: told(sharing, "sharing.share.expired"))
    assert over["data"] == {"share_id": made["share_id"]}
    assert code not in cut["message"] + over["message"], "whoever reads events is not let in by them"
    (row,) = listed(sharing, "shares")
    assert (row["state"], row["used_count"], row["connections_live"]) == ("expired", 1, 0)

    sharing.restart()  # what was counted is on disk at the latest then
    assert sharing.get(f"/s/{code}").status_code == 410
    total = facts["bytes_from_guests"] + facts["bytes_to_guests"]
    assert used(sharing, "share")[made["share_id"]]["bytes"] == total
    of_worker = used(sharing, "worker")[found["worker_id"]]
    assert of_worker["bytes"] == total
    assert of_worker["gpu_seconds"] >= 2 * SHARE_SECONDS, "of both GPUs"
    assert len(told(sharing, "sharing.share.cut")) == len(told(sharing, "sharing.share.expired")) == 1
    assert "Traceback" not in sharing.log


@pytest.mark.browser
def test_browser_opens_a_shared_service_once_its_link_was_followed_and_until_it_is_revoked(
    sharing: Product, browser: Browser
) -> None:
    made = share(sharing)
    url = f"http://127.0.0.1:{made['relay_port']}/"
    with browser.new_context() as context:
        early = context.new_page()  # Chromium's own page about the failure would come in the way of the next visit
        with pytest.raises(Error, match=r"net::ERR_(CONNECTION|SOCKET)_"):
            early.goto(url, timeout=30_000)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(f"{sharing.base}/s/{made['short_code']}")
        page.get_by_role("button", name="Open the share").click()
        expect(page.get_by_text(made["connection_url"])).to_be_visible()
        page.goto(url)
        page.get_by_role("link", name="model.txt").click()
        expect(page.get_by_text("answers of a model on a GPU")).to_be_visible()
        (row,) = listed(sharing, "shares")
        assert (row["used_count"], row["bytes_total"] > 0) == (1, True)
        assert sharing.command("share", "revoke", made["share_id"]).returncode == 0
        with pytest.raises(Error, match=r"net::ERR_(CONNECTION|SOCKET)_"):
            page.reload()
    assert listed(sharing, "shares") == []
