"""What is answered about payloads: no text in it begins a tag in a page that trusts it."""

import json
from pathlib import Path

from attrs import evolve

from plugins.build_swarm.payloads import wire
from plugins.build_swarm.payloads.deploying import DeployFailed
from plugins.build_swarm.payloads.models import Action, LogEntry, PayloadVersion
from plugins.build_swarm.payloads.rolling import RollResult

TAG = "<img src=x onerror=alert(1)>"
VERSION = PayloadVersion(
    version_id=1,
    payload_type="config",
    version="1.0",
    sha256="0" * 64,
    size_bytes=2,
    file="config-1.0",
    description=TAG,
    notes=TAG,
    created_unix_us=1_000_000,
    created_by=TAG,
)
ENTRY = LogEntry(
    drone_id="id-1",
    drone_name="drone-01",
    payload_type="config",
    version="1.0",
    action=Action.DEPLOY,
    status="failed",
    duration_ms=1.5,
    error=TAG,
    at_unix_us=1_000_000,
    by=TAG,
)


def test_texts_of_versions_and_errors_of_drones_begin_no_tag() -> None:
    answers = [
        wire.version(VERSION, Path("/p")),
        wire.entry(ENTRY),
        wire.not_deployed(DeployFailed(TAG), "drone-01", "config", "1.0"),
        wire.rolled("config", "1.0", [RollResult(drone="drone-01", success=False, message=TAG)]),
    ]
    for answer in answers:
        assert "onerror" in json.dumps(answer)
        assert "<" not in json.dumps(answer)


def test_attempt_without_an_error_has_none() -> None:
    assert wire.entry(evolve(ENTRY, error=""))["error_message"] is None
