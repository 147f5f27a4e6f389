"""Names of images, and fetching one that the engine does not have."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define, field

from appliance.plugin import EndReason, EngineLost, LaunchFailed

from .client import Client, Refused, message_of

PULL_ANSWER_SECONDS: Final = 300.0
"""A registry may be slow, but an engine tells of progress all the time."""
LINE_BYTES_MAX: Final = 1_048_576
LAYERS_MAX: Final = 1_000
TELL_SECONDS: Final = 1.0
_MIB: Final = 2**20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,999}")


def split(image: str) -> tuple[str, str]:
    """Return the name of an image and its tag, ``latest`` when it says neither tag nor digest.

    :raises LaunchFailed: it is no name of an image.
    """
    if not _NAME.fullmatch(image) or "//" in image:
        raise LaunchFailed(f"{image[:200]!r} is no name of an image", reason=EndReason.IMAGE)
    if "@" in image:
        return image, ""
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:  # the colon of a registry's port
        return image, "latest"
    return name, tag


@define
class Progress:
    """What the stream of a pull has told so far."""

    _layers: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    """Of each layer: bytes fetched, bytes in all."""
    failure: str = field(default="", init=False)
    """The engine's words when it gave up."""
    last: str = field(default="", init=False)
    """The latest word that belongs to no layer."""

    def take(self, line: bytes) -> None:
        """Take one line; what is not understood is left out."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(row, dict):
            return
        detail = row.get("errorDetail")
        error = row.get("error") or (detail.get("message") if isinstance(detail, dict) else None)
        if error:
            self.failure = message_of(json.dumps({"message": str(error)}).encode())
        status, layer = row.get("status"), row.get("id")
        if isinstance(status, str) and not layer:
            self.last = status[:200]
        if isinstance(layer, str) and (layer in self._layers or len(self._layers) < LAYERS_MAX):
            self._layer(layer, status, row.get("progressDetail"))

    def _layer(self, layer: str, status: Any, detail: Any) -> None:
        now, total = self._layers.get(layer, (0, 0))
        if status == "Downloading" and isinstance(detail, dict):
            now, total = (
                value if type(value) is int and 0 <= value < 2**63 else 0
                for value in (detail.get("current"), detail.get("total"))
            )
        elif status in ("Download complete", "Pull complete", "Already exists", "Extracting"):
            now = total
        self._layers[layer] = (now, total)

    @property
    def words(self) -> str:
        """How far it is."""
        now, total = (sum(one[place] for one in self._layers.values()) for place in (0, 1))
        return f"{now // _MIB} of {total // _MIB} MiB" if total else self.last


async def pull(client: Client, image: str, tell: Callable[[str], None]) -> None:
    """Fetch an image, telling how far it is.

    :raises LaunchFailed: the engine could not.
    """
    name, tag = split(image)
    query = {"fromImage": name} | ({"tag": tag} if tag else {})
    tell(f"fetching the image {image}")
    progress, pending, told = Progress(), bytearray(), trio.current_time()
    try:
        async with client.open("POST", "/images/create", query=query, answer_seconds=PULL_ANSWER_SECONDS) as answer:
            while piece := await answer.receive():
                pending += piece
                *lines, rest = bytes(pending).split(b"\n")
                pending = bytearray(rest)
                if len(pending) > LINE_BYTES_MAX:
                    raise EngineLost("the engine's progress is not understood: a line without an end")
                for line in lines:
                    progress.take(line)
                if progress.words and trio.current_time() - told >= TELL_SECONDS:
                    tell(f"fetching the image {image}: {progress.words}")
                    told = trio.current_time()
            progress.take(bytes(pending))
    except Refused as error:
        raise failure(image, error.message) from error
    # Podman has answered 200 long before it knows: only the stream tells.
    if progress.failure:
        raise failure(image, progress.failure)


def failure(image: str, words: str) -> LaunchFailed:
    """Return what is raised when an image cannot be had."""
    full = "no space left on device" in words.lower()
    return LaunchFailed(
        f"the image {image} cannot be fetched: {words}",
        reason=EndReason.DISK_FULL if full else EndReason.IMAGE,
        hint="make room on the engine's disk" if full else "check its name, and that this host may fetch it",
    )
