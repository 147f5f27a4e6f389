"""Reports that repeat the one before: known as such only where reading them would change nothing."""

import json
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.errors import BadInput
from appliance.http.body import BodyReader
from appliance.testing import SteppingClock
from plugins.gpu_sharing.intake import Intake
from plugins.gpu_sharing.models import Agent, Gpu, Peer
from plugins.gpu_sharing.repeats import TEXT_BYTES_MAX, Repeated, Repeats
from plugins.gpu_sharing.wire.reports import AgentStatusReportRequest
from tests.plugins.gpu_sharing.fleet_agent import agent, encoded, report, written

READER = BodyReader.of(AgentStatusReportRequest, refuse_unknown=False, whole_floats=True)


class Taker:
    """An agent whose reports are taken over, and an intake that does it."""

    def __init__(self) -> None:
        self.now = SteppingClock()
        parts = SimpleNamespace(now=self.now, clock=self.now)
        self.intake = Intake(cast(Any, parts), cast(Any, parts), lambda agent: None)
        self.repeats = Repeats()
        self.agent = agent()

    def take(self, data: bytes) -> None:
        """Take a report in as one that was read."""
        report = READER.read_strictly(data)
        self.intake._take_over(self.agent, report)
        self.repeats.taken(self.agent, report, data)

    def repeated(self, data: bytes) -> Repeated | None:
        return self.repeats.read(self.agent, data)

    def judged(self, data: bytes) -> bool:
        """Return whether a report is taken for one that repeats; it must then be one, and else it is taken in."""
        found = self.repeated(data)
        try:
            strict: AgentStatusReportRequest = READER.read_strictly(data)
        except BadInput:
            assert found is None, data
            return False
        before = state(self.agent)
        changed, is_other = self.intake._take_over(self.agent, strict)
        self.repeats.taken(self.agent, strict, data)
        if found is None:
            return False
        assert (changed, is_other, state(self.agent)) == ([], False, before), data
        assert (found.timestamp, found.metrics) == (strict.timestamp, strict.metrics)
        assert found.license_expiration == strict.license_expiration
        listed = {each.worker_id for each in strict.workers or ()}
        assert {worker.worker_id for worker in found.workers} == listed & self.agent.workers.keys()
        return True


def state(of: Agent) -> Any:
    workers = [
        (worker.worker_id, worker.status, worker.pid, worker.restarts, worker.started_unix_us, dict(worker.connections))
        for worker in of.workers.values()
    ]
    return of.gpus, of.has_shut_down, workers


@pytest.fixture
def taker() -> Taker:
    one = Taker()
    one.take(encoded(report(0)))
    return one


def test_report_that_differs_in_its_times_and_figures_alone_repeats_the_one_before(taker: Taker) -> None:
    body = report(30, license_expiration=5, metrics="cpu x=1 5")
    found = taker.repeated(encoded(body))
    assert found == Repeated(written(30), 5, "cpu x=1 5", tuple(taker.agent.workers.values()))


def test_first_report_repeats_nothing() -> None:
    assert Taker().repeated(encoded(report(0))) is None


def test_spaces_behind_colons_are_no_reason_to_read_a_report_again(taker: Taker) -> None:
    taker.take(json.dumps(report(0)).encode())
    assert taker.repeated(json.dumps(report(30)).encode()) is not None


def _disable(one: Agent) -> None:
    one.workers["worker_1"].enabled = False


def _stop(one: Agent) -> None:
    worker = one.workers["worker_1"]
    worker.status, worker.pid, worker.connections = "stopped", None, {}


def _forget_connections(one: Agent) -> None:
    one.workers["worker_1"].connections = {Peer(client_ip="192.0.2.1"): 1}


def _restart(one: Agent) -> None:
    one.workers["worker_1"].restarts += 1


def _delete(one: Agent) -> None:
    del one.workers["worker_1"]


def _exchange_gpu(one: Agent) -> None:
    first, second = one.gpus
    one.gpus = (Gpu(gpu_id=first.gpu_id, gpu_index=7, vendor="nvidia", model="H100", vram_mb=1), second)


def _shut_down(one: Agent) -> None:
    one.has_shut_down = True


@pytest.mark.parametrize(
    "change",
    [_disable, _stop, _forget_connections, _restart, _delete, _exchange_gpu, _shut_down],
    ids=lambda f: f.__name__,
)
def test_report_is_read_again_when_something_else_has_changed_what_the_one_before_left(
    taker: Taker, change: Callable[[Agent], None]
) -> None:
    change(taker.agent)
    assert taker.repeated(encoded(report(30))) is None


def test_worker_that_is_not_the_agents_stays_so_in_a_report_that_repeats(taker: Taker) -> None:
    workers = [{"worker_id": "worker_of_another", "status": "running"}]
    taker.take(encoded(report(0, workers=workers)))
    found = taker.repeated(encoded(report(30, workers=workers)))
    assert found is not None
    assert found.workers == ()
    taker.agent.workers["worker_of_another"] = taker.agent.workers["worker_0"]
    assert taker.repeated(encoded(report(60, workers=workers))) is None


@pytest.mark.parametrize(
    "body",
    [
        report(30, event="shutdown"),
        report(30, event=""),
        report(30, workers=[]),
        report(30, gpus=[]),
        report(30, gpus=None),
        report(30, timestamp="yesterday"),
        report(30, timestamp=5),
        report(30, license_expiration=2**63),
        report(30, license_expiration="5"),
        report(30, metrics=5),
        [],
        None,
        {},
    ],
    ids=lambda body: json.dumps(body)[-60:],
)
def test_report_that_says_anything_else_is_read(taker: Taker, body: Any) -> None:
    assert taker.repeated(encoded(body)) is None


@pytest.mark.parametrize("time", ["yesterday", "2026-02-30T00:00:00Z", "2026-11-21T02:00:00", "", "9" * 65])
def test_connection_whose_time_is_none_makes_a_report_be_read_and_refused(taker: Taker, time: str) -> None:
    body = report(30)
    body["workers"][2]["connections"][1]["connected_at"] = time
    assert taker.repeated(encoded(body)) is None
    with pytest.raises(BadInput):
        READER.read(encoded(body))


@pytest.mark.parametrize(
    "data",
    [
        encoded(report(30))[:-1],
        encoded(report(30)) + b"x",
        b"",
        b"\xef\xbb\xbf" + encoded(report(30)),
        encoded(report(30)).replace(b"192.0.2.7", b"192.0.2.\xff"),
        encoded(report(30)) + b" " * TEXT_BYTES_MAX,
        b"[" * 100_000,
    ],
    ids=["cut", "more", "empty", "marked", "not utf-8", "long", "deep"],
)
def test_text_that_is_not_plain_is_left_to_the_strict_reader(taker: Taker, data: bytes) -> None:
    assert taker.repeated(data) is None


def test_times_that_are_no_connections_are_part_of_what_is_compared(taker: Taker) -> None:
    # Within a text a quote is escaped, so nothing that a client chooses can pass for a field.
    hidden = '"connected_at":"2026-11-21T02:00:00Z"'
    workers = [{"worker_id": "worker_0", "status": "running", "connections": None, "note": hidden}]
    taker.take(encoded(report(0, workers=workers)))
    workers[0]["note"] = hidden.replace("02:00", "03:00")
    assert taker.repeated(encoded(report(30, workers=workers))) is None


def test_report_that_lists_a_worker_twice_is_read_each_time(taker: Taker) -> None:
    twice = [{"worker_id": "worker_0", "status": status, "pid": 7} for status in ("running", "stopped")]
    taker.take(encoded(report(0, workers=twice)))
    assert taker.repeated(encoded(report(30, workers=twice))) is None


def test_report_whose_text_is_not_at_hand_is_not_known_again(taker: Taker) -> None:
    taker.repeats.taken(taker.agent, READER.read(encoded(report(0))), b"")
    assert taker.repeated(encoded(report(30))) is None


def test_nothing_is_kept_of_an_agent_that_is_gone(taker: Taker) -> None:
    assert len(taker.repeats._known) == 1
    taker.agent = agent()
    assert len(taker.repeats._known) == 0


PIECES = [b'"', b",", b"null", b"5", b"5.0", b"}", b"]", b"running", b"stopped", b"\\", b"\\u0041", b"Z", b"\0", b"\n"]


def _mutated(random: Random, body: dict[str, Any]) -> bytes:
    kind = random.randrange(10)
    worker = random.choice(body["workers"])
    if kind == 0:
        worker["status"] = random.choice(["running", "stopping", "stopped", "pending", "odd"])
    elif kind == 1:
        worker["pid"] = random.choice([None, 0, 4000, 5.0, -1, True])
    elif kind == 2:
        worker["connections"] = random.choice([None, [], worker["connections"][:1]])
    elif kind == 3:
        worker["connection_changed"] = random.choice([None, True, False])
    elif kind == 4:
        body["workers"].append(dict(worker, status=random.choice(["running", "stopped"])))
    elif kind == 5:
        random.choice(body["gpus"])["model"] = random.choice(["H200", "H100", "", "\t"])
    data = encoded(body)
    if kind == 6:
        at = random.randrange(len(data))
        data = data[:at] + random.choice(PIECES) + data[at + random.randrange(3) :]
    elif kind == 7:
        data = data[:-1] + b',"workers":' + encoded(random.choice([None, [], body["workers"][:2]])) + b"}"
    return data


@pytest.mark.parametrize("seed", range(8))
def test_report_that_is_taken_for_a_repetition_would_change_nothing_if_it_were_read(seed: int) -> None:
    random, taker = Random(seed), Taker()
    outside = [_disable, _stop, _forget_connections, _restart, _exchange_gpu]
    repeated = 0
    for number in range(120):
        taker.now.advance(30)
        data = _mutated(random, report(number * 30)) if random.random() < 0.5 else encoded(report(number * 30))
        for _ in range(random.choice([1, 1, 2])):
            repeated += taker.judged(data)
        if random.random() < 0.1:
            random.choice(outside)(taker.agent)
    assert repeated > 20
