"""Our own endpoints: the images of sandboxed tasks."""

from collections.abc import AsyncIterator
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import max_len
from msgspec import Struct

from appliance.plugin import PERSON, STREAMED, Call, Role, Surface, to_unix_s

from .images import HOST, Image, Images

PREFIX: Final = "/api/appliance/sandbox/images"
UPLOAD_BYTES_MAX: Final = 2**40
"""More than any `image_bytes_max` needs, which is what counts."""

api = Surface("engine_sandbox", prefixes=(PREFIX,), unknown_fields="refuse")


class ImageItem(Struct, frozen=True, kw_only=True):
    """One image."""

    name: str
    files: int
    size_bytes: int
    imported_at_unix_s: float | None
    """``null`` for the host's own system."""
    command: str


class ImagePage(Struct, frozen=True, kw_only=True):
    """All images."""

    items: tuple[ImageItem, ...]
    next: None = None


@frozen(kw_only=True)
class ImageQuery:
    """What else is said of an image at its import."""

    command: str = field(default="", validator=max_len(4096))
    """Run for tasks that have no command of their own."""


@api.get(PREFIX, caller=PERSON, answer=ImagePage)
async def images(call: Call[None]) -> ImagePage:
    """List the images that sandboxed tasks can run in."""
    known: Images = call.state
    return ImagePage(items=(_item(Image(name=HOST)), *(_item(image) for image in known.all())))


@api.put(
    f"{PREFIX}/{{name}}",
    caller=PERSON,
    role=Role.ADMIN,
    body=STREAMED,
    query=ImageQuery,
    answer=ImageItem,
    status=201,
    limit_bytes=UPLOAD_BYTES_MAX,
)
async def add(call: Call[AsyncIterator[bytes]]) -> ImageItem:
    """Import the tar archive of a root file system, compressed or not."""
    known: Images = call.state
    return _item(await known.receive(call.path["name"], call.body, command=call.query.command))


@api.delete(f"{PREFIX}/{{name}}", caller=PERSON, role=Role.ADMIN)
async def remove(call: Call[None]) -> dict[str, Any]:
    """Remove an image."""
    await call.state.remove(call.path["name"])
    return {"deleted": call.path["name"]}


def _item(image: Image) -> ImageItem:
    return ImageItem(
        name=image.name,
        files=image.files,
        size_bytes=image.size_bytes,
        imported_at_unix_s=to_unix_s(image.imported_at_unix_us) if image.imported_at_unix_us else None,
        command=image.command,
    )
