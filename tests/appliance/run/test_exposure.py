"""What lets strangers in by configuration is named in the log at the start."""

import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.http.server import TlsFiles
from appliance.run.listening import Bound, _warn
from appliance.settings import ListenerSettings, ServerSettings, Settings
from appliance.testing import running

OPEN = """
from appliance.plugin import PERSON, Call, Kind, Parts, Surface, hookimpl

appliance_api = 1
one, other = Surface("one", prefixes=("/one",)), Surface("other", prefixes=("/other",))
keyed = Surface("keyed", prefixes=("/keyed",))


@one.get("/one", caller=PERSON | {Kind.OPEN}, access="open")
@other.get("/other", caller=PERSON | {Kind.OPEN}, access="open")
@keyed.get("/keyed")
async def read(call: Call[None]) -> None:
    return None


@hookimpl
def appliance_setup(core: object) -> Parts:
    return Parts(surfaces=[one.bind(None), other.bind(None), keyed.bind(None)])
"""
FILES = TlsFiles(certificate=Path("c"), key=Path("k"))


async def test_every_open_surface_is_named_at_the_start_with_its_networks_and_no_other(tmp_path: Path) -> None:
    config = '[plugins.swarm]\nopen_to = ["10.0.0.0/8", "fd00::/8"]'
    with capture_logs() as logged:
        async with running(tmp_path, plugins={"swarm": OPEN}, config=config):
            pass
    named = {line["surface"]: line["networks"] for line in logged if line["event"] == "surface.open_without_credential"}
    networks = ["10.0.0.0/8", "fd00::/8"]
    assert named == {"one": networks, "other": networks}


@pytest.mark.parametrize(
    ("address", "tls", "proxies", "warned"),
    [
        ("0.0.0.0:1", None, (), ["listener.unprotected"]),
        ("10.1.2.3:1", None, (), ["listener.unprotected"]),
        ("0.0.0.0:1", FILES, (), []),
        ("0.0.0.0:1", None, ("10.0.0.0/8",), []),
        ("127.0.0.1:1", None, (), []),
        ("[::1]:1", None, (), []),
    ],
)
def test_listener_beyond_loopback_without_tls_or_proxy_is_warned_of_once(
    address: str, tls: TlsFiles | None, proxies: tuple[str, ...], warned: list[str]
) -> None:
    settings = Settings(server=ServerSettings(proxies=proxies))
    with socket.socket() as bound, capture_logs() as logged:
        bound.bind(("127.0.0.1", 0))
        _warn(Bound(settings=ListenerSettings(address=address), sockets=(bound,), tls=tls), settings)
    assert [line["event"] for line in logged] == warned
