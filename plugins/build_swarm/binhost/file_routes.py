"""The files of the binary host: what drones send, and what Portage fetches."""

from collections.abc import AsyncIterator
from typing import Any, Final

from appliance.plugin import PERSON, STREAMED, Answer, Call, File, Kind, Role

from ..state import SwarmState
from ..surfaces import READERS, own
from .digests import sha256_of
from .own_models import BinaryItem, UploadItem, binary_item

PREFIX: Final = "/api/appliance/binhost"
STAGED: Final = f"{PREFIX}/staging/{{path:path}}"
UPLOAD_BYTES: Final = 2**36
"""Beyond any setting."""
PUBLISHED_WITHIN_SECONDS: Final = 5.0
"""So long an answer to an upload waits for the index to name it: what is built next may need it."""
UPLOADERS: Final = PERSON | {Kind.DRONE}
"""Trust in this host's processes and open networks never stand in: what is served is installed as root."""


@own.put(
    STAGED,
    caller=UPLOADERS,
    role=Role.OPERATOR,
    body=STREAMED,
    answer=UploadItem,
    status=201,
    limit_bytes=UPLOAD_BYTES,
)
async def upload(call: Call[AsyncIterator[bytes]]) -> Answer:
    """Stage a binary package, the body as it is: to where it lies below PKGDIR, with its SHA-256 in a header.

    The header is ``X-Content-SHA256`` (hexadecimal) or ``Content-Digest: sha-256=:BASE64:``. The same file again
    answers 200. What another drone has staged at this path stays (409), unless the package is delegated to this one.
    """
    state: SwarmState = call.state
    sha256 = sha256_of(call.head)
    length = call.head.header(b"content-length") or "0"
    stored = await state.binhost.upload(
        call.path["path"],
        call.body,
        sha256=sha256,
        caller=call.caller,
        expected_bytes=int(length) if length.isdecimal() and len(length) < 16 else 0,
    )
    seen = await state.binhost.staging.seen(within_seconds=PUBLISHED_WITHIN_SECONDS)
    item = UploadItem(package=binary_item(stored.binary), is_new=stored.is_new, is_published=seen)
    return Answer(model=item, status=201 if stored.is_new else 200)


@own.get(STAGED, caller=READERS, access="open")
async def staged(call: Call[None]) -> File:
    """Send ``Packages``, ``Packages.gz`` or a package of the staging area; ranges and conditions are honoured."""
    state: SwarmState = call.state
    return state.binhost.staged_file(call.path["path"])


@own.delete(STAGED, caller=PERSON, role=Role.OPERATOR, answer=BinaryItem)
async def unstage(call: Call[None]) -> BinaryItem:
    """Take a package out of the staging area; releases keep theirs."""
    state: SwarmState = call.state
    gone = await state.binhost.staging.remove(call.path["path"])
    await state.binhost.staging.seen(within_seconds=PUBLISHED_WITHIN_SECONDS)
    return binary_item(gone)


@own.get(f"{PREFIX}/releases/{{version}}/{{path:path}}", caller=READERS, access="open")
async def released(call: Call[None]) -> File:
    """Send ``Packages``, ``Packages.gz`` or a package of a release."""
    state: SwarmState = call.state
    return state.binhost.release_file(call.path["version"], call.path["path"])


@own.get(f"{PREFIX}/current/{{path:path}}", caller=READERS, access="open")
async def current(call: Call[Any]) -> File:
    """Send ``Packages``, ``Packages.gz`` or a package of the current release: the address for binrepos.conf."""
    state: SwarmState = call.state
    return state.binhost.current_file(call.path["path"])
