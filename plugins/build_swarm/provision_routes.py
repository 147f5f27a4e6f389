"""New drones: the script that makes a Gentoo host one, the file that it fetches, and running it over ssh."""

from ipaddress import ip_address
from typing import Annotated, Any, Final

import msgspec
import trio
from attrs import field, frozen
from attrs.validators import max_len
from msgspec import Meta

from appliance.plugin import Answer, ApplianceError, BadInput, Call, Conflict, File, Kind, NotAvailable, Role

from . import callers
from .approval import Approval, NotApproved
from .models import NAME_PATTERN, is_name
from .provisioning import FILE_PATH, Program, bootstrap_script, program
from .ssh import Ran
from .ssh_command import SshFailed
from .state import SwarmState
from .surfaces import DRONES, KEYED, public
from .wire.decoding import Reader
from .wire.requests import name_of

PROVISION_SECONDS: Final = 25.0
"""The command line waits for 30."""
LABEL: Final = "provisioned over ssh"
OUTPUT_CHARACTERS: Final = 2000


@frozen
class BootstrapQuery:
    """For which drone."""

    name: str = field(default="", validator=max_len(64))
    """Empty: the host's own name."""


@public.get("/api/v1/provision/bootstrap", caller=KEYED, role=Role.OPERATOR, query=BootstrapQuery)
async def bootstrap(call: Call[None]) -> Answer:
    """Give the script that makes a Gentoo host a drone of this swarm: ``curl ... | sh -s -- NAME``, as root there.

    Whoever accepts JSON alone, as the existing command line does, is given it as a JSON string.
    """
    name = call.query.name
    if name and not is_name(name):
        raise BadInput("name: not a name", field="$.name", hint=f"names match {NAME_PATTERN}")
    state: SwarmState = call.state
    script = bootstrap_script(server=state.way_in.base_url(call.head), sha256=_program().sha256, name=name)
    headers = (("vary", "accept"),)
    if _accepts_json_alone(call.head.header(b"accept") or ""):
        return Answer(model=msgspec.json.encode(script), content_type="application/json", headers=headers)
    return Answer(model=script, content_type="text/plain; charset=utf-8", headers=headers)


def _accepts_json_alone(accept: str) -> bool:
    accepted = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
    return accepted == {"application/json"}


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

    The ``status`` says what became of it, and is what clients read: ``provisioning`` (the drone registers in a moment),
    or ``ssh_failed``, ``ssh_timeout`` or ``ssh_not_found`` with an ``error``. A host that nobody has approved is not
    connected to.
    """
    state: SwarmState = call.state
    _check(call.body)
    try:
        approval = _approval(state, call.body)
    except Conflict as refused:
        return _failed(call.body, refused)
    script = bootstrap_script(
        server=state.way_in.base_url(call.head), sha256=_program().sha256, name=approval.drone_name
    )
    try:
        ran = await _run(state, approval, script)
    except (Conflict, NotAvailable, SshFailed) as failed:
        return _failed(call.body, failed)
    words = f"{approval.drone_name} was provisioned" if ran.status == 0 else f"{approval.drone_name}: no provisioning"
    state.swarm.chronicle.note(
        "control", words, drone=approval.drone_name, details={"by": callers.who(call.caller), "status": ran.status}
    )
    if ran.status != 0:
        said = (ran.stderr or ran.stdout).strip()[-OUTPUT_CHARACTERS:]
        problem = Conflict(
            f"the script ended with status {ran.status}: {said}", hint="mend that on the host, then again"
        )
        return _failed(call.body, problem)
    return {
        "status": "provisioning",
        "ip": approval.address,
        "name": approval.drone_name,
        "drone": approval.drone_name,
        "steps": ["ssh_test: ok", "credential: made", "bootstrap_started"],
        "output": ran.stdout[-OUTPUT_CHARACTERS:],
    }


def _failed(body: Provision, why: ApplianceError) -> dict[str, Any]:
    """Say why a host was not provisioned; clients show ``error`` alone, so it says what to do as well."""
    status = "ssh_failed"
    if isinstance(why, NotAvailable):
        status = "ssh_not_found"
    elif isinstance(why, SshFailed) and why.kind == "timeout":
        status = "ssh_timeout"
    error = f"{why.message} ({why.hint})" if why.hint else why.message
    return {"status": status, "ip": body.ip, "name": body.name, "steps": [], "error": error, "hint": why.hint}


async def _run(state: SwarmState, approval: Approval, script: str) -> Ran:
    """Run the script on the host, with a credential that counts only if it works."""
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
    return ran


def _check(body: Provision) -> None:
    """Raise `BadInput` for what names no host."""
    if not body.ip and not body.name:
        raise BadInput("Missing IP address", field="$.ip", hint="name an approved host by name or ip")
    if body.ip:
        _address(body.ip)
    if body.name:
        name_of(body.name, "name")


def _approval(state: SwarmState, body: Provision) -> Approval:
    """Return the approval of the host that is meant, by name, by address, or both."""
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
