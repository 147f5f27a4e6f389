from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from appliance import audit
from appliance.audit import Audit
from appliance.credentials.kinds import Caller, Kind, Role
from appliance.database import Database
from appliance.http.audited import WAITING_MAX, RequestAudit
from appliance.http.pipeline import Exchange
from appliance.http.routing import NO_VALUES, Match
from appliance.surface import Head

ANA = Caller(kind=Kind.SESSION, role=Role.ADMIN, subject="person_1", name="ana")


def exchange(number: int) -> Exchange:
    head = Head(
        method="POST",
        path=f"/api/x/{number}",
        raw_query=b"token=hush",
        headers=[(b"cookie", b"appliance_i1=hush")],
        peer=("10.0.0.1", 5),
        local=("10.0.0.2", 80),
        listener="test",
        scheme="http",
    )
    return Exchange(head, Match(None, None, NO_VALUES), f"r{number}", 0.0, caller=ANA, status=200)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Audit]:
    tables = {audit.OWNER: audit.MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=tables) as database:
        yield Audit(database, tmp_path, lambda: 1_795_000_000_000_000)


async def test_requests_are_written_in_order_without_their_secrets_also_those_left_at_a_stop(log: Audit) -> None:
    requests = RequestAudit(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(requests.run)
        for number in range(50):
            requests(exchange(number))
        nursery.cancel_scope.cancel()
    entries = await log.newest(100)
    assert [entry.object for entry in entries] == [f"/api/x/{number}" for number in range(50)]
    assert {(entry.who_name, entry.address) for entry in entries} == {("ana", "10.0.0.1")}
    assert "hush" not in repr(entries)


async def test_request_that_finds_no_room_is_told_in_the_log_and_holds_nobody_up(log: Audit) -> None:
    requests = RequestAudit(log)
    with capture_logs() as logged:
        for number in range(WAITING_MAX + 1):
            requests(exchange(number))
    assert [(line["event"], line["object"]) for line in logged] == [("audit.overflow", f"/api/x/{WAITING_MAX}")]
    assert "hush" not in repr(logged)
