"""Calls that may block for ever, each kind in one thread of its own, so that only their own answer is late."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

import trio
from attrs import frozen

AnswerT = TypeVar("AnswerT")


@frozen
class Done(Generic[AnswerT]):
    """How one call ended."""

    answer: AnswerT | None
    error: BaseException | None


class OwnThread(Generic[AnswerT]):
    """Runs ``work`` in one daemon thread, never two calls at a time; whoever waits may stop waiting.

    A daemon, because a thread stuck in a driver must not keep the process from ending.
    """

    def __init__(self, name: str, work: Callable[[int], AnswerT], close: Callable[[], None]) -> None:
        self.name = name
        self._work, self._close = work, close
        self._calls: SimpleQueue[int | None] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._is_stopping = False
        self._done: Done[AnswerT] | None = None
        self._wake: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a call is still under way, or the thread is still to end."""
        return self._is_stopping or not self._idle.is_set()

    def begin(self, argument: int) -> bool:
        """Start a call; return ``False`` and do nothing while the one before is still under way.

        After `stop`, once that is done, the next call gets a new thread.
        """
        if self.is_busy:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name=f"appliance-{self.name}", daemon=True)
            self._thread.start()
        self._idle.clear()
        self._calls.put(argument)
        return True

    def take(self) -> Done[AnswerT] | None:
        """Return how the last call ended, once; ``None`` while it is under way or when it has been taken."""
        if self.is_busy:
            return None
        done, self._done = self._done, None
        return done

    def wait_blocking(self, seconds: float) -> None:
        """Wait until the call is over, at most ``seconds``."""
        self._idle.wait(seconds)

    async def wait(self) -> None:
        """Wait until the call is over; to be bounded by the caller's own deadline."""
        token, over = trio.lowlevel.current_trio_token(), trio.Event()

        def wake() -> None:
            try:
                token.run_sync_soon(over.set)
            except trio.RunFinishedError:
                return

        with self._lock:
            if not self.is_busy:
                return
            self._wake = wake
        await over.wait()

    def stop(self) -> None:
        """Let the thread close what it holds and end, as soon as the call under way allows."""
        if self._thread is not None and not self._is_stopping:
            self._is_stopping = True
            self._idle.clear()
            self._calls.put(None)

    def _loop(self) -> None:
        while True:
            argument = self._calls.get()
            if argument is None:
                break
            try:
                self._done = Done(self._work(argument), None)
            # The edge of a backend: its failure is its own. `sys.exit` too, which would end this thread without a word
            # and leave the call under way for ever; cancellations and Ctrl-C do not come here, they are the main
            # thread's.
            except BaseException as error:
                self._done = Done(None, error)
            if not self._is_stopping:
                self._rest()
        try:
            self._close()
        except BaseException as error:  # close must not raise; one that does has nobody left to tell but this
            self._done = Done(None, error)
        self._thread, self._is_stopping = None, False
        self._rest()

    def _rest(self) -> None:
        with self._lock:
            self._idle.set()
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()
