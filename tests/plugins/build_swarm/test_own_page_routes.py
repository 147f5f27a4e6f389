"""The terminal over our own API refuses, before any upgrade, whom the documented one refuses."""

from pathlib import Path

import pytest

from appliance.credentials.kinds import Role
from tests.plugins.build_swarm.kit import STRANGER, Swarm, swarm

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OURS = "/api/appliance/swarm/drones/{}/terminal"
DOCUMENTED = "/ws/ssh/{}"


async def refusal(one: Swarm, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Return status and hint of an upgrade that is refused."""
    reply = await one.send("GET", path, headers=UPGRADE | headers)
    return reply.status, reply.json["hint"]


@pytest.mark.parametrize("path", [OURS, DOCUMENTED])
async def test_terminal_is_refused_before_the_upgrade_with_what_to_do(tmp_path: Path, path: str) -> None:
    async with swarm(tmp_path) as one:
        await one.drone("drone-01")
        operator = await one.appliance.bearer("olga", Role.OPERATOR)
        viewer = await one.appliance.bearer("vera", Role.VIEWER)
        approve = (409, "appliance swarm approve drone-01")
        assert await refusal(one, path.format("drone-01"), operator) == approve
        assert (await refusal(one, path.format("drone-02"), operator))[0] == 404
        assert (await refusal(one, path.format("drone-01"), viewer))[0] == 403
        assert (await refusal(one, path.format("drone-01"), STRANGER))[0] == 401
        # A process of the appliance's own user may do much without a credential, and this not.
        assert (await refusal(one, path.format("drone-01"), {}))[0] == 401
        assert (await refusal(one, f"{path.format('drone-01')}?cols=0", operator))[0] == 400
