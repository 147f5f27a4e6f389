"""Settings of payloads reach what they are for."""

from pathlib import Path
from typing import Any, cast

from trio.testing import MockClock

from plugins.build_swarm.payloads import setup
from plugins.build_swarm.payloads.hands import Hands
from plugins.build_swarm.settings import SwarmSettings
from plugins.build_swarm.swarm import Swarm
from tests.plugins.build_swarm.payloads.parts import Box, opened
from tests.plugins.build_swarm.payloads.test_health import Restarted, drone


def built(box: Box, **changes: Any) -> Any:
    settings = SwarmSettings(**changes)
    swarm = Swarm(cast(Any, box), settings)
    return setup.build(cast(Any, box), settings, swarm, cast(Any, box.approvals), box.drones)


async def test_copies_may_take_as_long_as_the_settings_say(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        payloads = built(box, payload_transfer_seconds=7.0, ssh_drone_service="my-drone")
        hands = payloads.deployer.hands(box.fleet.add("a"), "drone_binary")
        version = await box.add("1.0")
        await hands.put(payloads.catalogue.content(version), version.sha256)
        await hands.restart()
        assert box.drones.deadlines == {"put": 7.0}
        assert box.drones.restarted == ["my-drone"]


async def test_drones_have_as_long_to_come_back_as_the_settings_say(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as box:
        payloads = built(box, payload_health_seconds=9.0, ssh_drone_process="[s]warm-drone")
        why = await payloads.health(cast(Hands, Restarted()), drone())
        assert why.startswith("within 9 s")


async def test_content_is_kept_in_the_folder_of_the_plugin_up_to_the_limit(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        payloads = built(box, payload_bytes_max=2**26)
        assert payloads.catalogue.bytes_max == 2**26
        version = await box.add("1.0")
        assert payloads.catalogue.content(version).parent == tmp_path / "payloads"
