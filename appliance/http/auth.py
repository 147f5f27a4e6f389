"""Who calls, and may they: one decision per request, before its body is read.

In this order: the control socket; a credential that the request carries, which alone decides; trust in a local
process; a network that the surface is open to; nobody. What `Access.authenticate` lets through reaches the handler.
"""

import hmac
import ipaddress
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Literal

from attrs import define, evolve, field, frozen

from appliance import ids
from appliance.clock import Now, unix_now_us
from appliance.credentials.kinds import ANONYMOUS, PERSON, Caller, Kind, Role
from appliance.credentials.rules import Credential
from appliance.credentials.store import Credentials
from appliance.errors import BadInput, Forbidden, NotAuthenticated, TooManyRequests
from appliance.http import origin
from appliance.http.container_networks import ContainerNetworks
from appliance.http.own_pages import OwnPages
from appliance.http.query import pairs
from appliance.http.trust import uid_of
from appliance.people.roles import SAFE_METHODS, require_role, require_scope
from appliance.people.sessions import CookieNames, read_cookies, values_of
from appliance.people.store import People
from appliance.rate import Rate
from appliance.surface import BoundSurface, Endpoint, Head, Surface

Trust = Literal["none", "owner", "local"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

BEARER_KINDS = frozenset(
    {
        Kind.PAT,
        Kind.AGENT,
        Kind.INSTALL,
        Kind.MACHINE,
        Kind.WORKER,
        Kind.WORKSPACE,
        Kind.INGEST,
        Kind.DRONE,
        Kind.SCRAPE,
        Kind.JOIN,
    }
)
"""Sessions travel as a cookie and admin keys in their own header only: a Bearer of theirs is wrong."""
ADMIN_KEY_KINDS = frozenset({Kind.ADMIN_KEY, Kind.DRONE})
MACHINES = frozenset({Kind.MACHINE, Kind.WORKER, Kind.AGENT, Kind.INGEST, Kind.DRONE})
"""Where a keyed endpoint names one of these, trust never stands in, whoever else it is for."""
OVERFLOW_UID = 65_534
"""What the kernel shows for every uid that our user namespace has no number for: many users, so never the owner."""
QUERY_KEY_PATHS = ("/admin/api/", "/ws/ssh")
_CONTROL = Caller(kind=Kind.CONTROL, role=Role.ADMIN, name="control socket")
_TRUST = Caller(kind=Kind.TRUST, role=Role.OPERATOR, name="local process")
_OPEN = Caller(kind=Kind.OPEN, role=Role.USER, name="open network")
_CONFIGURED = "configured:"
_CONFIGURED_SALT = secrets.token_bytes(16)


@frozen(kw_only=True)
class ListenerRules:
    """What a listener's configuration says about its callers."""

    trust: Trust = "none"
    control: bool = False
    """The control socket: its caller is always admin."""


@frozen(kw_only=True)
class Policy:
    """The settings that a reload may change; give `Access.policy` a new one."""

    hosts: tuple[str, ...] = ()
    """``[server] hosts``."""
    allowed_origins: tuple[str, ...] = ()
    """``[server] allowed_origins``, and the origin of ``public_url``."""
    open_to: Mapping[str, tuple[Network, ...]] = field(factory=dict)
    """Networks by surface name; see `read_networks`."""
    admin_keys: tuple[str, ...] = field(default=(), repr=False)
    """Operator keys from the environment (ADMIN_KEY, ADMIN_SECRET)."""
    owner_trust: bool = True
    """``False`` when something we start for others runs as our own uid."""
    public_per_minute: int = 120


def read_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Read ``open_to``; raises `BadInput` for what is no network."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise BadInput(str(error), hint="write a network such as 10.0.0.0/8") from error


@define(eq=False, kw_only=True)
class Access:
    """Decides who calls. Made once, by run.py, after credentials and people are loaded::

        access = Access(
            credentials=credentials, people=people, cookies=CookieNames(instance_id),
            listeners={"127.0.0.1:8080": ListenerRules(trust="owner"), str(path): ListenerRules(control=True)},
            policy=Policy(hosts=..., allowed_origins=..., open_to={"task_scheduler": read_networks(("10.0.0.0/8",))}),
        )
        edge = Edge(authenticate=access.authenticate, still_valid=access.still_valid, ...)

    The keys of ``listeners`` are what the edge puts into ``Head.listener``; one that is missing trusts nobody.
    """

    credentials: Credentials
    people: People
    cookies: CookieNames
    listeners: Mapping[str, ListenerRules] = field(factory=dict)
    policy: Policy = field(factory=Policy)
    own_pages: OwnPages = field(factory=OwnPages)
    own_uid: int = field(factory=os.geteuid)
    now: Now = unix_now_us
    peer_uid: Callable[[Head], int | None] = uid_of
    containers: ContainerNetworks = field(factory=ContainerNetworks)
    rate: Rate = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rate = Rate(self.policy.public_per_minute)

    def authenticate(self, head: Head, endpoint: Endpoint, bound: BoundSurface | None = None) -> Caller:
        """Return who calls, or raise `NotAuthenticated`, `Forbidden` or `TooManyRequests`."""
        rules = self.listeners.get(head.listener, _NO_RULES)
        if rules.control:
            return self._control(head, endpoint)
        if endpoint.access == "public":
            return self._public(head, endpoint, bound)
        caller = self._carried(head, endpoint, bound)
        if caller is None:
            return self._without_credential(head, endpoint, bound)
        return _admitted(caller, head, endpoint)

    def still_valid(self, caller: Caller) -> bool:
        """Whether a caller's credential still counts and gives the role it gave: asked by long connections."""
        if not caller.credential_id:
            return True
        if caller.credential_id.startswith(_CONFIGURED):
            return caller.credential_id in map(_configured_id, self.policy.admin_keys)
        credential = self.credentials.live(caller.credential_id)
        if credential is None:
            return False
        try:
            now = self._caller_of(credential)
        except NotAuthenticated:
            return False
        return caller.role is None or (now.role is not None and now.role >= caller.role)

    def is_trusted(self, head: Head, bound: BoundSurface | None = None) -> bool:
        """Whether a request without credential comes from a local process that its listener trusts.

        A surface that says ``trust=False`` trusts none: people in browsers log in there, or callers name a person.
        """
        if (
            (bound is not None and not bound.surface.trust)
            or origin.is_navigation(head)
            or not self._is_local_request(head, bound)
        ):
            return False
        # Looked for as text: a cookie header too long to be read may have it too.
        if any(self.cookies.session in value for value in _values(head, b"cookie")):
            return False
        rules = self.listeners.get(head.listener, _NO_RULES)
        return rules.trust != "none" and self._is_trusted_process(head, rules.trust)

    def refuse_foreign_page(self, head: Head, bound: BoundSurface | None = None) -> None:
        """Raise `Forbidden` for an unsafe request that a page of another site has made."""
        origin.refuse_foreign_page(head, allowed=self._origins(head, bound))

    def allowed_origins(self, head: Head, surface: Surface | None) -> tuple[str, ...]:
        """Return the origins, besides the request's own, whose pages may ask ``surface``."""
        return (*self.policy.allowed_origins, *self.own_pages.origins(head, surface))

    def _origins(self, head: Head, bound: BoundSurface | None) -> tuple[str, ...]:
        return self.allowed_origins(head, None if bound is None else bound.surface)

    # ------------------------------------------------------------ the ways in

    def _control(self, head: Head, endpoint: Endpoint) -> Caller:
        if self.peer_uid(head) not in (self.own_uid, 0):
            raise Forbidden("the control socket is for the appliance's own user and root")
        if endpoint.access == "keyed" and Kind.CONTROL not in endpoint.caller:
            raise Forbidden(_wrong_kind(_CONTROL, endpoint), hint=_kinds_hint(endpoint))
        return _CONTROL

    def _public(self, head: Head, endpoint: Endpoint, bound: BoundSurface | None) -> Caller:
        """Let anyone in, at a bounded rate; a credential that does not count is as none."""
        self.refuse_foreign_page(head, bound)
        try:
            caller = self._carried(head, endpoint, bound)
        except NotAuthenticated:
            caller = None
        if caller is not None:
            return caller
        if self.is_trusted(head, bound):
            return _TRUST
        key = head.peer[0] if head.peer is not None else f"uid {self.peer_uid(head)}"
        wait_seconds = self.rate.take(key, now_unix_us=self.now())
        if wait_seconds > 0:
            raise TooManyRequests("too many requests from this address", retry_after_seconds=wait_seconds)
        return ANONYMOUS

    def _without_credential(self, head: Head, endpoint: Endpoint, bound: BoundSurface | None) -> Caller:
        # Reads of people, keys and settings need an admin: those, neither trust nor an open network gives.
        is_for_person = endpoint.access == "open" or bool(endpoint.caller & PERSON and not endpoint.caller & MACHINES)
        if is_for_person and endpoint.role <= Role.OPERATOR and self.is_trusted(head, bound):
            return _TRUST
        if endpoint.access == "open" and endpoint.role <= Role.USER and self._is_in_open_network(head, endpoint):
            if self._is_local_request(head, bound):
                return _OPEN
            if not origin.names_us(head, self.policy.hosts):
                raise NotAuthenticated(
                    "the name in the URL is not known to be this server's",
                    hint="write it into hosts of [server], or call by the address",
                )
        raise NotAuthenticated("a credential is needed here", hint=_kinds_hint(endpoint))

    # ------------------------------------------------------------ credentials

    def _carried(self, head: Head, endpoint: Endpoint, bound: BoundSurface | None) -> Caller | None:
        """Return whom the request's credential stands for, ``None`` when it carries none; raises for a wrong one."""
        authorization = _values(head, b"authorization")
        if authorization:
            return self._bearer(authorization)
        if keys := _values(head, b"x-admin-key"):
            return self._admin_key(_only(keys))
        if Kind.INGEST in endpoint.caller and (tokens := _values(head, b"x-monitoring-token")):
            return self._found(_only(tokens).strip(), frozenset({Kind.INGEST}))
        if (caller := self._from_query(head, endpoint)) is not None:
            return caller
        cookies = _cookies(head)
        if (secret := cookies.get(self.cookies.session)) is None:
            return None
        # Another site of our domain can add a cookie of this name for a longer path, which is then sent first: whoever
        # followed it would act, and leave things, in the account of whoever planted it.
        if len(set(values_of(_cookie_header(head), self.cookies.session))) > 1:
            raise NotAuthenticated("two sessions at once", hint="delete this site's cookies in the browser")
        caller = self._found(secret, frozenset({Kind.SESSION}), "the session has ended")
        websocket = endpoint.kind == "websocket"
        allowed = self._origins(head, bound)
        origin.refuse_forgery(head, websocket=websocket, cookies=cookies, allowed=allowed)
        return caller

    def _bearer(self, values: list[str]) -> Caller:
        scheme, _, secret = _only(values).strip().partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("this kind of Authorization is not understood", hint="send Authorization: Bearer")
        return self._found(secret.strip(), BEARER_KINDS)

    def _admin_key(self, secret: str) -> Caller:
        if not secret or len(secret) > ids.SECRET_LIMIT_BYTES:
            raise NotAuthenticated("this key does not count")
        # Every key is compared, so that the time does not tell which one came close.
        matches = [
            key
            for key in self.policy.admin_keys
            if ids.same_secret(ids.hash_secret(secret), ids.hash_secret(key)) and key
        ]
        if matches:
            known = _configured_id(matches[0])
            return Caller(kind=Kind.ADMIN_KEY, role=Role.OPERATOR, name="admin key", credential_id=known)
        return self._found(secret, ADMIN_KEY_KINDS)

    def _from_query(self, head: Head, endpoint: Endpoint) -> Caller | None:
        """Read ``?ticket=`` of WebSockets and ``?key=`` of the two places where a browser can send nothing else."""
        if not head.raw_query:
            return None
        takes_key = head.path.startswith(QUERY_KEY_PATHS)
        if endpoint.kind != "websocket" and not takes_key:
            return None
        given = dict(pairs(head.raw_query))
        if endpoint.kind == "websocket" and "ticket" in given:
            caller = self.credentials.tickets.take(given["ticket"])
            if caller is None or not self.still_valid(caller):
                raise NotAuthenticated("this ticket has been used or has expired")
            return caller
        return self._admin_key(given["key"]) if takes_key and "key" in given else None

    def _found(self, secret: str, kinds: frozenset[Kind], words: str = "this credential does not count") -> Caller:
        credential = self.credentials.find(secret, kinds)
        if credential is None:
            raise NotAuthenticated(words, hint="it is wrong, expired or revoked")
        return self._caller_of(credential)

    def _caller_of(self, credential: Credential) -> Caller:
        caller = Caller(
            kind=credential.kind,
            subject=credential.subject,
            credential_id=credential.credential_id,
            scope=credential.scope,
            scopes=credential.scopes,
        )
        if credential.kind in (Kind.SESSION, Kind.PAT):
            person = self.people.get(credential.subject)
            if person is None:
                raise NotAuthenticated("this credential's person is gone")
            return evolve(caller, role=person.role, name=person.name)
        if credential.kind is Kind.ADMIN_KEY:
            return evolve(caller, role=Role.OPERATOR, name=credential.label or "admin key")
        return caller

    # ------------------------------------------------------------ no credential

    def _is_local_request(self, head: Head, bound: BoundSurface | None) -> bool:
        """Whether nothing says that a proxy, a foreign page or a foreign name stands behind the request."""
        return (
            not origin.is_forwarded(head)
            and origin.names_us(head, self.policy.hosts)
            and origin.is_same_site_request(head, self._origins(head, bound))
        )

    def _is_trusted_process(self, head: Head, trust: Trust) -> bool:
        uid = self.peer_uid(head)
        if uid is None:
            return False
        # Root is not the owner when we are not root: proxies run as root and forward strangers.
        return trust == "local" or (self.policy.owner_trust and uid == self.own_uid and uid != OVERFLOW_UID)

    def _is_in_open_network(self, head: Head, endpoint: Endpoint) -> bool:
        networks = self.policy.open_to.get(endpoint.surface, ())
        if not networks or head.peer is None:
            return False
        try:
            address = ipaddress.ip_address(head.peer[0].partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if self.containers.holds(address):
            return False
        return any(address.version == network.version and address in network for network in networks)


_NO_RULES = ListenerRules()


def _admitted(caller: Caller, head: Head, endpoint: Endpoint) -> Caller:
    """Return the caller if the endpoint is for such; raise `Forbidden`, naming what is needed, if not."""
    # Open endpoints are for every person (or who acts as one), and for no machine that is not named: a token for
    # reading /metrics must not do what is open to users.
    if caller.kind not in endpoint.caller and (endpoint.access != "open" or caller.role is None):
        raise Forbidden(_wrong_kind(caller, endpoint), hint=_kinds_hint(endpoint))
    if caller.role is not None:
        require_role(caller, endpoint.role)
        # A WebSocket carries both ways, so reading alone does not open one.
        require_scope(caller, endpoint.surface, writes=head.method not in SAFE_METHODS or endpoint.kind == "websocket")
    return caller


def _configured_id(key: str) -> str:
    """Name a key of the configuration, so that a long connection is known to be by one that counts no more.

    Salted afresh in each process: the name tells nothing about the key.
    """
    return _CONFIGURED + hmac.new(_CONFIGURED_SALT, key.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:32]


def _values(head: Head, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in head.headers if key == name]


def _cookie_header(head: Head) -> str:
    return "; ".join(_values(head, b"cookie"))


def _cookies(head: Head) -> dict[str, str]:
    header = _cookie_header(head)
    return read_cookies(header) if header else {}


def _only(values: list[str]) -> str:
    if len(values) != 1:
        raise NotAuthenticated("send one credential, not several")
    return values[0]


def _wrong_kind(caller: Caller, endpoint: Endpoint) -> str:
    return f"this endpoint is not for a credential of kind {caller.kind.value}"


def _kinds_hint(endpoint: Endpoint) -> str:
    kinds = endpoint.caller - {Kind.CONTROL, Kind.TRUST, Kind.OPEN, Kind.ANONYMOUS}
    if kinds & {Kind.SESSION, Kind.PAT}:
        return f"log in, or send a personal access token as Authorization: Bearer (role {endpoint.role.word})"
    return f"send a credential of kind {', '.join(sorted(kind.value for kind in kinds))}"


__all__ = ["Access", "ListenerRules", "Policy", "read_networks"]
