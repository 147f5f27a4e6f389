"""What memory keeps of packages."""

from pathlib import Path

from tests.plugins.build_swarm.queue_kit import opened


async def test_session_that_never_ends_keeps_its_counts_and_lets_its_oldest_packages_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one", "two", "three", "last")
        for name in ("one", "two", "three"):
            assert await bench.built("a") == name
        bench.swarm.desk.book.let_go(1)
        assert [package.key for package in bench.swarm.packages()] == ["app-test/last", "app-test/three"]
        figures, session = bench.swarm.status(), bench.swarm.active_session()
        assert session is not None
        assert (figures.received, session.completed, session.total) == (3, 3, 4)
        assert not (await bench.report("a", "one")).accepted
        assert (await bench.queue("one")).packages
        assert (await bench.swarm.control("reset")).affected == 2
        for _ in range(2):
            assert await bench.built("a") in {"one", "last"}
        assert bench.swarm.active_session() is None
        assert (session.completed, session.total) == (5, 5)
