"""What ``[plugins.engine_docker]`` can say."""

import re
from ipaddress import ip_address
from typing import Any, Literal

from attrs import frozen
from attrs.validators import and_, ge, le

from appliance.plugin import setting


def _host(instance: Any, attribute: Any, value: str) -> None:
    if value and not re.fullmatch(r"unix:///[^\0]{1,100}|tcp://[^\s/?#@]{1,255}", value):
        raise ValueError("unix:///PATH, tcp://HOST:PORT, or an empty text")


def _path(instance: Any, attribute: Any, value: str) -> None:
    if value and (not value.startswith("/") or "\0" in value):
        raise ValueError("an absolute path, or an empty text")


def _network(instance: Any, attribute: Any, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", value) or value in ("host", "none"):
        raise ValueError("the name of a network of the engine, and never host or none")


def _addresses(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for one in value:
        ip_address(one)


@frozen(kw_only=True)
class DockerSettings:
    """Where the container engine is, and what containers get from it."""

    host: str = setting(
        "",
        help="The engine's API: unix:///PATH or tcp://HOST:PORT; empty: DOCKER_HOST, then the usual sockets of Docker"
        " and Podman.",
        validator=_host,
    )
    tls_ca: str = setting(
        "",
        help="Certificate of the authority that signed the engine's, for tcp://; empty: ca.pem of DOCKER_CERT_PATH.",
        validator=_path,
    )
    tls_cert: str = setting(
        "", help="Our certificate, for tcp://; empty: cert.pem of DOCKER_CERT_PATH.", validator=_path
    )
    tls_key: str = setting("", help="Its key; empty: key.pem of DOCKER_CERT_PATH.", validator=_path)
    pull: Literal["missing", "never"] = setting(
        "missing", help="missing: an image that the engine does not have is fetched; never: its tasks fail."
    )
    network: str = setting(
        "bridge", help='The engine\'s network for tasks with network = "bridge".', validator=_network
    )
    dns: tuple[str, ...] = setting(
        (),
        help="Name servers of tasks on that network; empty: the engine's choice. Needed where the host's own is a"
        " link-local address, which tasks cannot reach.",
        validator=_addresses,
    )
    log_mib: int = setting(
        256,
        help="Room for the engine's own log of one container, in MiB; what a task writes beyond it while the appliance"
        " does not read is lost. Its log then says so; with Podman, whose log has whole seconds, not within a second.",
        validator=and_(ge(1), le(1_048_576)),
    )
    init: bool = setting(
        False,
        help="Run commands below the engine's small init, so that those which handle no signal end at once when asked.",
    )
