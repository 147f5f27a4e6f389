"""What the swarm says of itself: estimates."""

from pathlib import Path

from plugins.build_swarm.states import PackageNeeds
from tests.plugins.build_swarm.queue_kit import opened


async def test_session_with_what_no_drone_can_build_has_no_estimate(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one", "two")
        assert await bench.built("a", duration_s=8.0) == "one"
        assert bench.swarm.status().eta_s == 8.0
        await bench.queue("big", needs=PackageNeeds(cores=64))
        bench.advance(6)
        assert bench.swarm.status().eta_s is None
        await bench.beat("large", capabilities={"cores": 64})
        bench.advance(6)
        assert bench.swarm.status().eta_s == 8.0
