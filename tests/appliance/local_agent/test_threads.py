"""A call in a thread of its own."""

import sys
import threading
from collections.abc import Iterator

import pytest
import trio

from appliance.local_agent.threads import OwnThread


class Work:
    """A call that waits to be let through."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.closed = 0
        self.exits_on_close = False

    def __call__(self, argument: int) -> int:
        self.go.wait(10)
        if argument < 0:
            raise ValueError("negative")
        if argument == 0:
            sys.exit("nothing to do")
        return argument * 2

    def close(self) -> None:
        self.closed += 1
        if self.exits_on_close:
            sys.exit()


@pytest.fixture
def work() -> Iterator[Work]:
    """Give a call, and let it through at the end."""
    made = Work()
    yield made
    made.go.set()


async def test_second_call_is_refused_while_the_first_is_under_way(work: Work) -> None:
    thread = OwnThread("t", work, work.close)
    assert thread.begin(1)
    assert not thread.begin(2)
    assert thread.take() is None
    work.go.set()
    with trio.fail_after(30):
        await thread.wait()
    done = thread.take()
    assert done is not None
    assert (done.answer, done.error) == (2, None)
    assert thread.take() is None, "an answer is taken once"
    thread.stop()


async def test_failure_is_handed_over(work: Work) -> None:
    thread = OwnThread("t", work, work.close)
    work.go.set()
    thread.begin(-1)
    thread.wait_blocking(5)
    done = thread.take()
    assert done is not None
    assert isinstance(done.error, ValueError)
    thread.stop()


async def test_exit_in_a_call_is_a_failure_of_that_call_and_the_thread_goes_on(work: Work) -> None:
    thread = OwnThread("t", work, work.close)
    work.go.set()
    thread.begin(0)
    with trio.fail_after(30):
        await thread.wait()
    done = thread.take()
    assert done is not None
    assert isinstance(done.error, SystemExit)
    assert thread.begin(4)
    thread.wait_blocking(5)
    done = thread.take()
    assert done is not None
    assert done.answer == 8
    thread.stop()


async def test_exit_while_closing_keeps_nobody_waiting(work: Work) -> None:
    thread = OwnThread("t", work, work.close)
    work.exits_on_close = True
    work.go.set()
    thread.begin(1)
    thread.stop()
    with trio.fail_after(30):
        await thread.wait()
    assert work.closed == 1
    assert not thread.is_busy


async def test_waiting_can_be_given_up(work: Work) -> None:
    thread = OwnThread("t", work, work.close)
    thread.begin(1)
    with trio.move_on_after(0.05) as scope:
        await thread.wait()
    assert scope.cancelled_caught
    assert thread.is_busy


async def test_stop_during_a_call_closes_after_it_and_never_beside_it(work: Work) -> None:
    thread = OwnThread("t", work, work.close)
    thread.begin(1)
    thread.stop()
    thread.stop()
    assert work.closed == 0
    assert not thread.begin(2), "nothing new starts before the old thread has ended"
    work.go.set()
    with trio.fail_after(30):
        await thread.wait()
    assert work.closed == 1
    assert thread.begin(3)
    thread.wait_blocking(5)
    done = thread.take()
    assert done is not None
    assert done.answer == 6
    thread.stop()
