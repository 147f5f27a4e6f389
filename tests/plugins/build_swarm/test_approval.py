"""Which drones may be entered."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from appliance.errors import BadInput, Conflict, NotFound
from appliance.testing import until
from plugins.build_swarm.approval import Approval, NotApproved, read_address
from tests.plugins.build_swarm.ssh_kit import ANA, HOST_KEY, OTHER_KEY, Box, an_approval, opened


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path) as made, made.serving():
        yield made


async def test_drone_that_nobody_approved_is_refused_with_the_command_that_approves_it(box: Box) -> None:
    with pytest.raises(NotApproved) as caught:
        box.approvals.of(box.fleet.add("drone-01"))
    assert (caught.value.status, caught.value.hint) == (409, "appliance swarm approve drone-01")
    assert caught.value.message == "drone 'drone-01' is not approved for ssh"


async def test_hint_holds_no_name_that_a_shell_could_read_otherwise() -> None:
    assert NotApproved("x; reboot").hint == "appliance swarm approve NAME"


async def test_approval_is_durable_audited_told_and_in_known_hosts(box: Box) -> None:
    drone = box.fleet.add("drone-01")
    approval = await box.approvals.approve(an_approval(), who=ANA)
    assert box.approvals.of(drone) == approval
    assert box.approvals.known_hosts.read_text() == f"192.0.2.1 {HOST_KEY}\n"
    entry = (await box.audited())[-1]
    assert (entry.action, entry.object, entry.who_name, entry.request_id) == ("swarm.approve", "drone-01", "ana", "r1")
    assert json.loads(entry.detail)["host_key"] == HOST_KEY
    assert [event.kind for event in await box.told()] == ["swarm.drone_approved"]
    box.restart()
    assert box.approvals.of(drone) == approval


async def test_approval_ends_when_the_drone_comes_from_elsewhere_and_stays_ended_when_it_comes_back(box: Box) -> None:
    drone = box.fleet.add("drone-01")
    approval = await box.approvals.approve(an_approval(), who=ANA)
    ended: list[Approval] = []
    box.approvals.on_ended(ended.append)
    drone.address = "192.0.2.66"
    with pytest.raises(NotApproved):
        box.approvals.of(drone)
    assert ended == [approval]
    drone.address = "192.0.2.1"
    with pytest.raises(NotApproved):
        box.approvals.of(drone)
    await until(lambda: box.approvals.known_hosts.read_text() == "")
    with trio.fail_after(30):
        while len(await box.told()) < 2:  # noqa: ASYNC110  it is on disk a moment later
            await trio.sleep(0.01)
    event = (await box.told())[-1]
    assert (event.kind, event.level) == ("swarm.approval_ended", "warning")
    assert event.data == {"address": "192.0.2.1", "new_address": "192.0.2.66"}
    assert (await box.audited())[-1].action == "swarm.approval_ended"
    box.restart()
    with pytest.raises(NotApproved):
        box.approvals.of(drone)


async def test_approval_of_another_address_than_the_heartbeats_ends_only_when_those_change(box: Box) -> None:
    drone = box.fleet.add("drone-01", address="198.51.100.7")
    approval = await box.approvals.approve(an_approval(address="192.0.2.1", seen_address="198.51.100.7"), who=ANA)
    assert box.approvals.of(drone) == approval
    drone.address = "::ffff:198.51.100.7"  # the same, as a socket of both families shows it
    assert box.approvals.of(drone) == approval
    drone.address = "192.0.2.1"
    with pytest.raises(NotApproved):
        box.approvals.of(drone)


async def test_drone_that_was_not_heard_of_since_the_start_keeps_its_approval(box: Box) -> None:
    drone = box.fleet.add("drone-01", address="")
    approval = await box.approvals.approve(an_approval(), who=ANA)
    assert box.approvals.of(drone) == approval


async def test_newer_approval_is_not_dropped_by_the_end_of_the_older(box: Box) -> None:
    drone = box.fleet.add("drone-01")
    await box.approvals.approve(an_approval(), who=ANA)
    drone.address = "192.0.2.66"
    with pytest.raises(NotApproved):
        box.approvals.of(drone)
    newer = an_approval(address="192.0.2.66", seen_address="192.0.2.66", approved_unix_us=2)
    await box.approvals.approve(newer, who=ANA)
    with trio.fail_after(30):
        while "swarm.approval_ended" not in [event.kind for event in await box.told()]:  # noqa: ASYNC110
            await trio.sleep(0.01)
    box.restart()
    assert box.approvals.of(drone) == newer


async def test_unapproved_drone_is_refused_and_gone_from_known_hosts(box: Box) -> None:
    drone = box.fleet.add("drone-01")
    await box.approvals.approve(an_approval(), who=ANA)
    await box.approvals.approve(an_approval("drone-02", address="192.0.2.2", host_key=OTHER_KEY), who=ANA)
    await box.approvals.unapprove("drone-01", who=ANA)
    with pytest.raises(NotApproved):
        box.approvals.of(drone)
    assert box.approvals.known_hosts.read_text() == f"192.0.2.2 {OTHER_KEY}\n"
    with pytest.raises(NotFound):
        await box.approvals.unapprove("drone-01", who=ANA)


async def test_one_place_is_never_approved_with_two_keys(box: Box) -> None:
    await box.approvals.approve(an_approval(), who=ANA)
    with pytest.raises(Conflict, match="approved as drone drone-01 with another key"):
        await box.approvals.approve(an_approval("drone-02", host_key=OTHER_KEY), who=ANA)
    await box.approvals.approve(an_approval("drone-02", host_key=OTHER_KEY, port=2222), who=ANA)
    await box.approvals.approve(an_approval(host_key=OTHER_KEY), who=ANA)  # the same drone, installed anew
    assert box.approvals.known_hosts.read_text() == f"192.0.2.1 {OTHER_KEY}\n[192.0.2.1]:2222 {OTHER_KEY}\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"drone_name": "-oProxyCommand=reboot"},
        {"drone_name": "a b"},
        {"drone_name": "x" * 64},
        {"drone_name": ""},
        {"address": "example.net"},
        {"address": "-oProxyCommand=reboot"},
        {"address": "fe80::1%eth0"},
        {"address": "0.0.0.0"},
        {"address": "224.0.0.1"},
        {"port": 0},
        {"port": 65_536},
        {"user": "-l"},
        {"user": "root;id"},
        {"user": ""},
        {"host_key": "ssh-ed25519 AAAA"},
        {"drone_type": "toaster"},
    ],
)
async def test_what_could_mean_something_else_to_ssh_is_never_approved(box: Box, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await box.approvals.approve(evolve(an_approval(), **wrong), who=ANA)
    assert box.approvals.all() == []


async def test_type_of_an_approval_can_be_changed_without_ending_it(box: Box) -> None:
    drone = box.fleet.add("drone-01")
    approval = await box.approvals.approve(an_approval(drone_type="lxc"), who=ANA)
    await box.approvals.set_type("drone-01", "bare-metal")
    assert box.approvals.of(drone).drone_type == "bare-metal"
    assert box.approvals.is_current(approval)
    box.restart()
    assert box.approvals.of(drone).drone_type == "bare-metal"
    await box.approvals.set_type("nobody", "lxc")  # nothing to change


async def test_address_has_one_form() -> None:
    assert read_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert read_address("2001:DB8:0::1") == "2001:db8::1"
