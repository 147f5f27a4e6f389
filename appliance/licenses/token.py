"""Signs licences and judges them: pure functions over text, keys and a time.

``encrypted`` is a detached JWS (RFC 7515, appendix F) over ``plain``: header, two dots, Ed25519 signature (RFC 8037).
Any JOSE library verifies it once base64url of ``plain`` stands between the dots. The name is that of the GPU sharing
API; nothing in it is secret.

The header has one spelling for a key and an algorithm, ``{"alg":A,"kid":K,"typ":"ggo-lic+v1"}``, and nothing else is
taken: no further member (``jwk``, ``x5c``, ``crit``, ``b64``), no other order, no member twice. ``A`` is ``EdDSA``, or
``Ed25519`` as RFC 9864 renames it. The key is found by ``kid`` in the keys that the verifier already has, never in the
licence; whatever the header says, it is used for Ed25519 alone.

Importing this module loads the cryptography library (60 ms), so only whoever signs or verifies does.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.licenses.claims import LIFETIME_MS, SKEW_MS, Claims, LicenseRefused, read_plain, shown, write_plain
from appliance.licenses.jwks import decode, encode

TYPE: Final = "ggo-lic+v1"
ENCRYPTED_MAX_CHARACTERS: Final = 400
SIGNATURE_BYTES: Final = 64

_HEADER = re.compile(rf'\{{"alg":"(?:EdDSA|Ed25519)","kid":"([A-Za-z0-9_-]{{1,64}})","typ":"{re.escape(TYPE)}"\}}')


@frozen(kw_only=True)
class Verified:
    """A licence that holds."""

    claims: Claims
    kid: str
    """The key that signed it."""


def sign(claims: Claims, kid: str, key: Ed25519PrivateKey) -> tuple[str, str]:
    """Return ``plain`` and ``encrypted``.

    :raises BadInput: a claim does not fit its field.
    """
    plain = write_plain(claims)
    header = _header(kid)
    signature = key.sign(f"{header}.{encode(plain.encode('ascii'))}".encode("ascii"))
    return plain, f"{header}..{encode(signature)}"


def verify(
    plain: str, encrypted: str, keys: Mapping[str, bytes], *, now_unix_ms: int, agent_id: str | None = None
) -> Verified:
    """Return what a licence says, if it holds now.

    :param keys: public keys (32 bytes) by key id; no other key is ever used.
    :param agent_id: whose licence it must be; ``None``: anybody's.
    :raises LicenseRefused: it does not hold, and why.
    """
    claims = read_plain(plain)
    header, signature = _parts(encrypted)
    kid = _kid_of(header)
    public = keys.get(kid)
    if public is None:
        raise LicenseRefused("unknown_key", f"it is signed with a key that is not (or no longer) known: {shown(kid)}")
    try:
        _public_key(public).verify(signature, f"{header}.{encode(plain.encode('ascii'))}".encode("ascii"))
    except InvalidSignature:
        raise LicenseRefused("signature", "the signature is not that of this text and this key") from None
    _check_times(claims, now_unix_ms)
    if agent_id is not None and claims.agent_id != agent_id:
        raise LicenseRefused("agent", f"it is for the agent {shown(claims.agent_id)}, not for {shown(agent_id)}")
    return Verified(claims=claims, kid=kid)


def _check_times(claims: Claims, now_unix_ms: int) -> None:
    if claims.expires_unix_ms - claims.issued_unix_ms != LIFETIME_MS:
        minutes = (claims.expires_unix_ms - claims.issued_unix_ms) / 60_000
        raise LicenseRefused("lifetime", f"it is made out for {minutes:g} minutes, and a licence lasts 120")
    if now_unix_ms >= claims.expires_unix_ms:
        seconds = (now_unix_ms - claims.expires_unix_ms) / 1000
        raise LicenseRefused("expired", f"it expired {seconds:.0f} s ago")
    if claims.issued_unix_ms > now_unix_ms + SKEW_MS:
        seconds = (claims.issued_unix_ms - now_unix_ms) / 1000
        raise LicenseRefused("not_yet", f"it is issued {seconds:.0f} s in the future: one of the two clocks is wrong")


def _parts(encrypted: str) -> tuple[str, bytes]:
    """Return the header as it stands, and the signature."""
    if len(encrypted) > ENCRYPTED_MAX_CHARACTERS:
        raise LicenseRefused("malformed", f"the signature has {len(encrypted)} characters, which is too many")
    parts = encrypted.split(".")
    if len(parts) != 3:
        raise LicenseRefused("malformed", "the signature is not HEADER..SIGNATURE")
    header, payload, written = parts
    if payload:
        raise LicenseRefused("malformed", "there is a payload between the dots of the signature: it must be detached")
    signature = decode(written)
    if signature is None or len(signature) != SIGNATURE_BYTES:
        raise LicenseRefused("malformed", f"the signature is not {SIGNATURE_BYTES} bytes in canonical base64url")
    return header, signature


@lru_cache(maxsize=64)
def _header(kid: str) -> str:
    return encode(f'{{"alg":"EdDSA","kid":"{kid}","typ":"{TYPE}"}}'.encode("ascii"))


@lru_cache(maxsize=64)
def _public_key(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


@lru_cache(maxsize=64)  # a refusal is not kept, so nobody but who holds a key can fill it with anything of use
def _kid_of(header: str) -> str:
    data = decode(header)
    if data is None:
        raise LicenseRefused("header", "the header is not canonical base64url")
    match = _HEADER.fullmatch(data.decode("latin-1"))
    if match is None:
        raise LicenseRefused("header", _header_fault(data))
    return match.group(1)


def _header_fault(data: bytes) -> str:
    """Say what is wrong with a header that is none of ours."""
    try:
        pairs = json.loads(data, object_pairs_hook=list)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, list) or not all(isinstance(one, tuple) for one in pairs):
        return "the header is not a JSON object"
    names = [name for name, _ in pairs]
    header: dict[str, Any] = dict(pairs)
    if len(header) != len(names):
        return "the header has a member twice"
    further = sorted(header.keys() - {"alg", "kid", "typ"})
    if header.get("alg") not in ("EdDSA", "Ed25519"):
        return f"the algorithm is {shown(header.get('alg'))}: only EdDSA (Ed25519) is taken"
    if header.get("typ") != TYPE:
        return f"the type is {shown(header.get('typ'))}: this is no licence, whose type is {TYPE}"
    if further:
        return f"the header has members that no licence has: {shown(', '.join(further))}"
    return "the header is not written as a licence's: alg, kid and typ in this order, without spaces or escapes"
