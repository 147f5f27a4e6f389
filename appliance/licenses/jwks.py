"""Public keys as others read them: a JWK Set (RFC 7517) of Ed25519 keys (RFC 8037), named by thumbprint (RFC 7638)."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from appliance.errors import BadInput

PUBLIC_KEY_BYTES: Final = 32
MAX_AGE_SECONDS: Final = 300
"""How long others may keep the set: so long a revoked key may still be taken by who does not ask again."""
READ_MAX_BYTES: Final = 262_144
READ_MAX_KEYS: Final = 100
KID_MAX_CHARACTERS: Final = 64


@frozen
class KeySet:
    """The document and its entity tag."""

    body: bytes
    etag: str


def encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Return the bytes of base64url in its one canonical spelling, ``None`` for any other text."""
    # The decoder skips what it does not know and ignores spare bits: only writing it again shows that it was canonical.
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if encode(data) == text else None


def thumbprint(public: bytes) -> str:
    """Return the key id: the SHA-256 thumbprint of RFC 7638, with the members of RFC 8037, A.3."""
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{encode(public)}"}}'
    return encode(hashlib.sha256(members.encode("ascii")).digest())


def key_set(publics: Iterable[bytes]) -> KeySet:
    """Return the set of these keys, in their order."""
    keys = [
        {"kty": "OKP", "crv": "Ed25519", "x": encode(one), "kid": thumbprint(one), "use": "sig", "alg": "EdDSA"}
        for one in publics
    ]
    body = json.dumps({"keys": keys}, separators=(",", ":")).encode("ascii")
    return KeySet(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def read_key_set(body: bytes) -> dict[str, bytes]:
    """Return the Ed25519 keys of a set by key id; keys of other kinds or for other uses are passed over.

    :raises BadInput: it is no set of keys, it is too large, or two keys have one id.
    """
    if len(body) > READ_MAX_BYTES:
        raise BadInput(f"a set of keys has at most {READ_MAX_BYTES} bytes, and this one has more")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput("the set of keys is not JSON", hint="a file as at /.well-known/jwks.json") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > READ_MAX_KEYS:
        raise BadInput(f"a set of keys is an object with a list of at most {READ_MAX_KEYS} named keys", field="$.keys")
    found: dict[str, bytes] = {}
    for number, one in enumerate(listed):
        if not isinstance(one, dict):
            raise BadInput("a key is an object", field=f"$.keys[{number}]")
        if not _is_for_us(one):
            continue
        kid, public = _one(one, f"$.keys[{number}]")
        if kid in found:
            raise BadInput("two keys of the set have the same id", field=f"$.keys[{number}].kid")
        found[kid] = public
    return found


def _is_for_us(key: Mapping[str, Any]) -> bool:
    return (
        key.get("kty") == "OKP"
        and key.get("crv") == "Ed25519"
        and key.get("use", "sig") == "sig"
        and key.get("alg", "EdDSA") in ("EdDSA", "Ed25519")
    )


def _one(key: Mapping[str, Any], place: str) -> tuple[str, bytes]:
    kid, x = key.get("kid"), key.get("x")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_MAX_CHARACTERS:
        raise BadInput(f"a key needs an id of at most {KID_MAX_CHARACTERS} characters", field=f"{place}.kid")
    public = decode(x) if isinstance(x, str) and len(x) <= KID_MAX_CHARACTERS else None
    if public is None or len(public) != PUBLIC_KEY_BYTES:
        raise BadInput(f"an Ed25519 key has {PUBLIC_KEY_BYTES} bytes in base64url", field=f"{place}.x")
    return kid, public
