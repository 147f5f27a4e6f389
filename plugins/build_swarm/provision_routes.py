"""New drones: the script that makes a Gentoo host one, the file that it fetches, and running it over ssh."""

from ipaddress import ip_address
from typing import Annotated, Any, Final

import msgspec
import trio
from attrs import field, frozen
from attrs.validators import max_len
from msgspec import Meta

from appliance.plugin import Answer, BadInput, Call, Conflict, File, Kind, NotAvailable, Role

from . import callers
from .approval import Approval, NotApproved
from .models import NAME_PATTERN, is_name
from .provisioning import FILE_PATH, Program, bootstrap_script, program
from .state import SwarmState
from .surfaces import DRONES, KEYED, public
from .wire.decoding import Reader
from .wire.requests import name_of

PROVISION_SECONDS: Final = 55.0
"""Clients wait for 60."""
LABEL: Final = "provisioned over ssh"
OUTPUT_CHARACTERS: Final = 2000


@frozen
class BootstrapQuery:
    """For which drone."""

    name: str = field(default="", validator=max_len(64))
    """Empty: the host's own name."""


@public.get("/api/v1/provision/bootstrap", caller=KEYED, role=Role.OPERATOR, query=BootstrapQuery)
async def bootstrap(call: Call[None]) -> Answer:
    """Give the script that makes a Gentoo host a drone of this swarm: ``curl ... | sh -s -- NAME``, as root there."""
    name = call.query.name
    if name and not is_name(name):
        raise BadInput("name: not a name", field="$.name", hint=f"names match {NAME_PATTERN}")
    state: SwarmState = call.state
    script = bootstrap_script(server=state.way_in.base_url(call.head), sha256=_program().sha256, name=name)
    return Answer(model=script, content_type="text/plain; charset=utf-8")


@public.get(FILE_PATH, caller=DRONES, access="open")
async def appliance_file(call: Call[None]) -> File:
    """Give the file that this appliance runs from: drones run it as well."""
    return File(path=_program().path, content_type="application/zip", name="appliance.pyz")


def _program() -> Program:
    found = program()
    if found is None:
        raise NotAvailable(
            "not available because this appliance does not run from appliance.pyz",
            hint="run the built file, or copy one to the host and start: appliance.pyz drone --server URL",
        )
    return found


class Provision(msgspec.Struct):
    """Which host to make a drone."""

    ip: Annotated[str, Meta(max_length=64)] | None = None
    name: Annotated[str, Meta(max_length=255)] | None = None


@public.post(
    "/api/v1/provision/drone", caller=KEYED, role=Role.OPERATOR, body=Provision, decode=Reader(Provision), waits=True
)
async def provision(call: Call[Provision]) -> dict[str, Any]:
    """Make a host that an operator has approved a drone, over ssh: it gets a credential of its own and the script.

    409 before any connection for a host that nobody has approved.
    """
    state: SwarmState = call.state
    approval = _approval(state, call.body)
    script = bootstrap_script(
        server=state.way_in.base_url(call.head), sha256=_program().sha256, name=approval.drone_name
    )
    credentials = state.core.credentials
    minted = await credentials.create(Kind.DRONE, subject=approval.drone_name, label=LABEL)
    # The credential goes over the standard input, within the script: command lines can be read by others.
    stdin = f"SWARM_TOKEN={minted.secret}\n{script}".encode()
    is_done = False
    try:
        ran = await state.ssh.run(approval, ["sh", "-s"], stdin=stdin, deadline_s=PROVISION_SECONDS)
        is_done = ran.status == 0
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await _end_others(credentials, minted.credential, is_done)
    words = f"{approval.drone_name} was provisioned" if ran.status == 0 else f"{approval.drone_name}: no provisioning"
    state.swarm.chronicle.note(
        "control", words, drone=approval.drone_name, details={"by": callers.who(call.caller), "status": ran.status}
    )
    if ran.status != 0:
        said = (ran.stderr or ran.stdout).strip()[-OUTPUT_CHARACTERS:]
        raise Conflict(f"the script ended with status {ran.status}: {said}", hint="mend that on the host, then again")
    return {
        "status": "provisioning",  # what clients look for: the drone registers in a moment
        "ip": approval.address,
        "name": approval.drone_name,
        "drone": approval.drone_name,
        "steps": ["ssh_test: ok", "credential: made", "bootstrap_started"],
        "output": ran.stdout[-OUTPUT_CHARACTERS:],
    }


def _approval(state: SwarmState, body: Provision) -> Approval:
    """Return the approval of the host that is meant, by name, by address, or both."""
    if not body.ip and not body.name:
        raise BadInput("Missing IP address", field="$.ip", hint="name an approved host by name or ip")
    address = _address(body.ip) if body.ip else ""
    if body.name:
        name = name_of(body.name, "name")
        found = state.approvals.find(name)
        if found is None:
            raise NotApproved(name)
        if address and found.address != address:
            raise Conflict(
                f"{name} is approved at {found.address}, not at {address}", hint=f"appliance swarm approve {name}"
            )
        return found
    for each in state.approvals.all():
        if each.address == address:
            return each
    raise NotApproved(address)


def _address(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise BadInput("ip: not an address", field="$.ip", hint="write an address such as 10.0.0.175") from None


async def _end_others(credentials: Any, made: Any, is_done: bool) -> None:
    """End what earlier provisioning gave the drone; of one that failed, what it was given itself."""
    if not is_done:
        await credentials.revoke(made.credential_id)
        return
    earlier, _ = await credentials.page({Kind.DRONE}, subject=made.subject, live_only=True)
    for each in earlier:
        if each.label == LABEL and each.credential_id != made.credential_id:
            await credentials.revoke(each.credential_id)
