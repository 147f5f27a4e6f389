"""Ids, secrets and short codes: how they are made, told apart and compared.

A secret looks like ``<kind>_<32 base62>_<check>``: the kind tells a person (and a secret scanner) what was leaked, the
32 characters carry 190 random bits, and the check catches a mistyped or cut secret without a look-up.
"""

import hashlib
import hmac
import secrets
import zlib

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SECRET_CHARACTERS = 32
CHECK_CHARACTERS = 6
SECRET_LIMIT_BYTES = 512
"""A longer secret is refused before it is hashed: none of ours, and none a document fixes, comes near it."""
PREFIX_CHARACTERS = 6
"""Random characters of a secret that are kept in clear, so that a person recognises it in a list."""


def new_id(kind: str) -> str:
    """Return a fresh public id, ``<kind>_<22 base62>``: 130 random bits, so it cannot be guessed either."""
    return f"{kind}_{_random(BASE62, 22)}"


def new_secret(kind: str) -> str:
    """Return a fresh secret of ``kind``."""
    body = f"{kind}_{_random(BASE62, SECRET_CHARACTERS)}"
    return f"{body}_{_check(body)}"


def new_code(characters: int = 16) -> str:
    """Return a code that people can read aloud: Crockford base32, 5 bits a character."""
    return _random(CROCKFORD, characters)


def kind_of_secret(secret: str) -> str | None:
    """Return the kind that a secret of ours carries, ``None`` when its shape or check is wrong."""
    body, _, check = secret.rpartition("_")
    kind, _, middle = body.rpartition("_")
    if not kind or len(middle) != SECRET_CHARACTERS or not middle.isascii() or not middle.isalnum():
        return None
    return kind if same_secret(check, _check(body)) else None


def secret_prefix(secret: str) -> str:
    """Return the beginning of a secret by which people recognise it, never more than a fifth of its randomness."""
    kind = kind_of_secret(secret)
    return secret[: len(kind) + 1 + PREFIX_CHARACTERS] if kind is not None else secret[: min(6, len(secret) // 6)]


def hash_secret(secret: str) -> bytes:
    """Return the 32 bytes by which a secret is stored and looked up (SHA-256: it is random, so no stretching)."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def same_secret(one: str | bytes, other: str | bytes) -> bool:
    """Compare in a time that says nothing about where the two differ."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def _random(alphabet: str, characters: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(characters))


def _check(body: str) -> str:
    # surrogatepass: text from outside may hold lone surrogates, and a wrong secret must not become an exception.
    value, digits = zlib.crc32(body.encode("utf-8", "surrogatepass")), ""
    for _ in range(CHECK_CHARACTERS):
        value, digit = divmod(value, 62)
        digits = BASE62[digit] + digits
    return digits
