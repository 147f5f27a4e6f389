"""Where an engine is looked for."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from appliance.host import Host
from plugins.engine_docker.address import TLS_PORT, Address, AddressUnusable, find, is_loopback
from plugins.engine_docker.settings import DockerSettings
from tests.plugins.engine_docker.certificates import authority, issue


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def test_nothing_is_found_where_no_usual_socket_is(tmp_path: Path) -> None:
    (tmp_path / "var" / "run").mkdir(parents=True)
    (tmp_path / "var" / "run" / "docker.sock").write_text("a file")
    assert find(DockerSettings(), Host(root=tmp_path, environment={})) is None


def test_docker_comes_before_podman_and_podmans_own_last(tmp_path: Path) -> None:
    host = Host(root=tmp_path, environment={"XDG_RUNTIME_DIR": str(tmp_path / "user")})
    places = [
        tmp_path / "user/podman/podman.sock",
        tmp_path / "run/podman/podman.sock",
        tmp_path / "var/run/docker.sock",
    ]
    for place in places:
        with closing(listening(place)):
            assert find(DockerSettings(), host) == Address(socket=place)


def test_setting_comes_before_docker_host_and_that_before_the_usual_places(tmp_path: Path) -> None:
    host = Host(root=tmp_path, environment={"DOCKER_HOST": "unix:///environment.sock"})
    with closing(listening(tmp_path / "var/run/docker.sock")):
        assert find(DockerSettings(), host) == Address(socket=Path("/environment.sock"))
        assert find(DockerSettings(host="unix:///set.sock"), host) == Address(socket=Path("/set.sock"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh://me@host", "no address"),
        ("npipe:////./pipe/docker", "no address"),
        ("tcp://", "no address"),
        ("tcp://host:99999", "no address"),
        ("tcp://10.0.0.5:2375", "without TLS"),
        ("docker.sock", "no address"),
        ("tcp://[::1", "no address"),
    ],
)
def test_docker_host_that_cannot_be_used_says_why(url: str, words: str) -> None:
    with pytest.raises(AddressUnusable, match=words) as caught:
        find(DockerSettings(), Host(environment={"DOCKER_HOST": url}))
    assert caught.value.hint


def test_tcp_without_tls_stays_on_this_machine() -> None:
    found = find(DockerSettings(host="tcp://127.0.0.1:2375"), Host(environment={}))
    assert found == Address(host="127.0.0.1", port=2375)
    assert not found.is_remote
    assert is_loopback("localhost")
    assert not is_loopback("localhost.example")


def test_certificates_come_from_the_settings_or_as_docker_has_them(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca.pem")
    cert, key = issue(ca, tmp_path / "client", "appliance")
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((tmp_path / "client" / name).read_bytes())
    set_here = DockerSettings(host="tcp://gpu2", tls_ca=str(tmp_path / "ca.pem"), tls_cert=cert, tls_key=key)
    for settings, environment in (
        (set_here, {}),
        (DockerSettings(host="tcp://gpu2"), {"DOCKER_CERT_PATH": str(tmp_path)}),
    ):
        found = find(settings, Host(environment=environment))
        assert found == Address(host="gpu2", port=TLS_PORT)
        assert found.tls is not None
        assert found.is_remote


def test_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = DockerSettings(host="tcp://gpu2:2376", tls_ca=str(tmp_path / "nothing.pem"))
    with pytest.raises(AddressUnusable, match=r"nothing\.pem"):
        find(settings, Host(environment={}))
