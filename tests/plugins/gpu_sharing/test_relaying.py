"""What the relay of this host is told to serve."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugins.gpu_sharing.relaying import Relaying
from plugins.gpu_sharing.settings import SharingSettings
from tests.plugins.gpu_sharing.parts import Parts, default_of, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


async def test_share_that_was_deleted_while_others_were_placed_is_served_no_more(parts: Parts) -> None:
    settings = SharingSettings(relay_ports="20000-29999")
    relaying = Relaying(parts.core, settings, parts.book, lambda worker_id: None)
    share = await parts.share(default_of(await parts.agent()))
    await relaying.place(share)
    assert [report.share_id for report in relaying.relay.reports()] == [share.share_id]
    relaying.withdraw(share.share_id)
    await parts.book.delete_share(share)
    await relaying.place(share)
    assert relaying.relay.reports() == []
