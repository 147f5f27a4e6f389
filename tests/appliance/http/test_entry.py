"""Who gets into a whole appliance, over real sockets."""

import http.client
import json
import os
import sys
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
import trio

from appliance.testing import PASSWORD, RunningAppliance, running

STRANGER = """
import encodings.idna, http.client, os, sys
os.setgid(65534); os.setuid(65534)
asked = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
asked.request("GET", sys.argv[2])
sys.stdout.write(str(asked.getresponse().status))
"""
READ = "/api/appliance/devices"


def cookies_of(appliance: RunningAppliance, path: str, body: object) -> str:
    """Send a POST and return the ``Cookie`` header that a browser would send from then on."""
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        jar: SimpleCookie = SimpleCookie()
        for value in answer.headers.get_all("Set-Cookie", []):
            jar.load(value)
        return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())
    finally:
        connection.close()


async def test_first_admin_comes_in_by_the_link_and_stays_logged_in(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        body = {"token": appliance.running.setup_secret, "name": "ana", "password": PASSWORD}
        cookie = await trio.to_thread.run_sync(partial(cookies_of, appliance, "/api/appliance/setup", body))
        me = await appliance.get("/api/auth/me", headers={"Cookie": cookie})
        assert (me.status, me.json["user"]["role"]) == (200, "admin")
        assert (await appliance.get("/api/appliance/users", headers={"Cookie": cookie})).status == 200
        forged = {"Cookie": cookie, "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert (await appliance.post("/api/appliance/tokens", {"kind": "worker"}, headers=forged)).status == 403
        assert (await appliance.post("/api/auth/logout/", headers={"Cookie": cookie})).status == 200
        assert (await appliance.get("/api/auth/me", headers={"Cookie": cookie})).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.7"},
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Mode": "navigate"},
        {"Authorization": "Bearer wrong"},
        {"X-Admin-Key": "wrong"},
    ],
    ids="".join,
)
async def test_trusted_process_reads_and_who_hides_behind_it_does_not(tmp_path: Path, headers: dict[str, str]) -> None:
    async with running(tmp_path) as appliance:
        assert (await appliance.get(READ)).status == 200
        assert (await appliance.get(READ, headers=headers)).status == 401
        assert (await appliance.get("/api/appliance/users")).status == 401


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
async def test_another_local_user_is_refused_and_may_see_that_we_live(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        for path, status in ((READ, b"401"), ("/healthz", b"200")):
            command = [sys.executable, "-c", STRANGER, str(appliance.port), path]
            done = await trio.run_process(command, capture_stdout=True, cwd="/")
            assert done.stdout == status


async def test_control_socket_is_admin_and_makes_tokens_that_count(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        made = await appliance.control("POST", "/api/appliance/tokens", {"kind": "admin-key"})
        assert made.status == 201
        assert (await appliance.get(READ, headers={"X-Admin-Key": made.json["token"]})).status == 200
        gone = await appliance.control("DELETE", f"/api/appliance/tokens/{made.json['id']}")
        assert gone.status == 200
        assert (await appliance.get(READ, headers={"X-Admin-Key": made.json["token"]})).status == 401


async def test_key_from_the_environment_acts_as_operator(tmp_path: Path) -> None:
    async with running(tmp_path, environment={"ADMIN_KEY": "key-from-the-environment"}) as appliance:
        key = {"X-Admin-Key": "key-from-the-environment", "Host": "evil.example"}
        assert (await appliance.get(READ, headers=key)).status == 200
        assert (await appliance.get("/api/appliance/users", headers=key)).status == 403
