"""What enters drones, by whole requests to a running appliance and a real sshd."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.appliance.cli.conftest import Terminal
from tests.plugins.build_swarm.kit import KEY, STRANGER, Drone, Swarm, swarm
from tests.plugins.task_scheduler.kit import Messages
from tests.wire.sshd import Sshd, running_sshd

OWN = "/api/appliance/swarm"


@asynccontextmanager
async def entered(folder: Path) -> AsyncIterator[tuple[Swarm, Sshd, Drone]]:
    """Run an appliance and one drone of type lxc, which is approved and whose program runs."""
    with running_sshd(folder / "drone") as sshd:
        sshd.stub("pgrep", 'case "$*" in *-x*) ;; *) echo 77 ;; esac')
        async with swarm(folder) as one:
            sshd.authorize((await one.read(f"{OWN}/approvals"))["public_key"])
            drone = await one.drone("drone-01")
            await approve(one, sshd, drone.name)
            yield one, sshd, drone


async def approve(one: Swarm, sshd: Sshd, name: str, **more: Any) -> Any:
    told = {"port": sshd.port, "user": sshd.user, "host_key": sshd.host_key, "drone_type": "lxc", **more}
    return await one.post(f"{OWN}/drones/{name}/approve", told)


async def test_drone_is_pinged_over_every_surface_and_what_it_said_is_kept(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, _, drone):
        before = await one.read("/api/v1/ping")
        found = await one.post("/api/v1/nodes/drone-01/ping")
        assert {name: found[name] for name in ("status", "ok", "drone", "state")} == {
            "status": "ok",
            "ok": True,
            "drone": "drone-01",
            "state": "ok",
        }
        assert set(found["metrics"]) >= {"load", "disk_percent", "mem_percent", "emerge_running", "uptime_seconds"}
        assert found["latency_ms"] > 0
        assert before["drones"]["drone-01"]["status"] in ("unknown", "ok")  # self-healing may have looked already
        last = (await one.read("/api/v1/ping"))["drones"]["drone-01"]
        assert last["status"] == "ok"
        assert last["last_pong_at"] >= last["last_ping_at"]
        assert (await one.read(f"/api/v1/ping?id={drone.id}"))["seq"] >= found["seq"]
        assert (await one.read("/api/v1/ping?name=drone-01"))["drones"]["drone-01"]["status"] == "ok"
        await one.refused("GET", "/api/v1/ping?name=nobody", status=404)
        for method in ("GET", "POST"):
            again = (await one.send(method, "/admin/api/drones/drone-01/ping")).json
            assert again["probe_result"]["emerge_running"] is False
        item = await one.post(f"{OWN}/drones/drone-01/ping")
        assert item["status"] == "ok"
        assert item["load"] >= 0
        everybody = await one.read("/api/v1/ping/all")
        assert (everybody["status"], everybody["pinged"], everybody["drones"]) == ("ok", 1, ["drone-01"])
        assert [each["drone"] for each in everybody["results"]] == ["drone-01"]


async def test_escalation_is_told_reset_and_obeys_the_type_that_is_set(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, _, drone):
        assert (await one.read("/api/v1/escalation"))["monitor_running"] is True
        shown = (await one.read("/api/v1/escalation"))["drones"]["drone-01"]
        assert (shown["escalation_level"], shown["drone_type"], shown["drone_id"]) == (0, "lxc", drone.id)
        for body in ({"drone_type": "bare-metal"}, {"type": "qemu"}):
            await one.post("/api/v1/nodes/drone-01/set-type", body)
            told = await one.read("/admin/api/drones/drone-01/escalation")
            assert told["drone_type"] == next(iter(body.values()))
        assert (await one.read(f"{OWN}/approvals"))["items"][0]["drone_type"] == "qemu"
        summary = await one.read("/admin/api/self-healing/status")
        assert summary["probe_interval_s"] == 30
        assert sum(summary["escalation_summary"].values()) == 1
        found = await one.post("/api/v1/nodes/drone-01/reset-escalation")
        assert (found["status"], found["state"], found["current_level"]) == ("ok", "reset", 0)
        own = await one.post(f"{OWN}/drones/drone-01/reset-escalation")
        assert own["name"] == "drone-01"
        assert (await one.read("/api/v1/escalation"))["drones"]["drone-01"]["escalation_level"] == 0


async def test_log_of_a_drone_is_read_on_both_surfaces(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, sshd, _):
        sshd.stub("dmesg", "seq 1 9; echo 'a <b>'")
        found = await one.read("/admin/api/drones/drone-01/syslog?type=dmesg&lines=2")
        assert (found["lines"], found["line_count"], found["log_type"]) == (["9", "a \u2039b>"], 2, "dmesg")
        assert found["content"] == "9\na \u2039b>"
        own = await one.read(f"{OWN}/drones/drone-01/syslog?type=dmesg&lines=1")
        assert own == {"lines": ["a <b>"], "is_cut": False, "error": None}
        await one.refused("GET", "/admin/api/drones/drone-01/syslog?type=shadow", status=400)
        await one.refused("GET", "/admin/api/drones/nobody/syslog", status=404)


async def test_terminal_is_opened_with_the_key_and_refused_before_the_upgrade_without(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, sshd, drone):
        for path, headers, status in (
            ("drone-01", {}, 401),
            ("drone-01", STRANGER, 401),
            ("drone-01?key=wrong", STRANGER, 401),
            (f"nobody?key={KEY}", STRANGER, 404),
        ):
            async with socket(one, path, headers) as refused:
                assert refused.close_code == status
        await one.post(f"{OWN}/drones/drone-01/unapprove")
        async with socket(one, f"drone-01?key={KEY}", STRANGER) as refused:
            assert refused.close_code == 409
        await approve(one, sshd, drone.name)
        async with socket(one, f"drone-01?key={KEY}&cols=90&rows=20", STRANGER) as shell:
            first = await shell.next()
            assert first == {"type": "connected", "drone": "drone-01", "ip": "127.0.0.1", "user": sshd.user}
            await shell.say(json.dumps({"type": "input", "data": "stty size; exit\n"}))
            shown = "".join(message["data"] for message in await shell.rest())
            assert "20 90" in shown
            assert shell.close_code == 1000


@asynccontextmanager
async def socket(one: Swarm, path: str, headers: Any) -> AsyncIterator[Messages]:
    async with await trio.open_tcp_stream("127.0.0.1", one.appliance.port) as stream:
        messages = Messages(stream)
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        await messages.open(f"/ws/ssh/{path}", given)
        yield messages


async def test_approval_takes_what_is_left_out_from_what_is_known(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, sshd, _):
        drone = await one.drone("drone-02")
        await one.post("/admin/api/drone-config/drone-02", {"ssh_port": sshd.port, "ssh_user": sshd.user})
        seen = await one.post(f"{OWN}/drones/drone-02/scan")
        assert (seen["address"], seen["port"], seen["user"], seen["drone_type"]) == (
            "127.0.0.1",
            sshd.port,
            sshd.user,
            "unknown",
        )
        assert [key["host_key"] for key in seen["keys"]] == [sshd.host_key]
        assert seen["authorized_keys_line"] == f"restrict,pty {seen['public_key']}"
        made = await one.post(f"{OWN}/drones/drone-02/approve", {"drone_type": "qemu"})
        assert made["host_key_fingerprint"] == seen["keys"][0]["fingerprint"]
        node = next(each for each in await one.read("/api/v1/nodes") if each["id"] == drone.id)
        assert node["drone_type"] == "qemu"


WRONG: list[tuple[str, dict[str, Any], int]] = [
    ("never-seen", {}, 400),
    ("-oProxyCommand=x", {"address": "192.0.2.1"}, 400),
    ("drone-01", {"address": "example.net"}, 400),
    ("drone-01", {"port": 70_000}, 400),
    ("drone-01", {"user": "a b"}, 400),
    ("drone-01", {"host_key": "nonsense"}, 400),
    ("drone-01", {"drone_type": "toaster"}, 400),
    ("drone-01", {"password": "x"}, 400),
    ("drone-01", {"fingerprint": "SHA256:other", "port": 0}, 409),
    ("drone-01", {"port": 1}, 409),
]


async def test_approval_that_cannot_be_meant_changes_nothing(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, sshd, _):
        before = await one.read(f"{OWN}/approvals")
        for name, body, status in WRONG:
            told = {**body, "port": sshd.port} if body.get("port") == 0 else body
            reply = await one.send("POST", f"{OWN}/drones/{name}/approve", told)
            assert (reply.status, name, body) == (status, name, body), reply.text
        assert await one.read(f"{OWN}/approvals") == before


async def test_commands_approve_list_and_take_back(tmp_path: Path) -> None:
    async with entered(tmp_path) as (one, sshd, _):
        shell = Terminal(one.appliance)
        await one.drone("drone-02")
        asked = await shell("swarm", "approve", "drone-02", "--port", str(sshd.port), stdin="y\n")
        assert (asked.status, "give --fingerprint" in asked.err) == (1, True)
        done = await shell("swarm", "approve", "drone-02", "--port", str(sshd.port), "--type", "qemu", "--yes")
        assert done.status == 0, done.err
        assert "our public key: ssh-ed25519 " in done.out
        given = await shell("swarm", "approve", "drone-02", "--host-key", sshd.host_key, "--port", str(sshd.port))
        assert given.status == 0, given.err
        nobody = await shell("swarm", "approve", "drone-02", "--port", "1", "--yes")
        assert (nobody.status, "shows no host key" in nobody.err) == (1, True)
        listed = await shell("swarm", "approved", COLUMNS="200")
        assert [line.split()[0] for line in listed.out.splitlines()[1:3]] == ["drone-01", "drone-02"]
        gone = await shell("swarm", "unapprove", "drone-02")
        assert gone.out == "drone-02 is entered no more\n"
        assert (await shell("swarm", "unapprove", "drone-02")).status == 1
