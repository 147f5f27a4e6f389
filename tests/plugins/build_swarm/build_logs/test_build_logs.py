"""The output of builds over whole requests: taken part by part, kept within bounds, read and followed."""

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from appliance.testing import SteppingClock
from plugins.build_swarm.build_logs.models import BuildLog
from plugins.build_swarm.build_logs.service import BuildLogs
from plugins.build_swarm.drone.http_server import HttpServer, read_address
from plugins.build_swarm.drone.models import Refused, Unreachable
from tests.plugins.build_swarm.kit import STRANGER, Drone, Swarm, swarm

LOGS = "/api/appliance/swarm/logs"
ATOM = "=app-swarm/one-1.0"


@define(eq=False)
class Sender:
    """A drone's own client, and the id of one log."""

    client: HttpServer
    log_id: str

    async def send(self, offset: int, data: bytes, outcome: str = "", *, atom: str = ATOM) -> int:
        return await self.client.log(self.log_id, atom, offset, data, outcome)


def sender(one: Swarm, drone: Drone, *, log_id: str = "", token: str = "") -> Sender:
    address = read_address(one.appliance.url)
    client = HttpServer(address=address, drone_id=drone.id, name=drone.name, cores=4, token=token)
    return Sender(client, log_id or secrets.token_hex(16))


@asynccontextmanager
async def logging(folder: Path, config: str = "", **options: Any) -> AsyncIterator[tuple[Swarm, Sender]]:
    """An appliance, and a drone that is about to send a log."""
    async with swarm(folder, config, **options) as one:
        yield one, sender(one, await one.drone("drone-1"))


def service(one: Swarm) -> BuildLogs:
    """Return the service behind the routes."""
    found = one.appliance.running.plugins.parts["build_swarm"].surfaces[0].state.build_logs
    assert isinstance(found, BuildLogs)
    return found


async def text(one: Swarm, log_id: str) -> str:
    reply = await one.send("GET", f"{LOGS}/{log_id}")
    assert reply.status == 200
    return reply.text


async def test_log_is_kept_as_it_was_written_and_listed_with_its_build(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        first = b"\x1b[32m>>> Emerging\x1b[0m\n"
        assert await log.send(0, first, atom="app-swarm/one-1.0") == len(first)
        (item,) = (await one.read(LOGS))["items"]
        assert (item["atom"], item["drone"], item["status"], item["is_live"]) == (ATOM, "drone-1", "", True)
        assert item["ended_unix_s"] is None
        second = b"done\n"
        assert await log.send(len(first), second, "success") == len(first) + len(second)
        assert await text(one, log.log_id) == (first + second).decode()
        about = await one.read(f"{LOGS}/{log.log_id}/about")
        assert (about["status"], about["is_live"], about["size_bytes"]) == ("success", False, len(first + second))
        assert about["ended_unix_s"] >= about["started_unix_s"]


async def test_part_that_comes_twice_is_stored_once_and_one_too_far_on_not_at_all(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        assert await log.send(0, b"one\ntwo\n") == 8
        assert await log.send(0, b"one\ntwo\n") == 8
        assert await log.send(4, b"two\nthree\n") == 14
        assert await log.send(20, b"six\n", "success") == 14
        assert await log.send(14, b"", "success") == 14
        assert await log.send(14, b"too late\n") == 14
        assert await text(one, log.log_id) == "one\ntwo\nthree\n"


async def test_log_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        drone_id, log_id = log.client.drone_id, log.log_id
        await log.send(0, b"before\n")
    async with swarm(tmp_path) as one:
        again = sender(one, Drone(one, "drone-1", drone_id), log_id=log_id)
        assert await again.send(7, b"after\n", "failed") == 13
        assert await text(one, log_id) == "before\nafter\n"
        assert (await one.read(f"{LOGS}/{log_id}/about"))["status"] == "failed"


async def test_log_whose_drone_never_comes_back_after_a_restart_ends_as_lost(tmp_path: Path) -> None:
    clock = SteppingClock()
    async with logging(tmp_path, now=clock) as (one, log):
        await log.send(0, b"before\n")
    async with swarm(tmp_path, now=clock) as one:
        assert [item["is_live"] for item in (await one.read(LOGS))["items"]] == [True]
        clock.advance(16 * 60)
        await service(one).prune()
        (item,) = (await one.read(LOGS))["items"]
        assert (item["status"], item["is_live"]) == ("lost", False)


async def test_log_is_for_a_registered_drone_and_for_it_alone(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        with pytest.raises(Refused) as refused:
            await sender(one, Drone(one, "stranger", "f" * 32)).send(0, b"x\n")
        assert refused.value.status == 404
        await log.send(0, b"mine\n")
        other = await one.drone("drone-2")
        with pytest.raises(Refused) as refused:
            await sender(one, other, log_id=log.log_id).send(5, b"yours\n")
        assert refused.value.status == 409
        made = await one.appliance.control("POST", "/api/appliance/tokens", {"kind": "drone", "name": "drone-2"})
        token = made.json["token"]
        with pytest.raises(Refused) as refused:
            await sender(one, Drone(one, "drone-1", log.client.drone_id), token=token).send(0, b"x\n")
        assert refused.value.status == 403
        assert await sender(one, other, token=token).send(0, b"yours\n") == 6
        assert await text(one, log.log_id) == "mine\n"


async def test_stranger_neither_reads_nor_writes(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        await log.send(0, b"x\n")
        for path in (LOGS, f"{LOGS}/{log.log_id}", f"{LOGS}/{log.log_id}/tail", f"{LOGS}/{log.log_id}/stream"):
            assert (await one.send("GET", path, headers=STRANGER)).status == 401
        query = f"drone_id={log.client.drone_id}&drone=drone-1&package=app/x-1"
        assert (await one.send("PUT", f"{LOGS}/{'a' * 32}?{query}", headers=STRANGER)).status == 401


@pytest.mark.parametrize(
    ("log_id", "query", "status"),
    [
        ("A" * 32, "", 400),
        ("a" * 31, "", 400),
        ("a" * 32, "&offset=-1", 400),
        ("a" * 32, "&offset=x", 400),
        ("a" * 32, "&offset=99999999999999999999", 400),
        ("a" * 32, "&outcome=<b>", 400),
        ("a" * 32, "&unknown=1", 400),
    ],
)
async def test_part_that_makes_no_sense_is_refused(tmp_path: Path, log_id: str, query: str, status: int) -> None:
    async with logging(tmp_path) as (one, log):
        path = f"{LOGS}/{log_id}?drone_id={log.client.drone_id}&drone=drone-1&package=app/x-1{query}"
        assert (await one.send("PUT", path)).status == status
        assert (await one.read(LOGS))["items"] == []


async def test_package_that_is_none_is_refused_and_unknown_logs_are_not_found(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        with pytest.raises(Refused) as refused:
            await log.send(0, b"x\n", atom="../../etc/passwd")
        assert refused.value.status == 400
        for log_id in ("0" * 32, "x", "..%2f..%2fetc"):
            for more in ("", "/about", "/tail", "/stream"):
                assert (await one.send("GET", f"{LOGS}/{log_id}{more}")).status == 404


async def test_list_is_cut_into_pages_newest_first_and_by_package_and_drone(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        other = await one.drone("drone-2")
        sent = []
        for number in range(5):
            drone = other if number % 2 else Drone(one, "drone-1", log.client.drone_id)
            part = sender(one, drone)
            await part.send(0, b"x\n", "success", atom=f"app/p{number}-1")
            sent.append(part.log_id)
        found: list[str] = []
        cursor = ""
        for _ in range(3):
            page = await one.read(f"{LOGS}?limit=2" + (f"&cursor={cursor}" if cursor else ""))
            found += [item["log_id"] for item in page["items"]]
            cursor = page["next"] or ""
        assert found == sent[::-1]
        assert cursor == ""
        assert [item["atom"] for item in (await one.read(f"{LOGS}?drone=drone-2"))["items"]] == [
            "=app/p3-1",
            "=app/p1-1",
        ]
        assert len((await one.read(f"{LOGS}?package=app/p2-1"))["items"]) == 1
        assert (await one.send("GET", f"{LOGS}?cursor=x")).status == 400
        assert (await one.send("GET", f"{LOGS}?package=%2e%2e")).status == 400


async def test_log_beyond_its_limit_keeps_its_start_and_its_end_and_tells_the_gap(tmp_path: Path) -> None:
    async with logging(tmp_path, "plugins.build_swarm.log_limit_bytes = 65536") as (one, log):
        line = b"x" * 99 + b"\n"
        offset = 0
        for _ in range(12):
            offset = await log.send(offset, line * 200)
        await log.send(offset, b"the end\n", "success")
        kept = await text(one, log.log_id)
        assert len(kept) < 80_000
        assert kept.startswith("x" * 99)
        assert kept.endswith("the end\n")
        assert (await one.read(f"{LOGS}/{log.log_id}/about"))["size_bytes"] == 240_008
        seen = (await one.send("GET", f"{LOGS}/{log.log_id}/stream")).text
        assert "event: gap" in seen


async def test_tail_waits_for_what_comes_and_says_when_it_is_over(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        await log.send(0, b"one\n")
        path = f"{LOGS}/{log.log_id}/tail"
        part = await one.read(path)
        assert (part["text"], part["next_offset"], part["is_over"]) == ("one\n", 4, False)
        found: list[Any] = []
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                found.append(await one.read(f"{path}?offset=4&wait_seconds=30"))

            nursery.start_soon(wait)
            await log.send(4, b"\xfftwo\n", "success")
        assert (found[0]["text"], found[0]["next_offset"]) == ("\ufffdtwo\n", 9)
        end = await one.read(f"{path}?offset=9&wait_seconds=30")
        assert (end["text"], end["is_over"], end["status"]) == ("", True, "success")


async def test_stream_ends_with_the_build_and_goes_on_where_a_client_was(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        await log.send(0, b"one\n")
        seen: list[str] = []
        async with trio.open_nursery() as nursery:

            async def follow() -> None:
                seen.append((await one.send("GET", f"{LOGS}/{log.log_id}/stream")).text)

            nursery.start_soon(follow)
            await log.send(4, b"two\n", "failed")
        assert seen[0].index('"text":"one') < seen[0].index("event: end")
        assert '"status":"failed"' in seen[0]
        resumed = await one.send("GET", f"{LOGS}/{log.log_id}/stream", headers={"Last-Event-ID": "4"})
        assert "one" not in resumed.text
        assert "two" in resumed.text


async def test_log_ends_as_lost_when_its_drone_is_gone_and_old_ones_are_removed(tmp_path: Path) -> None:
    clock = SteppingClock()
    config = """
        [plugins.build_swarm]
        log_keep_days = 1
        log_count_max = 2
    """
    async with logging(tmp_path, config, now=clock) as (one, log):
        logs = service(one)
        await log.send(0, b"half\n")
        clock.advance(16 * 60)
        await logs.prune()
        (item,) = (await one.read(LOGS))["items"]
        assert (item["status"], item["is_live"]) == ("lost", False)
        for _ in range(3):
            clock.advance(1)
            await sender(one, Drone(one, "drone-1", log.client.drone_id)).send(0, b"x\n", "success")
        await logs.prune()
        assert len((await one.read(LOGS))["items"]) == 2
        assert (await one.send("GET", f"{LOGS}/{log.log_id}")).status == 404
        clock.advance(25 * 3600)
        await logs.prune()
        assert (await one.read(LOGS))["items"] == []
        folder = one.appliance.data_dir / "plugin-data" / "build_swarm" / "build-logs"
        assert await trio.to_thread.run_sync(lambda: list(folder.iterdir())) == []


async def test_logs_together_take_no_more_than_they_may_and_the_oldest_go_first(tmp_path: Path) -> None:
    clock = SteppingClock()
    config = """
        [plugins.build_swarm]
        log_limit_bytes = 524_288
        log_total_bytes = 1_048_576
    """
    drone_id = ""
    ids: list[str] = []
    async with logging(tmp_path, config, now=clock) as (one, log):
        drone_id = log.client.drone_id
        for _ in range(3):
            each = sender(one, Drone(one, "drone-1", drone_id))
            await each.send(0, b"x" * 400_000, "success")
            ids.append(each.log_id)
            clock.advance(1)
        assert [item["log_id"] for item in (await one.read(LOGS))["items"]] == [ids[2], ids[1]]
    async with swarm(tmp_path, config, now=clock) as one:  # what is there counts after a restart too
        each = sender(one, Drone(one, "drone-1", drone_id))
        await each.send(0, b"x" * 400_000)
        assert [item["log_id"] for item in (await one.read(LOGS))["items"]] == [each.log_id, ids[2]]
        other = sender(one, Drone(one, "drone-1", drone_id))
        await other.send(0, b"x" * 400_000)
        with pytest.raises(Refused) as refused:  # these two are being written, and take it all
            await sender(one, Drone(one, "drone-1", drone_id)).send(0, b"x" * 400_000)
        assert refused.value.status == 413
        assert "take all of 1048576 bytes" in str(refused.value)
        assert await each.send(400_000, b"", "success") == 400_000


async def test_drone_has_few_logs_open_and_the_one_it_left_longest_ends(tmp_path: Path) -> None:
    clock = SteppingClock()
    async with logging(tmp_path, now=clock) as (one, log):
        for _ in range(9):
            await sender(one, Drone(one, "drone-1", log.client.drone_id)).send(0, b"x\n")
            clock.advance(1)
        lost = [item["status"] for item in (await one.read(LOGS))["items"]]
        assert lost == ["", "", "", "", "", "", "", "", "lost"]


async def test_build_of_the_history_is_found_by_its_log(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        drone = Drone(one, "drone-1", log.client.drone_id)
        await one.queue(ATOM)
        assert (await drone.work())["package"] == ATOM
        await log.send(0, b"x\n", "success")
        await drone.complete(ATOM)
        await one.queue("=app-swarm/two-1")
        await drone.build("=app-swarm/two-1")
        items = (await one.read("/api/appliance/swarm/builds"))["items"]
        assert {item["atom"]: item["log_id"] for item in items} == {ATOM: log.log_id, "=app-swarm/two-1": None}


async def test_log_that_cannot_be_stored_is_to_be_sent_again(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        place = one.appliance.data_dir / "plugin-data" / "build_swarm" / "build-logs" / log.log_id
        await trio.Path(place.parent).mkdir(exist_ok=True)
        await trio.Path(place).write_text("in the way")
        with pytest.raises(Unreachable, match="cannot be stored"):
            await log.send(0, b"x\n")
        await trio.Path(place).unlink()
        assert await log.send(0, b"x\n", "success") == 2


async def test_slow_reader_of_a_log_costs_its_writer_nothing(tmp_path: Path) -> None:
    async with logging(tmp_path) as (one, log):
        logs = service(one)
        await log.send(0, b"first\n")
        async with aclosing(logs.follow(log.log_id, 0)) as blocks:
            assert (await anext(blocks)).next_offset == 6
            offset = 6
            for _ in range(5):
                offset = await log.send(offset, b"y" * 9_999 + b"\n")
            await log.send(offset, b"", "success")
            rest = [block async for block in blocks]
        assert sum(len(piece.data) for block in rest for piece in block.pieces) == 50_000


def test_log_says_whose_it_is() -> None:
    log = BuildLog(log_id="a" * 32, drone_id="id", drone_name="n", package=ATOM, session_id="", started_unix_us=1)
    assert (log.outcome, log.ended_unix_us) == ("", None)
