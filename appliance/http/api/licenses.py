"""The licence keys: published for everybody to verify with, listed for people, rotated by admins."""

from attrs import frozen
from msgspec import Struct

from appliance.clock import to_unix_s
from appliance.credentials.kinds import PERSON, Kind, Role
from appliance.http.api.callers import record
from appliance.http.api.state import CoreState
from appliance.licenses.jwks import MAX_AGE_SECONDS
from appliance.licenses.rotation import KeyState, LicenseKey, in_state
from appliance.people.roles import require_no_scopes
from appliance.surface import Answer, Call, Surface

LISTED_MAX = 1_000

api = Surface("core", prefixes=("/.well-known", "/api/appliance/licenses"), unknown_fields="refuse")


class KeyItem(Struct, frozen=True, kw_only=True):
    """One key and its life so far; what has not come yet is null."""

    kid: str
    """Its RFC 7638 thumbprint."""
    state: str
    """``next``, ``active``, ``retiring`` or ``gone``."""
    published_unix_s: float
    takes_over_unix_s: float | None
    """Of the next key: when it becomes the active one."""
    activated_unix_s: float | None
    retired_unix_s: float | None
    gone_unix_s: float | None


class KeyPage(Struct, frozen=True, kw_only=True):
    """The keys, newest first: at most 1,000."""

    items: list[KeyItem]
    next: int | None = None


@frozen(kw_only=True)
class Rotation:
    """How to change keys."""

    emergency: bool = False
    """Drop every key now, and with them every licence that is out."""


class Rotated(Struct, frozen=True, kw_only=True):
    """What came of it."""

    rotated: bool
    """Whether another key is active now; else the next one takes over once it has been published for 24 h."""
    active_kid: str
    next_kid: str
    takes_over_unix_s: float | None
    """When the next key becomes the active one."""
    revoked_kids: list[str]
    """The keys that were dropped; empty without ``emergency``."""


@api.get("/.well-known/jwks.json", caller=frozenset(Kind), access="public")
async def key_set(call: Call[None]) -> Answer:
    """Answer with the public keys (RFC 7517) that verify this appliance's licences."""
    state: CoreState = call.state
    if not state.licenses.active_kid:
        await state.licenses.keep()
    published = state.licenses.key_set
    headers = (("ETag", published.etag), ("Cache-Control", f"public, max-age={MAX_AGE_SECONDS}"))
    known = call.head.header(b"if-none-match") or ""
    if known.strip() == "*" or published.etag in [one.strip().removeprefix("W/") for one in known.split(",")]:
        return Answer(status=304, headers=headers)
    return Answer(model=published.body, headers=headers, content_type="application/jwk-set+json")


@api.get("/api/appliance/licenses/keys", caller=PERSON, role=Role.VIEWER, answer=KeyPage)
async def keys(call: Call[None]) -> KeyPage:
    """List the licence keys: next, active, retiring and gone."""
    state: CoreState = call.state
    await state.licenses.keep()
    takes_over = state.licenses.takes_over_unix_us
    newest = list(reversed(state.licenses.keys))[:LISTED_MAX]
    return KeyPage(items=[_item(key, takes_over) for key in newest])


@api.post("/api/appliance/licenses/rotate", caller=PERSON, role=Role.ADMIN, body=Rotation, answer=Rotated, audit=False)
async def rotate(call: Call[Rotation]) -> Rotated:
    """Let the next key take over as soon as it may, or drop all keys at once."""
    state: CoreState = call.state
    require_no_scopes(call.caller)
    issuer = state.licenses
    revoked: tuple[str, ...] = ()
    if call.body.emergency:
        revoked = await issuer.revoke_keys()
    rotated = bool(revoked) or await issuer.rotate()
    action = "license.revoke_keys" if revoked else "license.rotate"
    await record(call, action, object=issuer.active_kid, detail={"revoked": list(revoked), "rotated": rotated})
    coming = in_state(issuer.keys, KeyState.NEXT)
    return Rotated(
        rotated=rotated,
        active_kid=issuer.active_kid,
        next_kid=coming.kid if coming is not None else "",
        takes_over_unix_s=_seconds(issuer.takes_over_unix_us),
        revoked_kids=list(revoked),
    )


def _item(key: LicenseKey, takes_over_unix_us: int | None) -> KeyItem:
    return KeyItem(
        kid=key.kid,
        state=key.state.value,
        published_unix_s=to_unix_s(key.published_unix_us),
        takes_over_unix_s=_seconds(takes_over_unix_us) if key.state is KeyState.NEXT else None,
        activated_unix_s=_seconds(key.activated_unix_us),
        retired_unix_s=_seconds(key.retired_unix_us),
        gone_unix_s=_seconds(key.gone_unix_us),
    )


def _seconds(unix_us: int | None) -> float | None:
    return None if unix_us is None else to_unix_s(unix_us)
