"""Takes samples in: stores them with their verdict, and tells everyone who follows a server.

A sample stamped ahead of our clock is stored as of its arrival, so that an agent whose clock is wrong is still seen and
hides nothing; the answer repeats the time it sent.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, cast

from attrs import define, field, frozen

from appliance.plugin import BadInput, Core, Forbidden, Reading, Stored

from . import store
from .agents import agent_of
from .figures import Figures, Summed, figures
from .models import Agent, Server
from .sample import Batch
from .sent import SentSample
from .servers import Servers

FUTURE_US: Final = 60_000_000
SKEWED_MAX: Final = 64
DISABLED: Final = "Server is disabled."
FAILED: Final = "Ingest processing failed."


@frozen(kw_only=True)
class Taken:
    """What became of a batch."""

    at_unix_us: int
    """Time of the newest."""
    collected_at: str
    """The same as it was sent."""
    cpu_percent: float | None
    figures: Figures
    accepted: int
    """Samples that were new."""


Follower = Callable[[Server, Reading | None, Reading], None]
"""Told of a server's newest sample and the one before it, after the commit; must be quick."""


@define(eq=False)
class Intake:
    """Everything that happens between a decoded batch and its answer."""

    core: Core
    servers: Servers
    follow: Follower = lambda server, before, reading: None
    _skewed: dict[int, OrderedDict[int, int]] = field(factory=dict, init=False)
    """By server: when samples stamped ahead of our clock were stored, by the time they bear."""

    async def take(self, server: Server, batch: Batch, *, ip: str) -> Taken:
        """Store a batch durably, all of it or nothing.

        :raises BadInput: a sample that cannot be stored; ``field`` says which.
        :raises Forbidden: the server was disabled or deleted meanwhile.
        """
        now = self.core.now()
        samples = self._placed(server, batch, now)
        like = cast(list[Summed], samples)  # completed, they have what a sample has
        agent = self._agent(server, batch)
        newest_at = max(sample.taken_at_unix_us for sample in samples)
        made: list[Figures] = []
        # Nothing of this server is on its way, so what was committed last is what is in effect.
        code = server.code if server.in_flight == 0 and len(samples) == 1 else None

        def within(connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
            made.clear()
            count = sum(one.is_new for one in stored)
            if not store.sampled(connection, server.server_id, seen_unix_us=now, at_unix_us=newest_at, count=count):
                raise Forbidden(DISABLED)
            for sample, one in zip(like, stored, strict=True):
                found = figures(sample, one.rates)
                made.append(found)
                is_told = code == found.verdict.code and one.after_unix_us is None
                if one.is_new and not is_told:
                    at, after = sample.taken_at_unix_us, one.after_unix_us
                    store.put_verdict(connection, server.server_id, at, found.verdict.code, after_unix_us=after)
            if agent is not None:
                store.set_agent(connection, server.server_id, agent, ip=ip)

        before = self.core.series.latest(server.series_id)
        server.in_flight += 1
        try:
            readings = await self.core.series.append_all(like, within=within)
        except BadInput as error:
            path = batch.incoming[0].path if len(like) == 1 else "$"
            raise BadInput(FAILED, field=f"{path}.collected_at", hint=error.message) from None
        finally:
            server.in_flight -= 1
        accepted = sum(each.is_new for each in readings)
        self._heard(server, now, newest_at, accepted)
        if agent is not None:
            self._introduced(server, agent, batch.agent_raw, ip)
        place = max(range(len(samples)), key=lambda each: samples[each].taken_at_unix_us)
        newest = readings[place]
        cpu_percent, told = samples[place].cpu_percent, made[place]
        if not newest.is_new:  # what was stored first stays, and is what is answered
            for kept in await self.core.series.raw(server.series_id, newest.at_unix_us, newest.at_unix_us + 1):
                cpu_percent, told = kept.sample.cpu_percent, figures(kept.sample, kept.rates)
        if newest.is_new and self.core.series.latest(server.series_id) is newest:
            server.code = told.verdict.code
            self.follow(server, before, newest)
        return Taken(
            at_unix_us=newest.at_unix_us,
            collected_at=batch.incoming[place].collected_at,
            cpu_percent=cpu_percent,
            figures=told,
            accepted=accepted,
        )

    def _placed(self, server: Server, batch: Batch, now: int) -> list[SentSample]:
        samples = [each.sent for each in batch.incoming]
        if all(sample.taken_at_unix_us <= now + FUTURE_US for sample in samples):
            return samples
        if len(samples) > 1:
            place = next(at for at, sample in enumerate(samples) if sample.taken_at_unix_us > now + FUTURE_US)
            raise BadInput(
                FAILED,
                field=f"{batch.incoming[place].path}.collected_at",
                hint="it lies ahead of this appliance's clock; set the clocks of both machines (NTP)",
            )
        known = self._skewed.setdefault(server.server_id, OrderedDict())
        stamped = samples[0].taken_at_unix_us
        stored_at = known.setdefault(stamped, now)
        if len(known) > SKEWED_MAX:
            known.popitem(last=False)
        samples[0].taken_at_unix_us = stored_at
        return samples

    def _agent(self, server: Server, batch: Batch) -> Agent | None:
        """Return what the agent says, when it says anything new."""
        if not batch.agent_raw or batch.agent_raw == server.agent_raw:
            return None
        return agent_of(batch.agent() or {}, server)

    def _heard(self, server: Server, now: int, at_unix_us: int, accepted: int) -> None:
        server.last_seen_unix_us = now
        server.latest_unix_us = max(server.latest_unix_us or 0, at_unix_us)
        server.snapshot_count += accepted
        self.servers.generation += 1

    def _introduced(self, server: Server, agent: Agent, raw: bytes, ip: str) -> None:
        server.agent_version, server.agent_user, server.agent_info = agent.version, agent.user, agent.info
        server.hostname, server.last_ip, server.agent_raw = agent.hostname, ip, raw
        self.servers.changed(server)
