"""From the bytes an agent posts to samples that can be stored.

This is the hottest path of the product. A body as real agents send it is parsed straight into the classes of `sent`;
only where that fails does `lenient` decide, and what it makes of a body comes back in the same classes, so that both
ways end in the same samples. What an agent says of itself stays bytes here: it is the same in nearly every post.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
from attrs import frozen

from appliance.plugin import BadInput, HostSample, SampleLike, model_of

from .agent_object import kept, read_agent
from .decode import FAILED, read_values
from .lenient import read_leniently, require_count
from .sent import MANY, ONE, SentBody, SentDisk, SentFan, SentGpu, SentSample
from .times import read_time, time_text

MAX_DEVICES: Final = 256
"""Of one kind in one sample; what series take."""
DEVICE_CHARACTERS: Final = 64
LABEL_CHARACTERS: Final = 64
MODEL_CHARACTERS: Final = 200
UUID_CHARACTERS: Final = 128
BY_INDEX: Final = "index:"
"""Begins the ``gpu_id`` of a GPU that is known by its index alone; the index follows."""

MAX_PARTS: Final = 100_000
"""Objects and arrays in one body. An honest one has 60 bytes and more to each; a hostile one would cost memory."""
_SMALL_BYTES: Final = 65_536
_BLANKS: Final = b" \t\r\n"


@frozen
class Incoming:
    """One sample as it came."""

    sent: SentSample
    """As it is stored: it has what a `HostSample` has."""
    collected_at: str
    """Its time in ISO 8601 with the sender's offset; ours where the sender gave none that can be read."""
    path: str
    """Where in the payload it stood, such as ``$.sample``."""

    @property
    def sample(self) -> HostSample:
        """The model of it."""
        return model_of(cast(SampleLike, self.sent))


@frozen
class Batch:
    """What one post brought; at least one sample."""

    incoming: tuple[Incoming, ...]
    is_array: bool
    agent_raw: bytes
    """What the agent says of itself, as JSON; empty where it says nothing. The same bytes mean the same."""

    def agent(self) -> dict[str, Any] | None:
        """Return what is kept of what the agent says.

        :raises BadInput: it is nested too deep.
        """
        return read_agent(self.agent_raw) if self.agent_raw else None


def read_batch(data: bytes, *, series_id: str, now_unix_us: int) -> Batch:
    """Read a body: ``{"sample": {...}, "agent": {...}}``, a bare sample, or an array of either.

    An empty body is a sample that reports nothing. One bad sample refuses an array.

    :param series_id: under which host the samples are stored.
    :param now_unix_us: the time of a sample that bears none.
    :raises BadInput: ``field`` names what is wrong, its hint what was found and what was expected.
    """
    return batch_of(_read(data or b"{}"), series_id=series_id, now_unix_us=now_unix_us)


def batch_of(sent: SentBody | list[SentBody], *, series_id: str, now_unix_us: int) -> Batch:
    """Return payloads as samples; see `read_batch`, of which this is the second half."""
    if isinstance(sent, SentBody):
        return Batch((_incoming(sent, "$", series_id, now_unix_us),), False, _agent_raw(sent))
    incoming = tuple([_incoming(each, f"$[{place}]", series_id, now_unix_us) for place, each in enumerate(sent)])
    said = [each for each in map(_agent_raw, sent) if each]
    return Batch(incoming, True, said[-1] if said else b"")


def _read(data: bytes) -> SentBody | list[SentBody]:
    if len(data) > _SMALL_BYTES and data.count(b"{") + data.count(b"[") > MAX_PARTS:
        raise BadInput(FAILED, field="$", hint=f"found more than {MAX_PARTS} objects and arrays in one body")
    try:
        if not data.isascii():
            data.decode()  # the parser passes over what it does not need, and would take it in any encoding
        if data.startswith(b"{"):
            return ONE.decode(data)
        if data.lstrip(_BLANKS).startswith(b"["):
            bodies = MANY.decode(data)
            require_count(len(bodies))
            return bodies
        return ONE.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return read_leniently(data)


def _agent_raw(body: SentBody) -> bytes:
    raw = bytes(body.agent)
    if not raw.startswith(b"{"):
        return b""
    if len(raw) > _SMALL_BYTES:  # to be remembered, and repeated, it is too much
        return msgspec.json.encode(kept(read_values(raw, path="$.agent")))
    return raw


def _incoming(body: SentBody, path: str, series_id: str, now_unix_us: int) -> Incoming:
    sent: SentSample = body
    if body.sample is not None:
        sent, path = body.sample, path + ".sample"
    time = read_time(sent.collected_at, field=f"{path}.collected_at")
    at, text = time or (now_unix_us, time_text(now_unix_us))
    return Incoming(_completed(sent, path, series_id, at), text, path)


def _completed(sent: SentSample, path: str, series_id: str, at_unix_us: int) -> SentSample:
    """Make of what was sent what can be stored: names as they are kept, each device but once."""
    sent.host_id = series_id
    sent.taken_at_unix_us = at_unix_us
    if sent.cpu_count_physical == 0:  # no host has none: agents say 0 for "unknown"
        sent.cpu_count_physical = None
    sent.disks = _disks(sent.disks, path) if sent.disks else []
    sent.fans = _fans(sent.fans, path) if sent.fans else []
    sent.gpus = _gpus(sent.gpus, path) if sent.gpus else []
    return sent


def _disks(sent: Sequence[SentDisk | None], path: str) -> list[SentDisk | None]:
    made: dict[str, SentDisk | None] = {}
    for place, disk in enumerate(sent):
        device = _name(disk.device, DEVICE_CHARACTERS) if disk is not None else ""
        if disk is None or not device:
            continue
        if device in made:
            raise _twice(f"{path}.disks[{place}].device", device)
        disk.device = device
        made[device] = disk
    return _few(list(made.values()), f"{path}.disks")


def _fans(sent: Sequence[SentFan | None], path: str) -> list[SentFan | None]:
    made: dict[str, SentFan | None] = {}
    for place, fan in enumerate(sent):
        if fan is None:
            continue
        label = _name(fan.label, LABEL_CHARACTERS) or "Fan"
        if label in made:
            raise _twice(f"{path}.fans[{place}].label", label)
        fan.label = label
        made[label] = fan
    return _few(list(made.values()), f"{path}.fans")


def _gpus(sent: Sequence[SentGpu | None], path: str) -> list[SentGpu | None]:
    made: dict[int, SentGpu | None] = {}
    known: set[str] = set()
    for place, gpu in enumerate(sent):
        if gpu is None:
            continue
        index = gpu.gpu_index
        if index in made:
            raise _twice(f"{path}.gpus[{place}].gpu_index", index)
        uuid = _name(gpu.gpu_id, UUID_CHARACTERS) if gpu.gpu_id else ""
        if not uuid or uuid in known or uuid.startswith(BY_INDEX):
            uuid = f"{BY_INDEX}{index}"
        known.add(uuid)
        gpu.gpu_id = uuid
        gpu.model = (_name(gpu.model, MODEL_CHARACTERS) if gpu.model else "") or "GPU"
        made[index] = gpu
    return _few(list(made.values()), f"{path}.gpus")


def _few(made: list[Any], path: str) -> list[Any]:
    if len(made) > MAX_DEVICES:
        raise BadInput(FAILED, field=path, hint=f"found {len(made)} of them, expected at most {MAX_DEVICES}")
    return made


def _twice(path: str, found: str | int) -> BadInput:
    return BadInput(FAILED, field=path, hint=f"found {found!a} for the second time, expected each but once")


@lru_cache(maxsize=4096)
def _name(text: str, limit: int) -> str:
    """Return a name without what cannot be shown, which counts as a blank at the ends and is marked within."""
    if not text.isprintable():
        text = "".join(
            [each if each.isprintable() else " " if each.isspace() else "\N{REPLACEMENT CHARACTER}" for each in text]
        )
    return text.strip()[:limit]
