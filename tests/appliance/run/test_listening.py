"""What the settings say about listeners, limits and callers."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from appliance.errors import BadConfiguration
from appliance.http.tls import self_signed
from appliance.run.listening import Bound, PublicUrl, limits_of, policy
from appliance.settings import ListenerSettings, LiveSettings, PeopleSettings, PluginSettings, ServerSettings, Settings
from appliance.testing import SteppingClock, running


def test_limits_are_as_configured() -> None:
    server = ServerSettings(connections_per_address=7, proxies=("10.1.0.0/16",), drain_seconds=3.0)
    limits = limits_of(Settings(server=server))
    assert (limits.connections_per_peer, limits.drain_seconds) == (7, 3.0)
    assert limits.exempt == ("127.0.0.0/8", "::1/128", "10.1.0.0/16")


def test_the_public_url_is_a_host_and_an_origin_of_ours() -> None:
    found = policy(Settings(server=ServerSettings(public_url="https://gpu.example.net:8443", hosts=("a",))), {})
    assert found.hosts == ("a", "gpu.example.net")
    assert found.allowed_origins == ("https://gpu.example.net:8443",)


def test_open_to_holds_for_every_surface_of_its_plugin_and_no_other() -> None:
    settings = Settings(plugins={"swarm": PluginSettings(open_to=("10.0.0.0/8",))}, people=PeopleSettings())
    found = policy(settings, {"swarm": ["build_swarm", "build_swarm_admin"], "other": ["other"]})
    assert set(found.open_to) == {"build_swarm", "build_swarm_admin"}
    assert found.admin_keys == ()


@pytest.mark.parametrize(
    ("address", "trust", "in_force"),
    [
        ("127.0.0.1:1", "auto", "owner"),
        ("unix:/a", "auto", "owner"),
        ("0.0.0.0:1", "auto", "none"),
        ("127.0.0.1:1", "local", "local"),
        ("127.0.0.1:1", "none", "none"),
    ],
)
def test_trust_follows_the_address_unless_it_is_written(address: str, trust: str, in_force: str) -> None:
    listener = ListenerSettings(address=address, trust=trust)  # type: ignore[arg-type]
    assert listener.trust_in_force == in_force


async def test_a_listener_serves_the_surfaces_it_names_and_core_always(tmp_path: Path) -> None:
    config = '[[listeners]]\naddress = "127.0.0.1:0"\nsurfaces = ["core"]'
    async with running(tmp_path, config=config, listen=()) as appliance:
        assert (await appliance.get("/healthz")).status == 200
        assert (await appliance.get("/login")).status == 404
        assert (await appliance.control("GET", "/login")).status == 200


async def test_links_for_people_lead_to_a_listener_that_has_our_pages(tmp_path: Path) -> None:
    config = """
[server]
public_url = "http://127.0.0.1:{port}"
[[listeners]]
address = "127.0.0.1:0"
surfaces = ["core", "dashboard"]
[[listeners]]
address = "127.0.0.1:{port}"
surfaces = ["core"]
"""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with running(tmp_path, config=config.replace("{port}", str(port)), listen=()) as appliance:
        link = (await appliance.control("POST", "/api/appliance/setup-link")).json["url"]
        assert link.startswith("http://127.0.0.1:")
        assert f":{port}/" not in link
        assert (await appliance.get(urlsplit(link).path)).status == 200


def test_links_for_people_are_those_of_the_configuration_where_it_is_no_listener_of_ours() -> None:
    server = ServerSettings(public_url="https://gpu.example.net/")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        one = Bound(settings=ListenerSettings(address="127.0.0.1:0", surfaces=("core",)), sockets=(sock,))
        behind = PublicUrl(LiveSettings(Settings(server=server)), [one])
        assert behind.pages() == "https://gpu.example.net"
        assert PublicUrl(LiveSettings(Settings()), [one]).pages() == one.url


async def test_a_unix_socket_is_served_with_its_mode_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    config = f'[[listeners]]\naddress = "unix:{path}"\nmode = "0660"\n[[listeners]]\naddress = "127.0.0.1:0"'
    async with running(tmp_path, config=config, listen=()):
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


async def test_a_tls_listener_makes_a_certificate_and_prints_its_fingerprint(tmp_path: Path) -> None:
    config = '[[listeners]]\naddress = "127.0.0.1:0"\ntls = true'
    async with running(tmp_path, config=config, listen=()) as appliance:
        assert appliance.running.bound[0].url == f"https://127.0.0.1:{appliance.port}"
        assert any("SHA-256 fingerprint " in line for line in appliance.said)
        assert appliance.said[-1].startswith(" From another machine:  ssh -L ")


DAY_US = 86_400_000_000


@pytest.mark.parametrize(("days", "words"), [(1, None), (3_640, "expires on"), (3_651, "has expired on")])
async def test_a_given_certificate_near_its_end_is_told_at_start_and_in_readyz_by_the_clock_of_the_appliance(
    tmp_path: Path, days: int, words: str | None
) -> None:
    clock = SteppingClock(unix_us=1_300_000_000_000_000)
    made = self_signed(tmp_path / "given", now=clock)
    clock.unix_us += days * DAY_US
    config = (
        f'[[listeners]]\naddress = "127.0.0.1:0"\ntls = true\ncertificate = "{made.certificate}"\nkey = "{made.key}"'
    )
    with capture_logs() as logged:
        async with running(tmp_path, config=config, listen=(), now=clock) as appliance:
            answer = await appliance.control("GET", "/readyz")
    told = [line for line in logged if line["event"] == "tls.certificate"]
    [item] = [one for one in answer.json["items"] if one["name"].startswith("certificate ")]
    assert (answer.status, item["ok"], item["required"]) == (200, words is None, False)
    assert len(told) == (words is not None)
    if words is not None:
        assert words in item["message"]
        assert told[0]["problem"] == item["message"]
        assert told[0]["listener"] == f"127.0.0.1:{appliance.port}"


async def test_a_certificate_of_our_own_is_dated_by_the_clock_of_the_appliance(tmp_path: Path) -> None:
    clock = SteppingClock(unix_us=1_300_000_000_000_000)
    config = '[[listeners]]\naddress = "127.0.0.1:0"\ntls = true'
    async with running(tmp_path, config=config, listen=(), now=clock) as appliance:
        assert (await appliance.control("GET", "/readyz")).json["ready"] is True
        clock.unix_us += 3_651 * DAY_US
        items = (await appliance.control("GET", "/readyz")).json["items"]
    assert any("has expired on" in one["message"] for one in items if one["name"].startswith("certificate "))


async def test_a_site_takes_the_place_of_our_pages_on_its_listener_alone(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "index.html").write_text("<title>farm</title>")
    config = f'[[listeners]]\naddress = "127.0.0.1:0"\nsite = "{dist}"\n[[listeners]]\naddress = "[::1]:0"'
    async with running(tmp_path, config=config, listen=()) as appliance:
        page = await appliance.get("/login", headers={"Accept": "text/html"})
        assert page.text == "<title>farm</title>"
        assert (await appliance.get("/api/appliance/unknown", headers={"Accept": "text/html"})).status == 404
        # Our own pages are elsewhere, and so is the link that opens them.
        assert (await appliance.control("GET", "/login")).text != page.text
        assert any(f"Open   {appliance.running.bound[1].url}/setup#t=" in line for line in appliance.said)


async def test_a_site_that_is_not_there_refuses_the_start_by_its_key(tmp_path: Path) -> None:
    config = f'[[listeners]]\naddress = "127.0.0.1:0"\nsite = "{tmp_path}/dist"'
    with pytest.raises(BadConfiguration, match=r"\[\[listeners\]\] site = .*/dist"):
        async with running(tmp_path, config=config, listen=()):
            pass
