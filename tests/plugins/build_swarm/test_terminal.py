"""Terminals on drones: what clients say, and what becomes of it on a real sshd."""

import json
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from appliance.errors import Busy
from appliance.surface import SocketClosed
from plugins.build_swarm.approval import Approval
from plugins.build_swarm.terminal import Input, Resize, read_message
from tests.plugins.build_swarm.ssh_kit import ANA, Box, opened
from tests.wire.sshd import Sshd, running_sshd

PATIENCE_SECONDS = 60.0


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ('{"type": "input", "data": "ls\\n"}', Input(b"ls\n")),
        ('{"data": "ls"}', Input(b"ls")),
        ('{"type": "resize", "cols": 100, "rows": 30}', Resize(100, 30)),
        ("ls -la\n", Input(b"ls -la\n")),
        ("1", Input(b"1")),
        ("[1]", Input(b"[1]")),
        ("{", Input(b"{")),
        ('{"a": 1}', Input(b'{"a": 1}')),
        ("{" * 5000, Input(b"{" * 5000)),
        ('{"data": ' + "[" * 20_000 + "]" * 20_000 + "}", Input(b'{"data": ' + b"[" * 20_000 + b"]" * 20_000 + b"}")),
        (b"\x00\xff{", Input(b"\x00\xff{")),
        ("", Input(b"")),
        ("ü", Input("ü".encode())),
        ('{"type": "input"}', None),
        ('{"type": "input", "data": 5}', None),
        ('{"type": "ping"}', None),
        ('{"type": "resize", "cols": 0, "rows": 30}', None),
        ('{"type": "resize", "cols": true, "rows": 30}', None),
        ('{"type": "resize", "cols": 1e3, "rows": 30}', None),
        (
            '{"type": "resize", "cols": ' + "9" * 5000 + ', "rows": 30}',
            Input(b'{"type": "resize", "cols": ' + b"9" * 5000 + b', "rows": 30}'),
        ),
        ('{"type": "resize", "cols": 9999999999999999999, "rows": 30}', None),
        ('{"type": "resize"}', None),
        ('{"type": [], "data": "x"}', None),
    ],
)
def test_message_of_a_client_means_input_size_or_nothing(message: str | bytes, meaning: Input | Resize | None) -> None:
    assert read_message(message) == meaning


@define(eq=False)
class Browser:
    """One client, as a handler sees its socket."""

    inward: Any = field(init=False)
    messages: Any = field(init=False)
    sent: list[dict[str, Any]] = field(factory=list)
    shown: str = ""
    closed: tuple[int, str] | None = None
    takes: trio.Event = field(factory=trio.Event)
    """While it is not set, nothing that is sent arrives."""

    def __attrs_post_init__(self) -> None:
        self.inward, self.messages = trio.open_memory_channel[str | bytes](100)
        self.takes.set()

    async def receive(self) -> str | bytes:
        try:
            received: str | bytes = await self.messages.receive()
        except trio.EndOfChannel:
            raise SocketClosed from None
        return received

    async def send(self, message: str | bytes) -> None:
        await self.takes.wait()
        found = json.loads(message)
        self.sent.append(found)
        if found.get("type") == "output":
            self.shown += found["data"]

    async def send_frames(self, frames: bytes) -> None:
        raise NotImplementedError

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    async def type(self, text: str) -> None:
        await self.inward.send(json.dumps({"type": "input", "data": text}))

    async def until(self, text: str) -> None:
        """Wait until it is shown."""
        with trio.fail_after(PATIENCE_SECONDS):
            while text not in self.shown:  # noqa: ASYNC110  another task adds to it
                await trio.sleep(0.01)


@pytest.fixture
def drone(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "drone") as one:
        yield one


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path) as made, made.serving():
        yield made


@asynccontextmanager
async def terminal(box: Box, approval: Approval) -> AsyncIterator[Browser]:
    """Open a terminal; in the end it must end by itself."""
    browser = Browser()

    async def serve() -> None:
        try:
            await box.terminals.serve(browser, approval, ANA, columns=100, rows=30)
        except SocketClosed:
            browser.closed = browser.closed or (0, "gone")

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield browser


async def test_terminal_is_a_real_one_with_a_size_that_follows_the_client(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("test -t 0 && stty size; echo a\x7fwell | tr a-z A-Z\n")
        await browser.until("30 100")
        await browser.until("WELL")
        connected = {"type": "connected", "drone": "drone-01", "ip": "127.0.0.1", "user": drone.user}
        assert browser.sent[0] == connected
        await browser.inward.send('{"type": "resize", "cols": 132, "rows": 43}')
        await browser.type("stty size\n")
        await browser.until("43 132")
        await browser.type("exit\n")
    assert browser.closed == (1000, "the shell has ended")
    assert box.terminals.open == 0


async def test_program_that_runs_is_told_of_another_size(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        # One job, for only what runs in the foreground is told.
        script = "trap 'echo now $(stty size)' WINCH; echo rea''dy; while :; do sleep 0.1; done"
        await browser.type(f"sh -c {shlex.quote(script)}\n")
        await browser.until("ready")
        await browser.inward.send('{"type": "resize", "cols": 91, "rows": 17}')
        await browser.until("now 17 91")
        await browser.type("\x03")
        await browser.type("exit\n")


async def test_keys_reach_the_shell_as_they_are_and_mean_nothing_to_ssh(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("cat > keys\n")
        await browser.type("~.\n~C\n~?\n\x04")
        await browser.type("od -c < keys; sleep 600\n")
        await browser.until("~   ?")
        await browser.type("\x03")
        await browser.inward.send(b"echo raw")
        await browser.inward.send(" text | tr a-z A-Z\nexit\n")
        await browser.until("RAW TEXT")
    assert (drone.folder / "home" / "keys").read_bytes() == b"~.\n~C\n~?\n"


async def test_character_that_is_split_between_two_reads_is_shown_whole(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type(r"stty -echo; printf '\303'; sleep 0.3; printf '\274 \377 en'; echo d; exit" + "\n")
        await browser.until("ü \ufffd end")


@pytest.mark.long
async def test_output_waits_while_the_client_takes_none_and_nothing_of_it_is_lost(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("PS1=; stty -echo; echo rea''dy\n")
        await browser.until("ready")
        browser.takes = trio.Event()
        mark = drone.folder / "home" / "all-written"
        await browser.type("seq 1 300000; touch all-written; exit\n")
        with trio.move_on_after(0.5):
            while not mark.exists():  # noqa: ASYNC110  another process makes it
                await trio.sleep(0.01)
        assert not mark.exists()  # 2 MB fit into no buffer on the way
        assert len(browser.shown) < 1_900_000
        browser.takes.set()
    lines = browser.shown.split("ready")[-1].split()
    assert lines[-1] == "300000"
    assert lines == [str(number) for number in range(1, 300_001)]


async def test_terminal_ends_with_its_client_and_so_does_what_it_ran(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("sh -c 'echo $$ > pid; echo rea\"\"dy; exec sleep 600'\n")
        await browser.until("ready")
        await browser.inward.aclose()
    process = trio.Path("/proc", (drone.folder / "home" / "pid").read_text().strip())
    with trio.fail_after(PATIENCE_SECONDS):
        while await process.exists():  # noqa: ASYNC110  another process ends it
            await trio.sleep(0.01)
    assert (await box.audited())[-1].action == "swarm.terminal_closed"
    assert json.loads((await box.audited())[-1].detail)["cause"] == "client gone"


async def test_terminal_in_which_nothing_happens_is_closed(tmp_path: Path, drone: Sshd) -> None:
    async with opened(tmp_path, terminal_idle_seconds=1.0) as box, box.serving():
        approval = await box.approve(drone)
        async with terminal(box, approval) as browser:
            pass
    assert browser.closed == (1008, "nothing was typed or shown for too long")
    assert browser.sent[-1] == {"error": "nothing was typed or shown for too long"}


async def test_drone_that_goes_away_ends_the_terminal_with_an_error(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("echo rea''dy\n")
        await browser.until("ready")
        drone.down()
    assert browser.closed == (1011, "the connection to the drone is lost")
    assert browser.sent[-1] == {"error": "the connection to the drone is lost"}


async def test_drone_that_lets_nobody_in_is_an_error_before_anything_is_said_to_be_open(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.change_host_key()
    async with terminal(box, approval) as browser:
        pass
    assert browser.closed is not None
    assert browser.closed[0] == 1011
    assert [sorted(message) for message in browser.sent] == [["error", "hint"]]
    assert box.terminals.open == 0


async def test_approval_that_is_taken_back_ends_open_terminals(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("echo rea''dy\n")
        await browser.until("ready")
        await box.approvals.unapprove("drone-01", who=ANA)
    assert browser.closed == (1008, "the drone is no longer approved")


async def test_beginning_and_end_are_in_the_audit_log_with_what_went_through(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    async with terminal(box, approval) as browser:
        await browser.type("exit\n")
    begun, ended = (await box.audited())[-2:]
    assert (begun.action, begun.object, begun.who_name) == ("swarm.terminal_opened", "drone-01", "ana")
    assert json.loads(begun.detail) == {"address": "127.0.0.1", "port": drone.port, "user": drone.user}
    detail = json.loads(ended.detail)
    assert (ended.action, detail["cause"], detail["typed_bytes"]) == ("swarm.terminal_closed", "ended", 5)
    assert detail["shown_bytes"] == len(browser.shown.encode())
    assert detail["seconds"] >= 0
    assert "exit" not in ended.detail


async def test_no_more_terminals_are_opened_than_may_be(tmp_path: Path, drone: Sshd) -> None:
    async with opened(tmp_path, terminal_at_once=1) as box, box.serving():
        approval = await box.approve(drone)
        async with terminal(box, approval) as browser:
            await browser.type("echo rea''dy\n")
            await browser.until("ready")
            with pytest.raises(Busy, match="1 terminals are open"):
                await box.terminals.serve(Browser(), approval, ANA)
            await browser.type("exit\n")
        box.terminals.require_room()
