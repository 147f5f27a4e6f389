import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from attrs import define, evolve

from appliance.credentials import store as credential_store
from appliance.credentials.kinds import ANONYMOUS, PERSON, Caller, Kind, Role
from appliance.credentials.rules import US, Minted
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.errors import BadInput, Forbidden, NotAuthenticated, TooManyRequests
from appliance.http.auth import OVERFLOW_UID, Access, ListenerRules, Policy, read_networks
from appliance.http.container_networks import ContainerNetworks
from appliance.http.trust import uid_of
from appliance.people import store as people_store
from appliance.people.passwords import Passwords
from appliance.people.sessions import CookieNames
from appliance.people.store import People, Person
from appliance.surface import Endpoint, Head, Surface

START = 1_795_000_000 * US
OWN_UID, STRANGER_UID = 1000, 1001
TABLES = {credential_store.OWNER: credential_store.MIGRATIONS, people_store.OWNER: people_store.MIGRATIONS}
OWNER = "127.0.0.1:8080"
ANY_LOCAL, WIDE, CONTROL, PLAIN = "local", "0.0.0.0:80", "control", "plain"
HOST = ("host", "127.0.0.1:8080")


@define
class Clock:
    unix_us: int = START

    def __call__(self) -> int:
        return self.unix_us


@define
class World:
    """People, their credentials and the access rules; ``uid`` is who sits at the other end."""

    access: Access
    clock: Clock
    uid: int | None = OWN_UID

    async def person(self, name: str, role: Role) -> tuple[Person, Minted]:
        person = await self.access.people.add(name, role=role, password=None)
        return person, await self.access.credentials.create(Kind.SESSION, subject=person.person_id)

    def cookie(self, secret: str) -> tuple[str, str]:
        return "cookie", f"other=1; {self.access.cookies.session}={secret}; csrftoken=t"

    def call(self, known: Head, **declared: object) -> Caller:
        return self.access.authenticate(known, endpoint(**declared))


async def nothing(call: object) -> None:
    """Answer nothing."""


def endpoint(**declared: object) -> Endpoint:
    fields: dict[str, object] = {
        "surface": "core",
        "kind": "http",
        "method": "GET",
        "path": "/api/appliance/x",
        "handler": nothing,
    }
    return Endpoint(**(fields | declared))  # type: ignore[arg-type]


def head(
    *headers: tuple[str, str],
    method: str = "GET",
    path: str = "/api/appliance/x",
    query: bytes = b"",
    listener: str = OWNER,
    peer: tuple[str, int] | None = ("127.0.0.1", 50000),
) -> Head:
    return Head(
        method=method,
        path=path,
        raw_query=query,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers],
        peer=peer,
        local=("127.0.0.1", 8080) if peer is not None else "/run/x.sock",
        listener=listener,
        scheme="http",
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = Clock()
    async with Database.open(tmp_path / "a.db", inline=True, migrations=TABLES) as database:
        credentials = await Credentials.load(database, now=clock)
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1), inline=True)
        access = Access(
            credentials=credentials,
            people=await People.load(database, credentials, now=clock, passwords=cheap),
            cookies=CookieNames("i1"),
            listeners={
                OWNER: ListenerRules(trust="owner"),
                ANY_LOCAL: ListenerRules(trust="local"),
                WIDE: ListenerRules(),
                CONTROL: ListenerRules(control=True),
            },
            policy=Policy(
                hosts=("gpu-box.lan",),
                allowed_origins=("http://localhost:3000",),
                open_to={"task_scheduler": read_networks(("10.0.0.0/8", "fd00::/8"))},
                admin_keys=("key-from-the-environment",),
            ),
            own_uid=OWN_UID,
            now=clock,
        )
        made = World(access, clock)
        access.peer_uid = lambda _: made.uid
        yield made


def bearer(secret: str) -> tuple[str, str]:
    return "authorization", f"Bearer {secret}"


# ------------------------------------------------------------ trust


async def test_own_process_is_trusted_as_operator_without_credential(world: World) -> None:
    caller = world.call(head(HOST), role=Role.OPERATOR)
    assert (caller.kind, caller.role) == (Kind.TRUST, Role.OPERATOR)


@pytest.mark.parametrize("uid", [STRANGER_UID, 0, None])
async def test_another_user_root_and_nobody_known_are_not_the_owner(world: World, uid: int | None) -> None:
    # uid 0: proxies run as root and forward strangers.
    world.uid = uid
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST))


async def test_uid_that_stands_for_many_users_is_not_the_owner(world: World) -> None:
    # What the kernel shows for every user of another user namespace, also where the appliance runs as "nobody".
    world.uid = world.access.own_uid = OVERFLOW_UID
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST))


async def test_local_trust_takes_every_local_process_and_nobody_from_afar(world: World) -> None:
    world.uid = STRANGER_UID
    assert world.call(head(HOST, listener=ANY_LOCAL)).kind is Kind.TRUST
    world.uid = None
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST, listener=ANY_LOCAL))


@pytest.mark.parametrize("listener", [WIDE, PLAIN])
async def test_listener_without_trust_trusts_nobody(world: World, listener: str) -> None:
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST, listener=listener))


async def test_owner_trust_is_off_when_something_runs_as_our_uid_for_others(world: World) -> None:
    world.access.policy = evolve(world.access.policy, owner_trust=False)
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST))
    assert world.call(head(HOST, listener=ANY_LOCAL)).kind is Kind.TRUST


ATTACKS = {
    "a proxy on this host": (HOST, ("x-forwarded-for", "203.0.113.7")),
    "another proxy": (HOST, ("via", "1.1 squid")),
    "DNS rebinding": (("host", "evil.example"),),
    "a request without Host": (),
    "a foreign page": (HOST, ("origin", "http://evil.example")),
    "a sandboxed page": (HOST, ("origin", "null")),
    "a foreign page's image": (HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")),
    "a page on another port of this host": (HOST, ("sec-fetch-site", "same-site")),
    "a person in a browser": (HOST, ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "none")),
    "a stale session": (HOST, ("cookie", "appliance_i1=stale")),
    "a session behind more cookies than are read": (HOST, ("cookie", f"a={'x' * 9000}; appliance_i1=stale")),
    "a session in a second header": (HOST, ("cookie", "a=b"), ("cookie", "appliance_i1=stale")),
    "two origins": (HOST, ("origin", "http://127.0.0.1:8080"), ("origin", "http://evil.example")),
    "two hosts": (HOST, HOST),
    "a wrong token": (HOST, ("authorization", "Bearer wrong")),
    "an empty token": (HOST, ("authorization", "Bearer ")),
    "a wrong key": (HOST, ("x-admin-key", "wrong")),
    "an empty key": (HOST, ("x-admin-key", "")),
    "basic authorization": (HOST, ("authorization", "Basic YTpi")),
    "two tokens": (HOST, ("authorization", "Bearer a"), ("authorization", "Bearer b")),
    "an endless token": (HOST, ("authorization", "Bearer " + "x" * 100_000)),
}


@pytest.mark.parametrize("headers", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("listener", [OWNER, ANY_LOCAL])
async def test_trust_does_not_stand_in_for(world: World, listener: str, headers: tuple[tuple[str, str], ...]) -> None:
    for access in ("keyed", "open"):
        with pytest.raises(NotAuthenticated):
            world.call(head(*headers, listener=listener), access=access)


@pytest.mark.parametrize("access", ["keyed", "open", "public"])
async def test_surface_that_declares_no_trust_trusts_nobody(world: World, access: str) -> None:
    known = endpoint(access=access)
    assert world.access.authenticate(head(HOST), known, Surface("a").bind(None)).kind is Kind.TRUST
    wary = Surface("b", trust=False).bind(None)
    if access == "public":
        assert world.access.authenticate(head(HOST), known, wary) == ANONYMOUS
        return
    with pytest.raises(NotAuthenticated):
        world.access.authenticate(head(HOST), known, wary)


@pytest.mark.parametrize(
    "kinds", [{Kind.MACHINE}, {Kind.DRONE, Kind.WORKER}, {Kind.INGEST}, {Kind.AGENT}, {Kind.AGENT, Kind.PAT}]
)
async def test_trust_does_not_stand_in_for_machines(world: World, kinds: set[Kind]) -> None:
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST), caller=frozenset(kinds))


async def test_trust_reads_no_people_keys_or_settings(world: World) -> None:
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST), role=Role.ADMIN)


async def test_documented_open_endpoint_is_answered_on_trust_whoever_it_is_for(world: World) -> None:
    assert world.call(head(HOST), access="open", caller=frozenset({Kind.DRONE})).kind is Kind.TRUST


@contextmanager
def connected(as_stranger: bool) -> Iterator[Head]:
    """A real TCP connection from a process of ours or of another user."""
    program = """
import encodings.idna, os, socket, sys
if sys.argv[2] == "True": os.setgid(65534); os.setuid(65534)
peer = socket.socket(); peer.connect(("127.0.0.1", int(sys.argv[1])))
sys.stdin.read()
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        command = [sys.executable, "-c", program, str(server.getsockname()[1]), str(as_stranger)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/") as client:
            connection, peer = server.accept()
            with connection:
                known = head(("host", "localhost"), peer=peer)
                known.local = connection.getsockname()
                yield known
            client.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
async def test_another_local_user_over_a_real_connection_is_refused(world: World) -> None:
    world.access.peer_uid = uid_of
    world.access.own_uid = os.geteuid()
    with connected(as_stranger=False) as known:
        assert world.call(known).kind is Kind.TRUST
    with connected(as_stranger=True) as known, pytest.raises(NotAuthenticated):
        world.call(known)


# ------------------------------------------------------------ open_to


async def test_open_network_acts_as_user_on_open_endpoints_of_its_surface(world: World) -> None:
    world.uid = None
    known = head(("host", "gpu-box.lan"), peer=("10.1.2.3", 9), listener=WIDE)
    caller = world.call(known, surface="task_scheduler", access="open")
    assert (caller.kind, caller.role) == (Kind.OPEN, Role.USER)
    mapped = evolve(known, peer=("::ffff:10.1.2.3", 9))
    assert world.call(mapped, surface="task_scheduler", access="open").kind is Kind.OPEN


@pytest.mark.parametrize(
    ("peer", "headers", "declared"),
    [
        ("10.1.2.3", (("host", "gpu-box.lan"),), {"access": "keyed"}),
        ("10.1.2.3", (("host", "gpu-box.lan"),), {"access": "open", "role": Role.OPERATOR}),
        ("10.1.2.3", (("host", "gpu-box.lan"),), {"access": "open", "surface": "build_swarm"}),
        ("192.168.0.1", (("host", "gpu-box.lan"),), {"access": "open"}),
        ("nonsense", (("host", "gpu-box.lan"),), {"access": "open"}),
        ("10.1.2.3", (("host", "evil.example"),), {"access": "open"}),
        ("10.1.2.3", (("host", "gpu-box.lan"), ("x-forwarded-for", "1.2.3.4")), {"access": "open"}),
        ("10.1.2.3", (("host", "gpu-box.lan"), ("origin", "http://evil.example")), {"access": "open"}),
        ("10.1.2.3", (("host", "gpu-box.lan"), ("authorization", "Bearer wrong")), {"access": "open"}),
    ],
)
async def test_open_network_does_not_stand_in_elsewhere(
    world: World, peer: str, headers: tuple[tuple[str, str], ...], declared: dict[str, object]
) -> None:
    world.uid = None
    with pytest.raises(NotAuthenticated):
        world.call(head(*headers, peer=(peer, 9), listener=WIDE), **({"surface": "task_scheduler"} | declared))


async def test_caller_of_an_open_network_is_told_that_the_name_is_not_ours(world: World) -> None:
    world.uid = None
    known = head(("host", "swarm.example"), peer=("10.1.2.3", 9), listener=WIDE)
    for peer, is_told in (("10.1.2.3", True), ("192.168.0.1", False)):
        with pytest.raises(NotAuthenticated) as refused:
            world.call(evolve(known, peer=(peer, 9)), surface="task_scheduler", access="open")
        assert ("hosts of [server]" in refused.value.hint) is is_told
    with pytest.raises(NotAuthenticated, match="a credential is needed here"):
        world.call(known, surface="task_scheduler", access="open", role=Role.OPERATOR)


async def test_container_of_this_host_is_in_no_open_network(world: World, tmp_path: Path) -> None:
    (tmp_path / "docker0" / "bridge").mkdir(parents=True)
    (tmp_path / "route").write_text("Iface\ndocker0 0000110A 00000000 1 0 0 0 0000FFFF 0 0 0\n")
    world.access.containers = ContainerNetworks(now=world.clock, interfaces=tmp_path, tables=tmp_path)
    world.uid = None
    declared = {"surface": "task_scheduler", "access": "open"}
    assert world.call(head(("host", "gpu-box.lan"), peer=("10.1.2.3", 9), listener=WIDE), **declared).kind is Kind.OPEN
    for peer in ("10.17.0.2", "::ffff:10.17.0.2"):
        with pytest.raises(NotAuthenticated):
            world.call(head(("host", "gpu-box.lan"), peer=(peer, 9), listener=WIDE), **declared)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(BadInput):
        read_networks(("10.0.0.1/8",))


# ------------------------------------------------------------ credentials


async def test_token_is_read_in_any_case_of_bearer_from_anywhere(world: World) -> None:
    person, _ = await world.person("ana", Role.USER)
    token = await world.access.credentials.create(Kind.PAT, subject=person.person_id)
    for scheme in ("Bearer", "bearer", "BEARER"):
        known = head(("host", "evil.example"), ("authorization", f"{scheme} {token.secret}"), listener=WIDE)
        caller = world.call(known, role=Role.USER)
        assert (caller.kind, caller.name, caller.role) == (Kind.PAT, "ana", Role.USER)


async def test_role_too_low_names_the_role_needed(world: World) -> None:
    _, session = await world.person("ana", Role.VIEWER)
    with pytest.raises(Forbidden) as caught:
        world.call(head(HOST, world.cookie(session.secret)), role=Role.OPERATOR)
    assert "operator" in caught.value.hint


async def test_role_taken_away_is_gone_at_the_next_request(world: World) -> None:
    await world.person("root", Role.ADMIN)
    person, session = await world.person("ana", Role.ADMIN)
    known = head(HOST, world.cookie(session.secret))
    caller = world.call(known, role=Role.ADMIN)
    assert world.access.still_valid(caller)
    await world.access.people.set_role(person.person_id, Role.VIEWER)
    with pytest.raises(Forbidden):
        world.call(known, role=Role.ADMIN)
    assert not world.access.still_valid(caller)


async def test_scopes_limit_a_token_and_name_the_one_needed(world: World) -> None:
    person, _ = await world.person("ana", Role.ADMIN)
    token = await world.access.credentials.create(
        Kind.PAT, subject=person.person_id, scopes=frozenset({"core:read", "build_swarm"})
    )
    assert world.call(head(bearer(token.secret))).name == "ana"
    assert world.call(head(bearer(token.secret), method="POST"), surface="build_swarm", method="POST").name == "ana"
    for known, declared in (
        (head(bearer(token.secret), method="POST"), {"method": "POST"}),
        (head(bearer(token.secret)), {"kind": "websocket"}),
        (head(bearer(token.secret)), {"surface": "task_scheduler"}),
    ):
        with pytest.raises(Forbidden) as caught:
            world.call(known, **declared)
        assert "scope" in caught.value.hint


async def test_machine_reaches_only_what_is_for_machines(world: World) -> None:
    token = await world.access.credentials.create(Kind.MACHINE, scope="gpu", subject="m1")
    caller = world.call(head(bearer(token.secret)), caller=frozenset({Kind.MACHINE}), role=Role.ADMIN)
    assert (caller.subject, caller.scope, caller.role) == ("m1", "gpu", None)
    with pytest.raises(Forbidden):
        world.call(head(bearer(token.secret)), caller=PERSON)


@pytest.mark.parametrize("kind", [Kind.SCRAPE, Kind.INGEST, Kind.JOIN, Kind.INSTALL, Kind.MACHINE])
async def test_machine_does_not_do_what_is_open_to_users(world: World, kind: Kind) -> None:
    made = await world.access.credentials.create(kind, subject="m1")
    with pytest.raises(Forbidden):
        world.call(head(HOST, bearer(made.secret), method="POST"), access="open", role=Role.USER, method="POST")
    named = world.call(head(HOST, bearer(made.secret)), access="open", caller=frozenset({kind}))
    assert (named.kind, named.role) == (kind, None)


async def test_person_may_do_what_is_open_to_drones(world: World) -> None:
    _, session = await world.person("ana", Role.USER)
    declared = {"access": "open", "caller": frozenset({Kind.DRONE})}
    assert world.call(head(HOST, world.cookie(session.secret)), **declared).name == "ana"


async def test_session_planted_beside_ones_own_is_not_followed(world: World) -> None:
    _, own = await world.person("ana", Role.ADMIN)
    _, planted = await world.person("eve", Role.VIEWER)
    name = world.access.cookies.session
    cookies = ("cookie", f"{name}={planted.secret}; {name}={own.secret}")
    with pytest.raises(NotAuthenticated) as caught:
        world.call(head(HOST, cookies))
    assert "cookies" in caught.value.hint
    assert world.call(head(HOST, cookies, listener=WIDE), access="public") == ANONYMOUS
    same = ("cookie", f"{name}={own.secret}; {name}={own.secret}")
    assert world.call(head(HOST, same)).name == "ana"


async def test_session_secret_counts_in_its_cookie_only(world: World) -> None:
    _, session = await world.person("ana", Role.ADMIN)
    assert world.call(head(HOST, world.cookie(session.secret))).kind is Kind.SESSION
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST, bearer(session.secret)))
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST, ("x-admin-key", session.secret)))


async def test_setup_and_reset_secrets_open_no_endpoint(world: World) -> None:
    for kind in (Kind.SETUP, Kind.RESET):
        made = await world.access.credentials.create(kind)
        with pytest.raises(NotAuthenticated):
            world.call(head(HOST, bearer(made.secret)), caller=frozenset(Kind))


async def test_cookie_of_another_instance_is_no_credential(world: World) -> None:
    assert world.call(head(HOST, ("cookie", "appliance_other=x"))).kind is Kind.TRUST


async def test_session_ends_with_its_person(world: World) -> None:
    await world.person("root", Role.ADMIN)
    person, session = await world.person("ana", Role.USER)
    caller = world.call(head(HOST, world.cookie(session.secret)))
    await world.access.people.remove(person.person_id)
    with pytest.raises(NotAuthenticated):
        world.call(head(HOST, world.cookie(session.secret)))
    assert not world.access.still_valid(caller)


async def test_foreign_page_with_our_cookie_is_refused(world: World) -> None:
    _, session = await world.person("ana", Role.ADMIN)
    forged = (HOST, world.cookie(session.secret), ("origin", "http://evil.example"), ("sec-fetch-site", "cross-site"))
    with pytest.raises(Forbidden):
        world.call(head(*forged, method="POST"), method="POST")
    with pytest.raises(Forbidden):
        world.call(head(*forged), kind="websocket")
    assert world.call(head(*forged)).kind is Kind.SESSION


async def test_admin_key_acts_as_operator_by_its_header(world: World) -> None:
    made = await world.access.credentials.create(Kind.ADMIN_KEY)
    for key in (made.secret, "key-from-the-environment"):
        caller = world.call(head(("x-admin-key", key), listener=WIDE), role=Role.OPERATOR)
        assert (caller.kind, caller.role) == (Kind.ADMIN_KEY, Role.OPERATOR)
        assert world.access.still_valid(caller)
        with pytest.raises(Forbidden):
            world.call(head(("x-admin-key", key), listener=WIDE), role=Role.ADMIN)
    with pytest.raises(NotAuthenticated):
        world.call(head(bearer(made.secret)))


async def test_key_taken_out_of_the_configuration_ends_what_it_opened(world: World) -> None:
    caller = world.call(head(("x-admin-key", "key-from-the-environment"), listener=WIDE))
    assert world.access.still_valid(caller)
    assert "environment" not in caller.credential_id
    world.access.policy = evolve(world.access.policy, admin_keys=("another-key-of-the-operator",))
    assert not world.access.still_valid(caller)


async def test_key_in_the_query_counts_in_two_places_only(world: World) -> None:
    made = await world.access.credentials.create(Kind.ADMIN_KEY)
    query = f"key={made.secret}".encode()
    for path in ("/admin/api/system", "/ws/ssh/drone1"):
        assert world.call(head(path=path, query=query, listener=WIDE)).kind is Kind.ADMIN_KEY
    with pytest.raises(NotAuthenticated):
        world.call(head(path="/api/appliance/x", query=query, listener=WIDE))


async def test_drone_token_travels_both_ways(world: World) -> None:
    made = await world.access.credentials.create(Kind.DRONE, subject="d1")
    for header in (bearer(made.secret), ("x-admin-key", made.secret)):
        assert world.call(head(header), caller=frozenset({Kind.DRONE})).subject == "d1"


async def test_monitoring_token_is_read_where_ingest_is_meant(world: World) -> None:
    made = await world.access.credentials.create(Kind.INGEST, subject="gpu-1")
    known = head(("x-monitoring-token", f" {made.secret} "), listener=WIDE)
    assert world.call(known, caller=frozenset({Kind.INGEST})).subject == "gpu-1"
    with pytest.raises(NotAuthenticated):
        world.call(known)


async def test_ticket_opens_one_websocket_as_its_person(world: World) -> None:
    _, session = await world.person("ana", Role.USER)
    caller = world.call(head(HOST, world.cookie(session.secret)))
    ticket = world.access.credentials.tickets.issue(caller)
    query = f"ticket={ticket}".encode()
    assert world.call(head(query=query, listener=WIDE), kind="websocket").name == "ana"
    with pytest.raises(NotAuthenticated):
        world.call(head(query=query, listener=WIDE), kind="websocket")
    second = world.access.credentials.tickets.issue(caller)
    await world.access.credentials.revoke(caller.credential_id)
    with pytest.raises(NotAuthenticated):
        world.call(head(query=f"ticket={second}".encode(), listener=WIDE), kind="websocket")


async def test_revoked_credential_is_no_longer_valid(world: World) -> None:
    made = await world.access.credentials.create(Kind.SCRAPE)
    caller = world.call(head(bearer(made.secret)), caller=frozenset({Kind.SCRAPE}))
    assert world.access.still_valid(caller)
    await world.access.credentials.revoke(made.credential.credential_id)
    assert not world.access.still_valid(caller)


async def test_refusal_says_what_to_send(world: World) -> None:
    with pytest.raises(NotAuthenticated) as person:
        world.call(head(HOST, listener=WIDE), role=Role.OPERATOR)
    assert "log in" in person.value.hint
    assert "operator" in person.value.hint
    with pytest.raises(NotAuthenticated) as machine:
        world.call(head(HOST, listener=WIDE), caller=frozenset({Kind.MACHINE, Kind.WORKER}))
    assert "machine, worker" in machine.value.hint


# ------------------------------------------------------------ public


async def test_public_endpoint_answers_anyone_120_times_a_minute(world: World) -> None:
    known = head(HOST, listener=WIDE)
    for _ in range(120):
        assert world.call(known, access="public").kind is Kind.ANONYMOUS
    with pytest.raises(TooManyRequests) as caught:
        world.call(known, access="public")
    assert caught.value.headers == (("Retry-After", "1"),)
    assert world.call(head(HOST, listener=WIDE, peer=("10.0.0.9", 1)), access="public").kind is Kind.ANONYMOUS
    world.clock.unix_us += US
    assert world.call(known, access="public").kind is Kind.ANONYMOUS


async def test_trusted_and_known_callers_are_not_limited(world: World) -> None:
    _, session = await world.person("ana", Role.VIEWER)
    for _ in range(200):
        assert world.call(head(HOST), access="public").kind is Kind.TRUST
        assert world.call(head(HOST, world.cookie(session.secret), listener=WIDE), access="public").name == "ana"


async def test_credential_that_does_not_count_is_as_none_on_public_endpoints(world: World) -> None:
    for header in (bearer("wrong"), ("cookie", "appliance_i1=stale"), ("x-admin-key", "wrong")):
        assert world.call(head(HOST, header, listener=WIDE), access="public").kind is Kind.ANONYMOUS


async def test_foreign_page_cannot_post_to_a_public_endpoint(world: World) -> None:
    with pytest.raises(Forbidden):
        world.call(head(HOST, ("origin", "http://evil.example"), method="POST"), access="public", method="POST")


# ------------------------------------------------------------ control socket


@pytest.mark.parametrize("uid", [OWN_UID, 0])
async def test_control_socket_is_admin_for_our_user_and_root(world: World, uid: int) -> None:
    world.uid = uid
    caller = world.call(head(listener=CONTROL, peer=None), role=Role.ADMIN)
    assert (caller.kind, caller.role) == (Kind.CONTROL, Role.ADMIN)


@pytest.mark.parametrize("uid", [STRANGER_UID, None])
async def test_control_socket_refuses_everybody_else(world: World, uid: int | None) -> None:
    world.uid = uid
    with pytest.raises(Forbidden):
        world.call(head(listener=CONTROL, peer=None))


async def test_control_socket_is_no_machine(world: World) -> None:
    with pytest.raises(Forbidden):
        world.call(head(listener=CONTROL, peer=None), caller=frozenset({Kind.MACHINE}))
