"""Machine tokens: how they are made, and how many machines one may serve."""

import base64
import secrets
from collections.abc import Iterable
from typing import Final

from appliance.plugin import Kind, Minted, mint_credential

TOKEN_BYTES: Final = 64
_MACHINES: Final = "machines:"


def new_token() -> str:
    """Return a secret in the documented form: 64 random bytes as URL-safe base64 with padding, 88 characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(TOKEN_BYTES)).decode()


def new_machine_id() -> str:
    """Return an id that every agent takes: 8 hexadecimal digits."""
    return secrets.token_hex(4)


def mint(
    *,
    pool: str,
    machine_id: str = "",
    machines: int | None = None,
    label: str = "",
    expires_unix_us: int | None = None,
    now_unix_us: int,
) -> Minted:
    """Make a machine token.

    :param machine_id: the only machine that it serves; any of the pool without it.
    :param machines: how many machines it may serve; any number without it.
    """
    return mint_credential(
        Kind.MACHINE,
        now_unix_us=now_unix_us,
        scope=pool,
        subject=machine_id,
        # Of a successor too: what a token may is what its scopes say.
        scopes=frozenset() if machines is None else frozenset({f"{_MACHINES}{machines}"}),
        label=label,
        expires_unix_us=expires_unix_us,
        secret=new_token(),
    )


def machines_max(scopes: Iterable[str]) -> int | None:
    """Return how many machines a token with these scopes may serve; ``None`` for any number."""
    return next((int(each.removeprefix(_MACHINES)) for each in scopes if each.startswith(_MACHINES)), None)
