"""One pass over backends that work, fail, hang and lose GPUs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from appliance.backends import DeviceAbsent
from appliance.errors import DeviceUnavailable
from appliance.host import Host
from appliance.local_agent.attribution import Attribution
from appliance.local_agent.host import HostReader
from appliance.local_agent.sampling import RETRY_FIRST_SECONDS, Sampler
from tests.appliance.local_agent.backend_kit import Scripted, gpu


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def sampler(*backends: Scripted, clock: Clock | None = None, deadline_seconds: float = 5.0) -> Iterator[Sampler]:
    """Give a sampler that lets go of everything at the end."""
    options = {} if clock is None else {"monotonic": clock}
    made = Sampler(
        host_id="h",
        backends=backends,
        host=HostReader(Host()),
        attribution=lambda: Attribution(Host()),
        deadline_seconds=deadline_seconds,
        **options,  # type: ignore[arg-type]
    )
    try:
        yield made
    finally:
        for backend in backends:
            backend.go.set()
        made.close(2.0)


async def until(condition: object) -> None:
    """Poll a condition until it holds."""
    with trio.fail_after(30):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 (a thread of the product changes it)
            await trio.sleep(0.01)


async def test_pass_holds_host_and_every_backends_gpus() -> None:
    with sampler(Scripted("one"), Scripted("two", gpus=(gpu("GPU-b", 1),))) as made:
        seen = await made.sample_once()
    assert [each.gpu_id for each in seen.gpus] == ["GPU-a", "GPU-b"]
    assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-a", "GPU-b"]
    assert seen.sample.memory_total_bytes
    assert [(each.name, each.state, each.message) for each in seen.backends] == [
        ("one", "ok", "driver 1"),
        ("two", "ok", "driver 1"),
    ]


def test_pass_without_trio_is_the_same() -> None:
    with sampler(Scripted()) as made:
        seen = made.sample_blocking()
    assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-a"]


async def test_backend_is_called_from_one_thread_of_its_own() -> None:
    backend = Scripted()
    with sampler(backend) as made:
        for _ in range(3):
            await made.sample_once()
    assert backend.calls == ["open", "read", "read", "read", "close"]
    assert len(backend.threads) == 1
    assert threading.get_ident() not in backend.threads


async def test_failing_backend_costs_only_its_own_gpus_and_says_why() -> None:
    broken = Scripted("broken", failure=DeviceUnavailable("the driver is gone", hint="load it"))
    with sampler(broken, Scripted("fine", gpus=(gpu("GPU-b"),))) as made:
        seen = await made.sample_once()
    assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-b"]
    first = seen.backends[0]
    assert (first.state, first.message, first.hint, first.ok, first.present) == (
        "unavailable",
        "the driver is gone",
        "load it",
        False,
        True,
    )
    assert broken.calls[:3] == ["open", "read", "close"]


async def test_unexpected_exception_of_a_backend_is_told_with_its_kind() -> None:
    with sampler(Scripted(failure=ZeroDivisionError("oops"))) as made:
        seen = await made.sample_once()
    assert seen.backends[0].message == "ZeroDivisionError: oops"


class Odd(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize("failure", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Odd("no")], ids=repr)
@pytest.mark.parametrize("where", ["open_failure", "failure", "close_failure"])
async def test_backend_that_would_end_the_process_costs_only_its_own_samples(
    where: str, failure: BaseException
) -> None:
    clock, backend = Clock(), Scripted("one")
    with sampler(backend, Scripted("two", gpus=(gpu("GPU-b"),)), clock=clock) as made:
        setattr(backend, where, failure)
        if where == "close_failure":
            backend.failure = SystemExit("and again")
        for _ in range(2):
            seen = await made.sample_once()
            assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-b"]
            assert [status.state for status in seen.backends] == ["unavailable", "ok"]
            expected = "SystemExit: and again" if where == "close_failure" else f"{type(failure).__name__}: {failure}"
            assert seen.backends[0].message == expected
            clock.seconds += 60
        backend.open_failure = backend.failure = backend.close_failure = None
        seen = await made.sample_once()
        assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-a", "GPU-b"]


async def test_backend_that_failed_is_tried_again_with_back_off() -> None:
    clock, backend = Clock(), Scripted(open_failure=DeviceUnavailable("not yet"))
    with sampler(backend, clock=clock) as made:
        await made.sample_once()
        await made.sample_once()
        assert backend.calls.count("open") == 1
        clock.seconds += RETRY_FIRST_SECONDS + 0.1
        await made.sample_once()
        assert backend.calls.count("open") == 2
        clock.seconds += RETRY_FIRST_SECONDS + 0.1  # it waits twice as long now
        await made.sample_once()
        assert backend.calls.count("open") == 2
        backend.open_failure = None
        clock.seconds += RETRY_FIRST_SECONDS
        seen = await made.sample_once()
    assert seen.backends[0].ok
    assert len(seen.sample.gpus) == 1


async def test_absent_hardware_is_a_fact_not_a_fault() -> None:
    with sampler(Scripted(open_failure=DeviceAbsent("no such GPU"))) as made:
        seen = await made.sample_once()
    status = seen.backends[0]
    assert (status.state, status.present, status.ok, status.hint) == ("absent", False, False, "")


async def test_hung_backend_loses_its_samples_until_it_answers_and_nobody_elses() -> None:
    hung, fine = Scripted("hung"), Scripted("fine", gpus=(gpu("GPU-b"),))
    with sampler(hung, fine, deadline_seconds=0.5) as made:
        await made.sample_once()
        hung.go.clear()
        for _ in range(2):
            seen = await made.sample_once()
            assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-b"]
            assert seen.backends[0].state == "hung"
            assert "has not answered" in seen.backends[0].message
            assert seen.backends[1].ok
        assert hung.calls.count("read") == 2, "a hung backend is not called again"
        assert [each.gpu_id for each in seen.gpus] == ["GPU-a", "GPU-b"], "its GPUs are late, not lost"
        hung.go.set()
        await until(lambda: made.backends[0].ok)
        seen = await made.sample_once()
        assert [each.gpu_id for each in seen.sample.gpus] == ["GPU-a", "GPU-b"]


async def test_hung_backend_delays_the_others_once_and_not_at_every_pass() -> None:
    hung, fine = Scripted("hung"), Scripted("fine", gpus=(gpu("GPU-b"),))
    with sampler(hung, fine, deadline_seconds=600.0) as made:
        hung.go.clear()
        await made.sample_once(at_most_seconds=1.0)
        with trio.fail_after(30):
            for _ in range(5):
                assert [each.gpu_id for each in (await made.sample_once()).sample.gpus] == ["GPU-b"]


async def test_answer_that_came_too_late_for_its_pass_is_in_the_next() -> None:
    slow = Scripted("slow")
    with sampler(slow, deadline_seconds=0.5) as made:
        slow.go.clear()
        assert (await made.sample_once()).sample.gpus == ()
        slow.go.set()
        await until(lambda: made.backends[0].state == "ok")
        slow.go.clear()
        late = await made.sample_once()
        assert [each.gpu_id for each in late.sample.gpus] == ["GPU-a"]


async def test_gpu_that_disappears_is_lost_once_and_returns_once() -> None:
    backend = Scripted(gpus=(gpu("GPU-a", 0), gpu("GPU-b", 1)))
    with sampler(backend) as made:
        assert (await made.sample_once()).events == ()
        backend.gpus = (gpu("GPU-a", 0),)
        gone = await made.sample_once()
        assert [(each.kind, each.gpu_id, each.level) for each in gone.events] == [("gpu.lost", "GPU-b", "critical")]
        assert gone.lost == {"GPU-b"}
        assert (await made.sample_once()).events == ()
        backend.gpus = (gpu("GPU-a", 0), gpu("GPU-b", 1))
        back = await made.sample_once()
        assert [(each.kind, each.gpu_id) for each in back.events] == [("gpu.returned", "GPU-b")]
        assert back.lost == frozenset()


async def test_backend_that_cannot_read_loses_no_gpu() -> None:
    backend = Scripted()
    with sampler(backend) as made:
        await made.sample_once()
        backend.failure = DeviceUnavailable("reloading")
        seen = await made.sample_once()
    assert seen.events == ()
    assert [each.gpu_id for each in seen.gpus] == ["GPU-a"]


async def test_mig_instance_that_is_removed_is_told_but_not_lost() -> None:
    instance = gpu("MIG-1", 0, parent_gpu_id="GPU-a", mig_profile="1g.18gb")
    backend = Scripted(gpus=(gpu(), instance))
    with sampler(backend) as made:
        await made.sample_once()
        backend.gpus = (gpu(),)
        seen = await made.sample_once()
    assert [(each.kind, each.level) for each in seen.events] == [("gpu.removed", "info")]
    assert seen.lost == frozenset()


async def test_closing_does_not_wait_for_a_hung_backend() -> None:
    hung = Scripted()
    made = Sampler(
        host_id="h",
        backends=[hung],
        host=HostReader(Host()),
        attribution=lambda: Attribution(Host()),
        deadline_seconds=0.05,
    )
    hung.go.clear()
    await made.sample_once()
    made.close(0.05)
    assert "close" not in hung.calls
    hung.go.set()
    await until(lambda: "close" in hung.calls)
