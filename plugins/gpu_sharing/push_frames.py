"""What agents hear on their streams: topics, frames, and which frame may be sent when. No sockets, no clock.

The shape is that of the vendor's broker as agents read it. Every generation of agents asks with ``x-sse-topic``:
the current one opens two streams, for ``AGENT`` and for ``AGENT_vgpu_restart``; an earlier one asked for both, with a
comma between, on one stream and told restarts by the ``event:`` line; the first knew its own id alone.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Final

from attrs import define, field, frozen

from .push_head import PushRefused

RESTART_SUFFIX: Final = "_vgpu_restart"
TOPIC_CHARACTERS_MAX: Final = 512
COMMENT: Final = b":\n\n"
"""Agents skip it. It shows both sides, and what is between them, that the stream lives."""

FRAME_GAP_SECONDS: Final = 0.6
"""Between two frames that tell of a changed config.

An agent fetches its config 0.5 s after a frame and starts waiting anew with each further one, so that changes which
follow each other faster would keep it from fetching at all. That fetch has most of what changes within the gap.
"""
RESTARTS_MAX: Final = 1024
"""Workers whose restart waits to be sent; more than one agent's host can run."""

_AGENT: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@frozen
class Topics:
    """What one stream is about."""

    agent_id: str
    config: bool
    """Whether changes of its config are wanted."""
    restarts: bool
    """Whether restarts of its workers are wanted."""


def read_topics(text: str) -> Topics:
    """Read an ``x-sse-topic`` header: the topics of one agent.

    :raises PushRefused: 400 for anything else.
    """
    if len(text) > TOPIC_CHARACTERS_MAX:
        raise PushRefused(400, "the x-sse-topic header is too long")
    names = [name.strip(" \t") for name in text.split(",")]
    agents = {name.removesuffix(RESTART_SUFFIX) for name in names}
    agent_id = agents.pop()
    if agents or not _AGENT.fullmatch(agent_id):
        raise PushRefused(400, "the x-sse-topic header must name the topics of one agent")
    restart = agent_id + RESTART_SUFFIX
    return Topics(agent_id, config=agent_id in names, restarts=restart in names)


def config_frame(version: int) -> bytes:
    """Return the frame that makes an agent fetch its config; it acts on any data, the version is for people."""
    return b"data: " + json.dumps({"config_version": version}).encode() + b"\n\n"


def restart_frame(agent_id: str, worker_ids: Iterable[str]) -> bytes:
    """Return the frame that makes an agent restart workers."""
    lines = [f"event: {agent_id}{RESTART_SUFFIX}", *(f"data: {one}" for one in worker_ids), "", ""]
    return "\n".join(lines).encode()


@define(eq=False)
class Outbox:
    """What is to be sent on one stream; bounded, however slow its reader is."""

    topics: Topics
    _version: int | None = field(default=None, init=False)
    _restarts: dict[str, None] = field(factory=dict, init=False)
    _next_config_s: float = field(default=-math.inf, init=False)

    def changed(self, version: int) -> None:
        """Note a changed config; of several that wait, the last is sent."""
        self._version = version

    def restart(self, worker_ids: Iterable[str]) -> None:
        """Note workers to restart, each once; the longest waiting are forgotten above `RESTARTS_MAX`.

        :raises ValueError: an id would break the frame.
        """
        for worker_id in worker_ids:
            if not _AGENT.fullmatch(worker_id):
                raise ValueError(f"no worker's id: {worker_id[:64]!r}")
            self._restarts[worker_id] = None
        while len(self._restarts) > RESTARTS_MAX:
            del self._restarts[next(iter(self._restarts))]

    def due_seconds(self, now_s: float) -> float:
        """Return in how many seconds `take` has something; 0 for now, infinity when nothing waits."""
        if self._restarts:
            return 0.0
        if self._version is None:
            return math.inf
        return max(0.0, self._next_config_s - now_s)

    def take(self, now_s: float) -> bytes:
        """Return what may be sent now, ``b""`` for nothing.

        :param now_s: of any clock that only rises.
        """
        frames = b""
        if self._version is not None and now_s >= self._next_config_s:
            frames, self._version = config_frame(self._version), None
            self._next_config_s = now_s + FRAME_GAP_SECONDS
        if self._restarts:
            frames += restart_frame(self.topics.agent_id, self._restarts)
            self._restarts.clear()
        return frames
