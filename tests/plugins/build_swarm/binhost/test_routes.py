import gzip
import socket
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Kind, Role
from appliance.testing import Reply, RunningAppliance, running, until
from tests.plugins.build_swarm.binhost.packages import gpkg, sha256
from tests.plugins.build_swarm.binhost.parts import path_of
from tests.plugins.build_swarm.binhost.portage import entries_of

BINHOST = "/api/appliance/binhost"
RELEASES = "/api/appliance/swarm/releases"
ADMIN = "/admin/api/releases"
HELLO = "app-test/hello-1.0"
WORLD = "app-test/world-1.0"
STRANGER = {"X-Forwarded-For": "192.0.2.7"}
CONFIG = "[plugins.build_swarm]\nbinhost_free_bytes_min = 0\n"


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=CONFIG) as one:
        yield one


async def credential(appliance: RunningAppliance, name: str = "drone-01") -> dict[str, str]:
    minted = await appliance.state.credentials.create(Kind.DRONE, subject=name)
    return {"Authorization": f"Bearer {minted.secret}"}


async def put(
    appliance: RunningAppliance, cpv: str, headers: Mapping[str, str], data: bytes | None = None, **said: str
) -> Reply:
    """Upload a package; what is taken is in the index then, however slowly that is made."""
    body = gpkg(cpv) if data is None else data
    reply = await appliance.request(
        "PUT",
        f"{BINHOST}/staging/{path_of(cpv)}",
        body=body,
        headers={"X-Content-SHA256": sha256(body), **headers, **said},
    )
    if reply.status < 300:
        with trio.fail_after(60):
            while not await published(appliance):  # noqa: ASYNC110  another request is all that tells
                await trio.sleep(0.01)
    return reply


async def published(appliance: RunningAppliance) -> bool:
    """Say whether the index names all that is staged."""
    listed = (await appliance.get("/api/appliance/swarm/staging")).json["items"]
    entries = entries_of((await appliance.get(f"{BINHOST}/staging/Packages")).text)
    return {one["path"] for one in listed} == set(entries)


async def test_drone_uploads_and_anybody_who_may_read_fetches(appliance: RunningAppliance) -> None:
    reply = await put(appliance, HELLO, await credential(appliance))
    assert reply.status == 201, reply.text
    assert reply.json["is_new"]
    assert reply.json["package"]["uploaded_by"] == "drone-01"
    assert (await put(appliance, HELLO, await credential(appliance))).status == 200
    index = await appliance.get(f"{BINHOST}/staging/Packages")
    assert list(entries_of(index.text)) == [path_of(HELLO)]
    packed = await appliance.get(f"{BINHOST}/staging/Packages.gz")
    assert "content-encoding" not in packed.headers, "the file is what is packed, not its way"
    assert gzip.decompress(packed.body) == index.body
    assert (await appliance.get(f"{BINHOST}/staging/{path_of(HELLO)}")).body == gpkg(HELLO)


async def test_only_drones_and_operators_upload(appliance: RunningAppliance) -> None:
    operator = await appliance.bearer("ope", Role.OPERATOR)
    user = await appliance.bearer("uma", Role.USER)
    assert (await put(appliance, HELLO, {})).status == 401, "trust in a local process is not enough"
    assert (await put(appliance, HELLO, user)).status == 403
    machine = await appliance.state.credentials.create(Kind.MACHINE, subject="m", scope="gpu")
    assert (await put(appliance, HELLO, {"Authorization": f"Bearer {machine.secret}"})).status == 403
    assert (await put(appliance, HELLO, operator)).status == 201
    path = f"{BINHOST}/staging/{path_of(HELLO)}"
    assert (await appliance.request("DELETE", path, headers=await credential(appliance))).status == 403
    assert (await appliance.request("DELETE", path, headers=operator)).json["cpv"] == HELLO
    assert (await appliance.get(path)).status == 404


async def test_open_network_reads_and_never_uploads(tmp_path: Path) -> None:
    async with running(tmp_path, config=CONFIG + 'open_to = ["127.0.0.0/8"]\n', listen=("127.0.0.1:0",)) as appliance:
        await put(appliance, HELLO, await credential(appliance))
        # A cookie of ours takes the trust of a local process away; what is left is the open network.
        browser = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
        assert (await appliance.get(f"{BINHOST}/staging/Packages", headers=browser)).status == 200
        assert (await put(appliance, WORLD, browser)).status == 401
        assert (await appliance.get(f"{BINHOST}/staging/Packages", headers=STRANGER)).status == 401


@pytest.mark.parametrize(
    ("path", "said", "words"),
    [
        (path_of(HELLO), {"X-Content-SHA256": "0" * 64}, "has the SHA-256"),
        (path_of(HELLO), {"X-Content-SHA256": "abc"}, "no SHA-256"),
        ("app-test/hello-1.0.tbz2", {}, "no path of a binary package"),
        ("..%2f..%2fhello%2fhello-1.0-1.gpkg.tar", {}, "must not contain"),
        (path_of(WORLD), {}, "does not belong at"),
    ],
)
async def test_wrong_upload_is_answered_400(
    appliance: RunningAppliance, path: str, said: dict[str, str], words: str
) -> None:
    data = gpkg(HELLO)
    headers = {"X-Content-SHA256": sha256(data), **await credential(appliance), **said}
    reply = await appliance.request("PUT", f"{BINHOST}/staging/{path}", body=data, headers=headers)
    assert (reply.status, words in reply.text) == (400, True), reply.text
    assert reply.json["field"]


async def test_upload_without_a_hash_is_answered_400(appliance: RunningAppliance) -> None:
    headers = await credential(appliance)
    reply = await appliance.request("PUT", f"{BINHOST}/staging/{path_of(HELLO)}", body=gpkg(HELLO), headers=headers)
    assert (reply.status, "X-Content-SHA256" in reply.json["hint"]) == (400, True)


async def test_other_file_at_the_path_of_another_drone_is_answered_409(appliance: RunningAppliance) -> None:
    await put(appliance, HELLO, await credential(appliance))
    reply = await put(appliance, HELLO, await credential(appliance, "drone-02"), gpkg(HELLO, image=b"other"))
    assert (reply.status, "from drone-01" in reply.text) == (409, True)


async def test_package_is_served_in_ranges_and_with_conditions(appliance: RunningAppliance) -> None:
    data = gpkg(HELLO)
    await put(appliance, HELLO, await credential(appliance))
    path = f"{BINHOST}/staging/{path_of(HELLO)}"
    whole = await appliance.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "application/vnd.gentoo.gpkg"
    part = await appliance.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert (await appliance.get(path, headers={"If-None-Match": whole.headers["etag"]})).status == 304
    assert (await appliance.get(path, headers={"If-Modified-Since": whole.headers["last-modified"]})).status == 304
    head = await appliance.request("HEAD", path)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(data)), b"")
    assert (await appliance.get(f"{BINHOST}/staging/app-test/no/no-1-1.gpkg.tar")).status == 404
    for outside in ("..%2f..%2ftest.db", "objects", ".hidden", "Packages/x"):
        assert (await appliance.get(f"{BINHOST}/staging/{outside}")).status in {400, 404}


@pytest.mark.parametrize("sent", ["x11-libs/gtk+/gtk+-3.0-1.gpkg.tar", "x11-libs/gtk%2B/gtk%2b-3.0-1.gpkg.tar"])
async def test_plus_in_a_name_is_a_plus_however_it_is_sent(appliance: RunningAppliance, sent: str) -> None:
    await put(appliance, "x11-libs/gtk+-3.0", await credential(appliance))
    assert (await appliance.get(f"{BINHOST}/staging/{sent}")).body == gpkg("x11-libs/gtk+-3.0")


async def test_index_made_right_after_another_is_news_to_portage(appliance: RunningAppliance) -> None:
    drone = await credential(appliance)
    await put(appliance, HELLO, drone)
    first = (await appliance.get(f"{BINHOST}/staging/Packages.gz")).headers["last-modified"]
    # Portage asks with five seconds more than the time of its copy.
    asked = {"If-Modified-Since": formatdate(parsedate_to_datetime(first).timestamp() + 5, usegmt=True)}
    assert (await appliance.get(f"{BINHOST}/staging/Packages.gz", headers=asked)).status == 304
    await put(appliance, WORLD, drone)
    later = await appliance.get(f"{BINHOST}/staging/Packages.gz", headers=asked)
    assert later.status == 200
    assert parsedate_to_datetime(later.headers["last-modified"]) > parsedate_to_datetime(first)


async def test_upload_that_is_hung_up_on_leaves_nothing(appliance: RunningAppliance) -> None:
    data = gpkg(HELLO, image=bytes(3_000_000))
    drone = await credential(appliance)
    incoming = appliance.data_dir / "plugin-data/build_swarm/binhost/incoming"
    head = (
        f"PUT {BINHOST}/staging/{path_of(HELLO)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n"
        f"X-Content-SHA256: {sha256(data)}\r\nAuthorization: {drone['Authorization']}\r\n\r\n"
    )
    stream = await trio.open_tcp_stream("127.0.0.1", appliance.port)
    await stream.send_all(head.encode() + data[:2_000_000])
    await until(lambda: list(incoming.iterdir()))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()
    await until(lambda: not list(incoming.iterdir()))
    assert (await put(appliance, HELLO, drone, data)).status == 201, "and the same again is taken"


async def test_releases_are_made_promoted_compared_and_deleted(appliance: RunningAppliance) -> None:
    drone = await credential(appliance)
    await put(appliance, HELLO, drone)
    made = await appliance.post(RELEASES, {"version": "v1", "notes": "the first", "promote": True})
    assert (made.status, made.json["state"], made.json["packages"]) == (201, "current", 1)
    assert (await appliance.post(RELEASES, {"version": "v1"})).status == 409
    assert (await appliance.post(RELEASES, {"version": "v1", "more": 1})).status == 400
    await put(appliance, WORLD, drone)
    await appliance.post(RELEASES, {"version": "v2"})
    difference = (await appliance.get(f"{RELEASES}/diff?before=v1&after=v2")).json
    assert (difference["added"], difference["unchanged_count"]) == ([f"{WORLD}-1"], 1)
    index = await appliance.get(f"{BINHOST}/current/Packages")
    assert list(entries_of(index.text)) == [path_of(HELLO)]
    assert (await appliance.post(f"{RELEASES}/v2/promote")).json["state"] == "current"
    later = await appliance.get(f"{BINHOST}/current/Packages", headers={"If-Modified-Since": index.headers["date"]})
    assert later.status in {200, 304}
    assert len(entries_of((await appliance.get(f"{BINHOST}/current/Packages")).text)) == 2
    assert (await appliance.get(f"{BINHOST}/releases/v1/{path_of(HELLO)}")).body == gpkg(HELLO)
    packages = (await appliance.get(f"{RELEASES}/v2/packages?limit=1")).json
    assert [one["cpv"] for one in packages["items"]] == [HELLO]
    rest = (await appliance.get(f"{RELEASES}/v2/packages?limit=1&cursor={packages['next']}")).json
    assert ([one["cpv"] for one in rest["items"]], rest["next"]) == ([WORLD], None)
    assert (await appliance.post(f"{RELEASES}/rollback", {})).json["version"] == "v1"
    assert (await appliance.post(f"{RELEASES}/v2/archive")).json["state"] == "archived"
    assert (await appliance.request("DELETE", f"{RELEASES}/v1")).status == 409
    assert (await appliance.request("DELETE", f"{RELEASES}/v2")).status == 200
    assert [one["version"] for one in (await appliance.get(RELEASES)).json["items"]] == ["v1"]
    assert (await appliance.get(f"{RELEASES}/v2")).status == 404
    overview = (await appliance.get("/api/appliance/swarm/binhost")).json
    assert (overview["staged_packages"], overview["current"]["version"], overview["problem"]) == (2, "v1", None)
    staged = (await appliance.get("/api/appliance/swarm/staging")).json
    assert [one["cpv"] for one in staged["items"]] == [HELLO, WORLD]


async def test_what_is_done_to_releases_is_told_and_written_down(appliance: RunningAppliance) -> None:
    operator = await appliance.bearer("ope", Role.OPERATOR)
    await put(appliance, HELLO, await credential(appliance))
    await appliance.post(RELEASES, {"version": "v1", "promote": True}, headers=operator)
    events = (await appliance.get("/api/v1/events?type=release")).json["events"]
    assert sorted((one["details"]["action"], one["details"]["by"]) for one in events) == [
        ("created", "ope"),
        ("promoted", "ope"),
    ]

    async def audited() -> bool:
        entries = (await appliance.control("GET", "/api/appliance/audit?limit=50")).json["items"]
        return any(RELEASES in str(one) and "ope" in str(one) for one in entries)

    with trio.fail_after(30):
        while not await audited():  # noqa: ASYNC110  what it looks at knows no events
            await trio.sleep(0.01)
    metrics = (await appliance.control("GET", "/metrics")).text
    assert 'appliance_swarm_binhost_packages{area="staging"} 1\n' in metrics
    assert 'appliance_swarm_binhost_packages{area="current"} 1\n' in metrics
    assert f"appliance_swarm_binhost_used_bytes {len(gpkg(HELLO))}\n" in metrics
    ready = (await appliance.control("GET", "/readyz")).json["items"]
    assert any("swarm binary host" in one["name"] for one in ready)


async def test_releases_need_an_operator(appliance: RunningAppliance) -> None:
    user = await appliance.bearer("uma", Role.USER)
    drone = await credential(appliance)
    await put(appliance, HELLO, drone)
    for method, path, body in (
        ("POST", RELEASES, {"version": "v1"}),
        ("POST", f"{RELEASES}/rollback", {}),
        ("POST", f"{RELEASES}/v1/promote", None),
        ("POST", f"{RELEASES}/v1/archive", None),
        ("DELETE", f"{RELEASES}/v1", None),
        ("POST", "/api/appliance/swarm/staging/import", {"path": "/tmp"}),
        ("POST", ADMIN, {}),
        ("POST", f"{ADMIN}/migrate", {}),
    ):
        for headers, status in ((user, 403), (drone, 403), (STRANGER, 401)):
            assert (await appliance.request(method, path, body=body, headers=headers)).status == status, path


async def test_older_clients_find_releases_as_they_know_them(appliance: RunningAppliance) -> None:
    await put(appliance, HELLO, await credential(appliance))
    made = await appliance.post(ADMIN, {"name": "v1", "notes": "first"})
    assert (made.status, made.json["status"], made.json["version"]) == (201, "ok", "v1")
    assert made.json["path"] == (await appliance.get(f"{ADMIN}/v1")).json["path"] == f"{BINHOST}/releases/v1"
    assert (await appliance.get(f"{made.json['path']}/Packages")).status == 200
    assert made.json["release"]["status"] == "staging"
    assert (await appliance.post(ADMIN, {"version": "../x"})).status == 400
    assert (await appliance.post(f"{ADMIN}/v1/promote")).json["release"]["status"] == "active"
    await put(appliance, WORLD, await credential(appliance))
    await appliance.post(ADMIN, {"version": "v2", "promote": True})
    listed = (await appliance.get(ADMIN)).json
    assert ([one["version"] for one in listed["releases"]], listed["current"]) == (["v2", "v1"], "v2")
    for prefix in ("/admin/api", ADMIN):
        found = (await appliance.get(f"{prefix}/diff?from=v1&to=v2")).json
        assert (found["added"][0]["cpv"], found["summary"]["added"], found["from"]) == (WORLD, 1, "v1")
    assert (await appliance.get(f"{ADMIN}/diff?to=v2")).status == 400
    unknown = await appliance.get(f"{ADMIN}/diff?from=v1&to=v9")
    # The command line shows the error of such an answer; of a 404 it says that there is no server.
    assert (unknown.status, unknown.json["status"], unknown.json["error"]) == (200, "error", "no release 'v9'")
    packages = (await appliance.get(f"{ADMIN}/v2/packages")).json
    assert (packages["count"], packages["packages"][0]["cpv"]) == (2, HELLO)
    back = (await appliance.post("/admin/api/rollback", {})).json
    assert (back["status"], back["from"], back["to"]) == ("ok", "v2", "v1")
    assert (await appliance.post(f"{ADMIN}/v2/archive")).json["release"]["status"] == "archived"
    assert (await appliance.request("DELETE", f"{ADMIN}/v2")).json == {"status": "ok", "version": "v2", "deleted": "v2"}
    missing = await appliance.get(f"{ADMIN}/v2")
    assert (missing.status, sorted(missing.json)) == (404, ["error", "hint"])
    statistics = (await appliance.get("/api/v1/binhost-stats")).json
    assert (statistics["packages"], statistics["binhost_ip"]) == (1, "127.0.0.1")
    status = (await appliance.get("/api/v1/binhost/status")).json
    assert (status["status"], status["release"], status["staging"]["packages"]) == ("ok", "v1", 2)
    assert (await appliance.post("/admin/api/binhost/flip")).status == 410


async def test_releases_and_packages_have_the_fields_that_the_older_admin_page_shows(
    appliance: RunningAppliance,
) -> None:
    drone = await credential(appliance)
    await put(appliance, HELLO, drone)
    made = (await appliance.post(ADMIN, {"version": "v1"})).json
    assert (made["package_count"], made["size_mb"]) == (1, round(len(gpkg(HELLO)) / 1e6, 1))
    assert (await appliance.post(f"{ADMIN}/v1/promote")).json["previous"] is None
    again = "app-test/hello-1.1-r1"
    await put(appliance, again, drone)
    await put(appliance, WORLD, drone)
    await appliance.post(ADMIN, {"version": "v2", "promote": True})
    found = (await appliance.get(f"{ADMIN}/v2/packages")).json["packages"]
    assert [(one["category"], one["package"], one["version"]) for one in found] == [
        ("app-test", "hello", "1.0-1"),
        ("app-test", "hello", "1.1-r1-1"),
        ("app-test", "world", "1.0-1"),
    ]
    there = (await appliance.get(f"{ADMIN}/diff?from=v1&to=v2")).json
    assert [(one["category"], one["package"], one["version"]) for one in there["added"]] == [
        ("app-test", "world", "1.0-1")
    ]
    assert there["changed"] == [
        {
            "category": "app-test",
            "package": "hello",
            "from_version": "1.0-1",
            "to_version": "1.0-1, 1.1-r1-1",
            "from": [f"{HELLO}-1"],
            "to": [f"{HELLO}-1", f"{again}-1"],
        }
    ]
    back = (await appliance.get(f"{ADMIN}/diff?from=v2&to=v1")).json
    assert (back["added"], [one["package"] for one in back["removed"]]) == ([], ["world"])


async def states(appliance: RunningAppliance) -> dict[str, tuple[str, str]]:
    """Return the state of each release as the older page knows it, and as we do."""
    return {one["version"]: (one["status"], one["state"]) for one in (await appliance.get(ADMIN)).json["releases"]}


async def test_older_admin_page_can_promote_what_was_superseded_and_archive_what_is_current(
    appliance: RunningAppliance,
) -> None:
    await put(appliance, HELLO, await credential(appliance))
    for version in ("v1", "v2"):
        await appliance.post(ADMIN, {"version": version, "promote": True})
    assert await states(appliance) == {"v1": ("archived", "superseded"), "v2": ("active", "current")}
    assert (await appliance.post(f"{RELEASES}/v2/archive")).status == 409
    assert (await appliance.post(f"{ADMIN}/v2/archive")).json["release"]["status"] == "archived"
    assert await states(appliance) == {"v1": ("archived", "superseded"), "v2": ("archived", "current")}
    # Clients get it until there is another.
    assert (await appliance.get(f"{BINHOST}/current/{path_of(HELLO)}")).body == gpkg(HELLO)
    assert (await appliance.request("DELETE", f"{ADMIN}/v2")).status == 409
    assert (await appliance.post(f"{ADMIN}/v1/promote")).json["previous"] == "v2"
    assert await states(appliance) == {"v1": ("active", "current"), "v2": ("archived", "archived")}
    assert (await appliance.post(f"{ADMIN}/v2/promote")).status == 200
    assert (await states(appliance))["v2"] == ("active", "current")


@pytest.mark.parametrize("path", [f"{ADMIN}/rollback", "/admin/api/rollback"])
async def test_rollback_without_a_body_goes_to_the_release_before(appliance: RunningAppliance, path: str) -> None:
    await put(appliance, HELLO, await credential(appliance))
    for version in ("v1", "v2"):
        await appliance.post(ADMIN, {"version": version, "promote": True})
    done = await appliance.request("POST", path, headers={"Content-Type": "application/json"})
    assert (done.status, done.json["version"], done.json["from"]) == (200, "v1", "v2")
    refused = await appliance.request("POST", path, body=b"{", headers={"Content-Type": "application/json"})
    assert refused.status == 400


async def test_migration_without_a_body_takes_the_folder_of_portage(appliance: RunningAppliance) -> None:
    done = await appliance.request("POST", f"{ADMIN}/migrate", headers={"Content-Type": "application/json"})
    # Where this host is no Gentoo there is none: what is said names it.
    assert done.status < 300 or "/var/cache/binpkgs" in done.json["error"]


async def test_older_binary_host_is_migrated(appliance: RunningAppliance, tmp_path: Path) -> None:
    file = tmp_path / "pkgdir" / path_of(HELLO)
    file.parent.mkdir(parents=True)
    file.write_bytes(gpkg(HELLO))
    (tmp_path / "pkgdir/app-test/bad-1.gpkg.tar").write_bytes(b"junk")
    done = (await appliance.post(f"{ADMIN}/migrate", {"path": str(tmp_path / "pkgdir"), "version": "old"})).json
    assert (done["migrated"], done["skipped"], done["package_count"]) == (1, 1, 1)
    assert done["release"]["notes"] == f"migrated from {tmp_path / 'pkgdir'}"
    assert done["errors"][0]["path"] == "app-test/bad-1.gpkg.tar"
    assert (await appliance.get(f"{BINHOST}/releases/old/{path_of(HELLO)}")).body == gpkg(HELLO)


async def queued(appliance: RunningAppliance, atom: str) -> Any:
    beat = {"id": "id-1", "name": "drone-01", "capabilities": {"cores": 8}}
    await appliance.post("/api/v1/register", beat)
    await appliance.post("/api/v1/queue", {"packages": [atom]})
    return (await appliance.get("/api/v1/work?id=id-1")).json["package"]


async def test_success_without_its_binary_counts_as_missing_binary_where_binaries_are_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, config=CONFIG + "require_binary = true\n") as appliance:
        drone = await credential(appliance)
        assert await queued(appliance, f"={HELLO}") == f"={HELLO}"
        report = {"id": "id-1", "package": f"={HELLO}", "status": "success", "build_duration_s": 1}
        assert (await appliance.post("/api/v1/complete", report)).json["accepted"] is False
        builds = (await appliance.get("/api/v1/history")).json["builds"]
        assert [one["status"] for one in builds] == ["missing_binary"]
        assert "no binary package of app-test/hello-1.0" in builds[0]["error_message"]
        assert (await appliance.get("/api/v1/work?id=id-1")).json["package"] == f"={HELLO}"
        assert (await put(appliance, HELLO, drone)).status == 201
        assert (await appliance.post("/api/v1/complete", report)).json["accepted"] is True
