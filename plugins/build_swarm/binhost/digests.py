"""The hash that a sender gives with a file, in either of two headers."""

import base64
import binascii
import re
from typing import Final

from appliance.plugin import BadInput, Head

PLAIN: Final = "X-Content-SHA256"
STANDARD: Final = "Content-Digest"
"""RFC 9530: ``sha-256=:BASE64:``, beside which others may stand."""
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_ITEM: Final = re.compile(r"\s*sha-256\s*=\s*:([A-Za-z0-9+/=]{1,64}):\s*")


def sha256_of(head: Head) -> str:
    """Return the SHA-256 that a request says its body has, in lower case.

    :raises BadInput: it says none, one that cannot be, or two that differ.
    """
    said = {found for found in (_plain(head), _standard(head)) if found is not None}
    if len(said) != 1:
        raise BadInput(
            f"{'two hashes that differ are' if said else 'no hash is'} given",
            field=PLAIN,
            hint=f"send {PLAIN}: the SHA-256 of the file in 64 hexadecimal digits",
        )
    return said.pop()


def _plain(head: Head) -> str | None:
    text = head.header(PLAIN.lower().encode())
    if text is None:
        return None
    if _HEX.fullmatch(text.strip()) is None:
        raise BadInput("this is no SHA-256 in hexadecimal", field=PLAIN, hint="send 64 hexadecimal digits")
    return text.strip().lower()


def _standard(head: Head) -> str | None:
    text = head.header(STANDARD.lower().encode())
    if text is None:
        return None
    for item in text.split(","):
        found = _ITEM.fullmatch(item)
        if found is not None:
            try:
                raw = base64.b64decode(found[1], validate=True)
            except binascii.Error:
                raw = b""
            if len(raw) != 32:
                raise BadInput("this is no SHA-256 in base64", field=STANDARD, hint="send sha-256=:BASE64:")
            return raw.hex()
    return None
