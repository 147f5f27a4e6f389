"""Where a container engine may be, and how it is reached."""

import os
import ssl
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from appliance.plugin import Host

from .settings import DockerSettings

TLS_PORT = 2376
SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")


class AddressUnusable(Exception):
    """An engine cannot be reached in the way that was asked for; the message says why, ``hint`` what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@frozen(kw_only=True)
class Address:
    """One way to an engine: a unix socket, or TCP with or without TLS."""

    socket: Path | None = None
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = field(default=None, eq=False, repr=False)

    @property
    def is_remote(self) -> bool:
        """Whether the engine is, as far as can be told, on another host: its folders are then not ours."""
        return self.socket is None and not is_loopback(self.host)

    def __str__(self) -> str:
        return str(self.socket) if self.socket is not None else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def sockets(host: Host) -> list[Path]:
    """Return the places where Docker and Podman listen on a host, in the order in which they are looked at."""
    runtime = host.environment.get("XDG_RUNTIME_DIR", "")
    own = [Path(runtime) / "podman" / "podman.sock"] if runtime.startswith("/") else []
    return [*(host.path(one) for one in SOCKETS), *own]


def wanted(settings: DockerSettings, host: Host) -> str:
    """Return the URL that the settings or DOCKER_HOST name; empty when neither does."""
    return settings.host or host.environment.get("DOCKER_HOST", "")


def find(settings: DockerSettings, host: Host) -> Address | None:
    """Return where the engine is; ``None`` when nothing is named and no usual socket exists.

    Of the usual sockets the first counts which this process may use, so that it is the same one after each restart.

    :raises AddressUnusable: what is named cannot be used.
    """
    url = wanted(settings, host)
    if url:
        return named(url, settings, host)
    there = [one for one in sockets(host) if one.is_socket()]
    usable = [one for one in there if os.access(one, os.R_OK | os.W_OK)]
    return Address(socket=(usable or there)[0]) if there else None


def named(url: str, settings: DockerSettings, host: Host) -> Address:
    """Return the address that a URL as in DOCKER_HOST stands for.

    :raises AddressUnusable: a scheme that is not served, TCP without TLS to another host, or wrong certificates.
    """
    if url.startswith("unix:///"):
        return Address(socket=Path(url.removeprefix("unix://")))
    try:
        parts = urlsplit(url)
        scheme, name, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, name, port = "", None, None
    if scheme != "tcp" or not name:
        raise AddressUnusable(
            f"{url[:200]!r} is no address that can be used", hint="unix:///PATH or tcp://HOST:PORT (with certificates)"
        )
    tls = _tls(settings, host)
    if tls is None and not is_loopback(name):
        raise AddressUnusable(
            f"tcp://{name} without TLS would hand the engine to anybody on the way",
            hint="set tls_ca, tls_cert and tls_key in [plugins.engine_docker]",
        )
    return Address(host=name, port=port or TLS_PORT, tls=tls)


def _tls(settings: DockerSettings, host: Host) -> ssl.SSLContext | None:
    folder = host.environment.get("DOCKER_CERT_PATH", "")
    ca, cert, key = (
        one or (os.path.join(folder, name) if folder else "")
        for one, name in ((settings.tls_ca, "ca.pem"), (settings.tls_cert, "cert.pem"), (settings.tls_key, "key.pem"))
    )
    if not ca and not cert:
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except OSError as error:  # ssl.SSLError is one too
        files = ", ".join(one for one in (ca, cert, key) if one)
        raise AddressUnusable(f"the certificates cannot be used ({files}): {error}") from error
    return context
