"""What a host offers, as its engines say."""

from typing import Literal

import pytest

from appliance.engines import EngineStatus
from appliance.scheduler.hosts import offers_of

SANDBOX = EngineStatus(name="sandbox", state="ok", message="bubblewrap", own_images_only=True)


def docker(state: Literal["starting", "ok", "absent", "unavailable"]) -> EngineStatus:
    return EngineStatus(name="docker", state=state, message="" if state == "ok" else f"it is {state}")


@pytest.mark.parametrize("state", ["starting", "ok", "unavailable"])
def test_jobs_wait_for_an_engine_that_fetches_images_however_it_is_doing(
    state: Literal["starting", "ok", "unavailable"],
) -> None:
    first, second = offers_of([docker(state), SANDBOX], allow_unsafe=False)
    assert first.blocked == ("" if state == "ok" else f"it is {state}")
    assert (first.only_named, second.only_named) == ("", "the image is none of its own")
    assert second.blocked == ""


def test_engine_without_any_that_fetches_images_takes_every_job() -> None:
    _, alone = offers_of([docker("absent"), SANDBOX], allow_unsafe=False)
    assert (alone.blocked, alone.only_named) == ("", "")
