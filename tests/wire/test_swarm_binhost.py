"""The binary host over the built file: what is acknowledged outlives a kill, and real Portage installs from it."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from threading import Thread

import httpx2 as httpx
import pytest

from tests.plugins.build_swarm.binhost import portage
from tests.plugins.build_swarm.binhost.packages import gpkg, sha256
from tests.plugins.build_swarm.binhost.parts import path_of
from tests.plugins.build_swarm.binhost.portage import entries_of
from tests.product.served import Product, product, until

KEY = "binhost-key-of-the-environment"
BINHOST = "/api/appliance/binhost"
CONFIG = "[plugins.build_swarm]\nbinhost_free_bytes_min = 0\n"
HELLO = "app-test/hello-1.0"


@pytest.fixture
def host(pyz: Path, tmp_path: Path) -> Iterator[Product]:
    """A running product of this test's own, with a key for operators."""
    with product(pyz, tmp_path, environment={"ADMIN_KEY": KEY}) as one:
        one.config.write_text(CONFIG)
        one.start()
        yield one


def put(one: Product, path: str, data: bytes, **headers: str) -> httpx.Response:
    """Upload a package as a drone does."""
    said = {"X-Content-SHA256": sha256(data), "X-Admin-Key": KEY, **headers}
    return httpx.put(f"{one.base}{BINHOST}/staging/{path}", content=data, headers=said, timeout=60)


def staged(one: Product) -> dict[str, dict[str, str]]:
    """Return what the index of the staging area says, by path."""
    return entries_of(one.get(f"{BINHOST}/staging/Packages").text)


def test_credential_of_a_drone_uploads_and_the_same_again_is_no_news(host: Product) -> None:
    made = host.json("token", "create", "drone", "drone-01")
    bearer = {"Authorization": f"Bearer {made['token']}"}
    said = {"X-Content-SHA256": sha256(gpkg(HELLO)), **bearer}
    url = f"{host.base}{BINHOST}/staging/{path_of(HELLO)}"
    answers = [httpx.put(url, content=gpkg(HELLO), headers=said, timeout=60) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["package"]["uploaded_by"] == "drone-01"
    assert httpx.put(url, content=gpkg(HELLO), headers={"X-Content-SHA256": sha256(gpkg(HELLO))}).status_code == 401
    until(lambda: list(staged(host)) == [path_of(HELLO)])


def test_upload_in_chunks_without_a_length_is_taken(host: Product) -> None:
    data = gpkg(HELLO, image=bytes(300_000))
    said = {"X-Content-SHA256": sha256(data), "X-Admin-Key": KEY}
    pieces = (data[start : start + 70_000] for start in range(0, len(data), 70_000))
    answer = httpx.put(f"{host.base}{BINHOST}/staging/{path_of(HELLO)}", content=pieces, headers=said, timeout=60)
    assert answer.status_code == 201, answer.text


def test_whatever_was_acknowledged_outlives_a_kill_and_the_index_names_what_is_there(host: Product) -> None:
    acknowledged: dict[str, bytes] = {}

    def upload(worker: int) -> None:
        with suppress(httpx.HTTPError):
            for number in range(1000):
                cpv = f"app-test/p{worker}x{number}-1.0"
                data = gpkg(cpv, image=bytes(20_000) + cpv.encode())
                if put(host, path_of(cpv), data).status_code == 201:
                    acknowledged[path_of(cpv)] = data

    threads = [Thread(target=upload, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) >= 12)
    host.stop(SIGKILL)
    for thread in threads:
        thread.join(timeout=60)
    host.start()
    entries = until(lambda: staged(host))
    assert set(acknowledged) <= set(entries)
    for path, entry in entries.items():
        data = host.get(f"{BINHOST}/staging/{path}").content
        assert hashlib.sha1(data, usedforsecurity=False).hexdigest() == entry["SHA1"]
        assert acknowledged.get(path, data) == data
    incoming = host.data / "plugin-data/build_swarm/binhost/incoming"
    assert list(incoming.iterdir()) == []


def _check_area(host: Product, area: str) -> dict[str, dict[str, str]]:
    """Hold every package of an area to its index; return the index."""
    answer = host.get(f"{BINHOST}/{area}/Packages")
    if answer.status_code == 404 and area == "current":
        return {}
    assert answer.status_code == 200, answer.text
    entries = entries_of(answer.text)
    assert f"PACKAGES: {len(entries)}\n" in answer.text
    for path, entry in entries.items():
        data = host.get(f"{BINHOST}/{area}/{path}").content
        assert (str(len(data)), hashlib.sha1(data, usedforsecurity=False).hexdigest()) == (entry["SIZE"], entry["SHA1"])
    return entries


@pytest.mark.long
def test_areas_are_whole_after_every_kill_whatever_was_being_done(host: Product) -> None:
    acknowledged: set[str] = set()
    releases: set[str] = set()

    def upload(worker: int, round_: int) -> None:
        with suppress(httpx.HTTPError):
            for number in range(1000):
                # Some are built again and again, some are new.
                cpv = f"app-test/p{worker}x{number % 3 if number % 2 else f'{round_}n{number}'}-1.0"
                answer = put(host, path_of(cpv), gpkg(cpv, image=f"{round_} {number}".encode()))
                if answer.status_code in {200, 201}:
                    acknowledged.add(path_of(cpv))

    def release(round_: int) -> None:
        with suppress(httpx.HTTPError), httpx.Client(base_url=host.base, timeout=60) as client:
            for number in range(1000):
                version = f"r{round_}.{number}"
                body = {"version": version, "promote": number % 2 == 0}
                if client.post("/api/appliance/swarm/releases", json=body).status_code == 201:
                    releases.add(version)
                if number % 3 == 2:
                    client.post("/api/appliance/swarm/releases/rollback", json={})
                    client.delete(f"/api/appliance/swarm/releases/r{round_}.{number - 1}")
                    releases.discard(f"r{round_}.{number - 1}")

    for round_ in range(5):
        known = len(acknowledged)
        threads = [Thread(target=upload, args=(worker, round_)) for worker in range(3)]
        threads.append(Thread(target=release, args=(round_,)))
        for thread in threads:
            thread.start()
        until(lambda: len(acknowledged) >= known + 8 and any(one.startswith(f"r{round_}.") for one in releases))  # noqa: B023
        host.stop(SIGKILL)
        for thread in threads:
            thread.join(timeout=60)
        host.start()
        assert acknowledged <= set(_check_area(host, "staging"))
        listed = {one["version"] for one in host.get("/api/appliance/swarm/releases").json()["items"]}
        gone = releases - listed
        assert len(gone) <= 1, "one may have been deleted without an answer"
        assert all(one.startswith(f"r{round_}.") for one in gone)
        releases -= gone
        for version in sorted(listed)[-4:]:
            _check_area(host, f"releases/{version}")
        _check_area(host, "current")
        folders = {path.name for path in (host.data / "plugin-data/build_swarm/binhost/releases").iterdir()}
        assert folders == listed


def test_upload_that_a_kill_cuts_short_leaves_nothing_and_is_taken_when_it_comes_again(host: Product) -> None:
    data = gpkg(HELLO, image=bytes(4_000_000))
    head = (
        f"PUT {BINHOST}/staging/{path_of(HELLO)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n"
        f"X-Content-SHA256: {sha256(data)}\r\nX-Admin-Key: {KEY}\r\n\r\n"
    )
    incoming = host.data / "plugin-data/build_swarm/binhost/incoming"
    with socket.create_connection(("127.0.0.1", host.port), timeout=60) as one:
        one.sendall(head.encode() + data[:3_000_000])
        until(lambda: [path for path in incoming.iterdir() if path.stat().st_size])
        host.stop(SIGKILL)
    host.start()
    assert list(incoming.iterdir()) == []
    assert staged(host) == {}
    assert put(host, path_of(HELLO), data).status_code == 201


def test_release_outlives_a_kill_and_is_gone_back_to(host: Product) -> None:
    put(host, path_of(HELLO), gpkg(HELLO))
    made = host.json("swarm", "release", "create", "v1", "--promote")
    assert (made["state"], made["packages"]) == ("current", 1)
    put(host, path_of("app-test/world-1.0"), gpkg("app-test/world-1.0"))
    assert host.json("swarm", "release", "create", "v2", "--promote")["packages"] == 2
    host.stop(SIGKILL)
    host.start()
    assert len(entries_of(host.get(f"{BINHOST}/current/Packages").text)) == 2
    assert "v1 is the current one again" in host.command("swarm", "release", "rollback").stdout
    assert list(entries_of(host.get(f"{BINHOST}/current/Packages").text)) == [path_of(HELLO)]


@pytest.mark.long
def test_real_portage_installs_from_the_current_release_alone(host: Product, tmp_path: Path) -> None:
    built = portage.built(tmp_path / "builder")
    done = host.json("swarm", "release", "import", str(built.pkgdir))
    assert (done["taken_count"], done["skipped_count"]) == (2, 0)
    host.json("swarm", "release", "create", "v1", "--promote")
    client = portage.made(tmp_path / "client")
    client.binhost(f"{host.base}{BINHOST}/current")
    said = client.run("emerge", "--getbinpkgonly", "--oneshot", "--verbose", "app-test/hello").stdout
    assert "[binary" in said
    installed = client.prefix / "usr/share"
    assert (installed / "hello/hello").read_text() == "hello, world\n"
    assert (installed / "world/world").read_text() == "a whole world\n", "what it depends on came with it"
    # A later release is seen, and so is the way back to the one before: each has a greater time.
    cached = next(client.prefix.rglob("var/cache/edb/binhost/**/Packages"))
    times = [_timestamp(cached)]
    newer = gpkg("app-test/hello-1.0-r1", BUILD_ID="2", KEYWORDS="amd64", LICENSE="MIT", DEFINED_PHASES="-")
    assert put(host, path_of("app-test/hello-1.0-r1", 2), newer).status_code == 201
    for action in (("create", "v2", "--promote"), ("rollback",)):
        host.json("swarm", "release", *action)
        client.run("emerge", "--getbinpkgonly", "--pretend", "app-test/hello")
        times.append(_timestamp(cached))
    assert times == sorted(set(times))
    assert len(entries_of(cached.read_text())) == 2


def _timestamp(index: Path) -> int:
    return int(index.read_text().partition("TIMESTAMP: ")[2].partition("\n")[0])
