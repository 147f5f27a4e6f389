"""Listeners: the sockets, the surfaces each serves, and who is trusted on them."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from attrs import evolve, field, frozen

from appliance.clock import Now
from appliance.data_folder import DataFolder
from appliance.errors import BadConfiguration, ConfigProblem
from appliance.http.auth import ListenerRules, Policy, read_networks
from appliance.http.control import ControlSocket
from appliance.http.limits import LOOPBACK, Limits
from appliance.http.own_pages import OwnPage, OwnPages, let_in
from appliance.http.server import Listener, TlsFiles
from appliance.listeners import Address, bind
from appliance.settings import ListenerSettings, LiveSettings, Settings
from appliance.surface import BoundSurface, Surface

log = structlog.get_logger(__name__)

CORE_SURFACE = "core"
PAGES_SURFACE = "dashboard"


@frozen(kw_only=True)
class Bound:
    """A listener of the configuration with its sockets."""

    settings: ListenerSettings
    sockets: tuple[socket.socket, ...]
    tls: TlsFiles | None = None
    fingerprint: str = ""

    @property
    def address(self) -> Address:
        """The address it really has: port 0 replaced by what it became."""
        parsed = self.settings.parsed
        return parsed if parsed.is_unix else evolve(parsed, port=self.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """How a browser on this host, or a peer, reaches it; empty for a unix socket."""
        address = self.address
        if address.is_unix:
            return ""
        host = address.host
        if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
            host = socket.gethostname()
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{shown}:{address.port}"


@contextmanager
def bound_listeners(settings: Settings, folder: DataFolder, now: Now) -> Iterator[list[Bound]]:
    """Bind every listener; close all in the end, and take unix sockets away.

    :param now: says whether a certificate is out of its time, and dates one that is made.
    :raises CannotListen: an address cannot be used.
    """
    with ExitStack() as stack:
        made: list[Bound] = []
        for one in settings.listeners:
            sockets = bind(one.parsed, mode=int(one.mode, 8), group=one.group)
            for each in sockets:
                stack.callback(each.close)
            if one.parsed.is_unix:
                stack.callback(Path(one.parsed.path).unlink, missing_ok=True)
            made.append(_with_tls(Bound(settings=one, sockets=tuple(sockets)), folder, now))
            _warn(made[-1], settings)
        yield made


def _with_tls(bound: Bound, folder: DataFolder, now: Now) -> Bound:
    settings = bound.settings
    if not settings.tls:
        return bound
    from appliance.http import tls  # brings a cryptography library along, which costs a start without TLS 60 ms

    if settings.certificate:
        found = tls.given(Path(settings.certificate), Path(settings.key))
    else:
        found = tls.self_signed(folder.tls, [settings.parsed.host], now=now)
    problem = tls.validity_problem(found.certificate, now_unix_us=now())
    if problem is not None:
        log.warning("tls.certificate", listener=str(bound.address), problem=problem)
    files = TlsFiles(certificate=found.certificate, key=found.key)
    return evolve(bound, tls=files, fingerprint=found.fingerprint)


def _warn(bound: Bound, settings: Settings) -> None:
    if bound.settings.parsed.is_loopback or bound.tls is not None or settings.server.proxies:
        return
    log.warning(
        "listener.unprotected",
        address=str(bound.address),
        effect="passwords and tokens cross the network in clear text",
        hint="set tls = true in its [[listeners]] table, or name your proxy in [server] proxies",
    )


def compose(
    bound: Sequence[Bound], surfaces: Sequence[BoundSurface], control: ControlSocket, known: frozenset[str]
) -> list[Listener]:
    """Say which surfaces each listener serves; the control socket serves all.

    :param known: names of surfaces that are declared but not running: a listener may name them.
    :raises BadConfiguration: a listener names a surface that does not exist.
    """
    names = {one.surface.name for one in surfaces} | known
    problems = [
        ConfigProblem(
            file="configuration",
            line=None,
            key="[[listeners]] surfaces",
            found=f'"{name}"',
            expected=f"one of {', '.join(sorted(names))}",
        )
        for one in bound
        for name in one.settings.surfaces
        if name not in names
    ]
    if problems:
        raise BadConfiguration(tuple(problems))
    listeners = [
        Listener(
            name=one.settings.address,
            sockets=one.sockets,
            surfaces=[
                surface
                for surface in surfaces
                if not one.settings.surfaces or surface.surface.name in (CORE_SURFACE, *one.settings.surfaces)
            ],
            tls=one.tls,
            site=Path(one.settings.site) if one.settings.site else None,
        )
        for one in bound
    ]
    control_listener = Listener(name=str(control.path), sockets=(control.socket,), surfaces=tuple(surfaces))
    return [*listeners, control_listener]


def rules(bound: Sequence[Bound], control: ControlSocket) -> Mapping[str, ListenerRules]:
    """Say whom each listener trusts."""
    found = {one.settings.address: ListenerRules(trust=one.settings.trust_in_force) for one in bound}
    return found | {str(control.path): ListenerRules(control=True)}


def own_pages(bound: Sequence[Bound], surfaces: Sequence[Surface]) -> OwnPages:
    """Say from which of our sockets pages come that some surface lets in."""
    wanted = let_in(surfaces) & {surface.name for surface in surfaces}
    served = [(one, wanted & set(one.settings.surfaces) if one.settings.surfaces else wanted) for one in bound]
    return OwnPages(
        [
            OwnPage(
                surfaces=frozenset(names),
                scheme="http" if one.tls is None else "https",
                address=str(each.getsockname()[0]),
                port=each.getsockname()[1],
            )
            for one, names in served
            if names and not one.address.is_unix
            for each in one.sockets
        ]
    )


def limits_of(settings: Settings) -> Limits:
    """Return the edge's limits as configured."""
    server = settings.server
    return Limits(
        connections_per_peer=server.connections_per_address,
        exempt=(*LOOPBACK, *server.proxies),
        drain_seconds=server.drain_seconds,
    )


def policy(settings: Settings, surfaces_of: Mapping[str, Sequence[str]], *, owner_trust: bool = True) -> Policy:
    """Return what the settings in force say about callers.

    :param surfaces_of: names of the surfaces of each plugin.
    :param owner_trust: whether processes of our own user are ours; not so where something runs as it for others.
    """
    server = settings.server
    url = urlsplit(server.public_url)
    own = (f"{url.scheme}://{url.netloc}",) if url.hostname else ()
    open_to = {
        surface: read_networks(settings.plugin(plugin).open_to)
        for plugin, surfaces in surfaces_of.items()
        for surface in surfaces
        if settings.plugin(plugin).open_to
    }
    return Policy(
        hosts=(*server.hosts, *([url.hostname] if url.hostname else [])),
        allowed_origins=(*server.allowed_origins, *own),
        open_to=open_to,
        owner_trust=owner_trust,
        admin_keys=(settings.people.admin_key,) if settings.people.admin_key else (),
    )


@frozen
class PublicUrl:
    """The base of absolute URLs: as configured, else that of the first listener."""

    settings: LiveSettings
    bound: Sequence[Bound] = field(factory=tuple)

    def __call__(self) -> str:
        configured = self.settings.current.server.public_url.rstrip("/")
        # Where a site stands there are no pages of ours to link to.
        ours_first = sorted(self.bound, key=lambda one: bool(one.settings.site))
        return configured or next((one.url for one in ours_first if one.url), "http://127.0.0.1:8080")

    def pages(self) -> str:
        """Return the base of links for people: as above, unless that is a listener of ours without our pages."""
        base = self()
        url = urlsplit(base)
        port = url.port or _PORTS.get(url.scheme)
        there = [one for one in self.bound if not one.address.is_unix and one.address.port == port]
        if not there or any(_has_pages(one) for one in there):
            return base
        return next((one.url for one in self.bound if one.url and _has_pages(one)), base)


_PORTS: Final = {"http": 80, "https": 443}


def _has_pages(one: Bound) -> bool:
    return not one.settings.site and (not one.settings.surfaces or PAGES_SURFACE in one.settings.surfaces)
