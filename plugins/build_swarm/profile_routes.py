"""Profiles (named sets of packages that a kind of host wants) and snapshots of them."""

import re
import unicodedata
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from appliance.plugin import Answer, BadInput, Call, Conflict, NotFound, Role, TooLarge

from . import callers, profile_store
from .atoms import normalised
from .models import NAME_PATTERN, is_name
from .profile_store import Profile, Snapshot
from .state import SwarmState
from .states import PackageState, QueueRequest
from .surfaces import KEYED, READERS, public
from .wire import records
from .wire.decoding import Reader
from .wire.moments import seconds
from .wire.plain import plain
from .wire.requests import ATOM_CHARACTERS, PACKAGES_MAX, shown

PROFILES_MAX: Final = 1000
SNAPSHOTS_MAX: Final = 500
BODY_BYTES: Final = 4_194_304
_Label = Annotated[str, Meta(max_length=200)]
_Atoms = Annotated[list[Annotated[str, Meta(min_length=1, max_length=ATOM_CHARACTERS)]], Meta(max_length=PACKAGES_MAX)]


class NewProfile(msgspec.Struct):
    """A profile; without ``id`` it gets one from its name."""

    id: _Label | None = None
    name: _Label | None = None
    description: Annotated[str, Meta(max_length=2000)] | None = None
    packages: _Atoms | None = None
    world: _Atoms | None = None
    """The same as ``packages``."""


class World(msgspec.Struct):
    """The packages of a profile."""

    packages: _Atoms | None = None
    world: _Atoms | None = None


class Sync(msgspec.Struct):
    """Which profile to build."""

    profile: _Label | None = None
    profile_id: _Label | None = None
    id: _Label | None = None
    session_name: _Label | None = None


class NewSnapshot(msgspec.Struct):
    """What to keep: a profile's packages, or without one what the swarm has built."""

    name: _Label | None = None
    profile: _Label | None = None
    profile_id: _Label | None = None


# ---------------------------------------------------------------- profiles


@public.get("/api/v1/profiles", caller=READERS, access="open")
async def profiles(call: Call[None]) -> dict[str, Any]:
    """List the profiles, without their packages."""
    state: SwarmState = call.state
    found = await state.core.database.read(profile_store.profiles)
    return {"profiles": [_brief(each) for each in found]}


@public.post(
    "/api/v1/profiles",
    caller=KEYED,
    role=Role.OPERATOR,
    body=NewProfile,
    decode=Reader(NewProfile),
    limit_bytes=BODY_BYTES,
    status=201,
)
async def create(call: Call[NewProfile]) -> dict[str, Any]:
    """Make a profile; 409 when there is one with its id."""
    state: SwarmState = call.state
    body = call.body
    name = shown(body.name or body.id, 200)
    profile_id = body.id or _id_of(name)
    if not is_name(profile_id):
        raise BadInput("id: not a name", field="$.id", hint=f"an id matches {NAME_PATTERN}")
    now = state.core.now()
    made = Profile(
        profile_id=profile_id,
        name=name,
        description=shown(body.description, 2000),
        atoms=_atoms(body.packages or body.world or []),
        created_unix_us=now,
        updated_unix_us=now,
    )

    def write(connection: Any) -> bool:
        if profile_store.count_profiles(connection) >= PROFILES_MAX:
            raise TooLarge(f"there are {PROFILES_MAX} profiles already", hint="delete one")
        return profile_store.insert(connection, made)

    if not await state.core.database.write(write):
        raise Conflict(
            f"there is a profile {profile_id!r}", hint=f"DELETE /api/v1/profiles/{profile_id}, or its /world"
        )
    _note(state, f"profile {profile_id} made", made)
    return {"status": "ok", "id": profile_id, "profile": _whole(made)}


@public.get("/api/v1/profiles/{profile_id}", caller=READERS, access="open")
async def read(call: Call[None]) -> dict[str, Any]:
    """Show a profile with its packages."""
    return _whole(await _profile(call.state, call.path["profile_id"]))


@public.delete("/api/v1/profiles/{profile_id}", caller=KEYED, role=Role.OPERATOR)
async def delete(call: Call[None]) -> dict[str, str]:
    """Delete a profile; its snapshots stay."""
    state: SwarmState = call.state
    profile_id = call.path["profile_id"]
    if not await state.core.database.write(lambda connection: profile_store.delete(connection, profile_id)):
        raise NotFound("profile", profile_id, hint="GET /api/v1/profiles lists them")
    state.swarm.chronicle.note("profile", f"profile {profile_id} deleted", details={"profile": profile_id})
    return {"status": "deleted", "id": profile_id}


@public.post(
    "/api/v1/profiles/{profile_id}/world",
    caller=KEYED,
    role=Role.OPERATOR,
    body=World,
    decode=Reader(World),
    limit_bytes=BODY_BYTES,
)
async def set_world(call: Call[World]) -> dict[str, Any]:
    """Give a profile other packages, in place of those it has."""
    state: SwarmState = call.state
    said = call.body.packages if call.body.packages is not None else call.body.world
    if said is None:
        raise BadInput("Missing packages", field="$.packages", hint='send {"packages": ["category/name"]}')
    profile_id, atoms, now = call.path["profile_id"], _atoms(said), state.core.now()
    is_known = await state.core.database.write(
        lambda connection: profile_store.set_atoms(connection, profile_id, atoms, now)
    )
    if not is_known:
        raise NotFound("profile", profile_id, hint="GET /api/v1/profiles lists them")
    found = await _profile(state, profile_id)
    _note(state, f"profile {profile_id} has {len(atoms)} packages", found)
    return {"status": "ok", "id": profile_id, "packages": len(atoms), "profile": _whole(found)}


@public.post(
    "/api/v1/profile/sync", caller=KEYED, role=Role.OPERATOR, body=Sync, decode=Reader(Sync), limit_bytes=BODY_BYTES
)
async def sync(call: Call[Sync]) -> dict[str, Any]:
    """Queue the packages of a profile; what waits or is being built already is passed over."""
    state: SwarmState = call.state
    said = call.body.profile_id or call.body.profile or call.body.id
    if not said:
        raise BadInput("Missing profile_id", field="$.profile_id", hint="GET /api/v1/profiles lists them")
    profile = await _profile(state, said)
    if not profile.atoms:
        raise Conflict(f"profile {said!r} has no packages", hint=f"POST /api/v1/profiles/{said}/world gives it some")
    name = shown(call.body.session_name, 200) or f"Profile {profile.name}"
    found = await state.swarm.queue(QueueRequest(atoms=profile.atoms, session_name=name, by=callers.who(call.caller)))
    return {
        "status": "ok",
        "profile": profile.profile_id,
        "queued": len(found.packages),
        "skipped": found.skipped,
        "packages": [package.atom for package in found.packages],
        "session_id": None if found.session is None else found.session.session_id,
        "session": None if found.session is None else records.session(found.session),
    }


# ---------------------------------------------------------------- snapshots


@public.get("/api/v1/snapshots", caller=READERS, access="open")
async def snapshots(call: Call[None]) -> dict[str, Any]:
    """List the snapshots, newest first."""
    state: SwarmState = call.state
    found = await state.core.database.read(profile_store.snapshots)
    return {"snapshots": [_snapshot(each) for each in found]}


@public.post(
    "/api/v1/snapshots", caller=KEYED, role=Role.OPERATOR, body=NewSnapshot, decode=Reader(NewSnapshot), status=201
)
async def take_snapshot(call: Call[NewSnapshot]) -> Answer:
    """Keep the packages of a profile, or without one what the swarm has built, as they are now; the last 500 stay."""
    state: SwarmState = call.state
    said = call.body.profile_id or call.body.profile
    if said:
        atoms = (await _profile(state, said)).atoms
    else:
        atoms = tuple(package.atom for package in state.swarm.packages(states={PackageState.RECEIVED}))
    now = state.core.now()
    asked = Snapshot(
        snapshot_id=0,
        name=shown(call.body.name, 200) or f"snapshot-{now // 1_000_000}",
        profile_id=said,
        atoms=atoms,
        created_unix_us=now,
        created_by=callers.who(call.caller),
    )
    made = await state.core.database.write(
        lambda connection: profile_store.insert_snapshot(connection, asked, SNAPSHOTS_MAX)
    )
    words = f"snapshot {made.name} of {len(made.atoms)} packages"
    state.swarm.chronicle.note("snapshot", words, details={"snapshot": made.snapshot_id, "packages": len(made.atoms)})
    return Answer(model={"status": "ok", "id": made.snapshot_id, "snapshot": _snapshot(made)})


# ---------------------------------------------------------------- shared


async def _profile(state: SwarmState, profile_id: str) -> Profile:
    found = await state.core.database.read(lambda connection: profile_store.profile(connection, profile_id))
    if found is None:
        raise NotFound("profile", profile_id[:200], hint="GET /api/v1/profiles lists them")
    return found


def _atoms(said: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(normalised, said)))


def _id_of(name: str) -> str:
    """Return an id made of a name; empty where nothing of it can stand in one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:63]


def _note(state: SwarmState, words: str, found: Profile) -> None:
    details = {"profile": found.profile_id, "packages": len(found.atoms)}
    state.swarm.chronicle.note("profile", words, details=details)


def _brief(found: Profile) -> dict[str, Any]:
    return {
        "id": found.profile_id,
        "name": plain(found.name),
        "description": plain(found.description),
        "package_count": len(found.atoms),
        "created_at": seconds(found.created_unix_us),
        "updated_at": seconds(found.updated_unix_us),
    }


def _whole(found: Profile) -> dict[str, Any]:
    return _brief(found) | {"packages": found.atoms, "world": found.atoms}


def _snapshot(found: Snapshot) -> dict[str, Any]:
    return {
        "id": found.snapshot_id,
        "name": plain(found.name),
        "profile_id": found.profile_id,
        "package_count": len(found.atoms),
        "packages": found.atoms,
        "created_at": seconds(found.created_unix_us),
        "created_by": found.created_by,
    }
