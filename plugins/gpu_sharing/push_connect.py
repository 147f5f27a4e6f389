"""What a CONNECT asks for, and who asks."""

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from appliance.plugin import ApplianceError

from .hosts import read_host
from .push_head import PushRefused, RequestHead

CREDENTIAL_CHARACTERS_MAX: Final = 1024

_TARGET: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,254}):([0-9]{1,5})", re.ASCII)


def read_target(head: RequestHead) -> tuple[str, int]:
    """Return host and port of a CONNECT.

    :raises PushRefused: 403 for other methods, 400 for what is no host and port.
    """
    if head.method != "CONNECT":
        raise PushRefused(
            403, "this proxy answers CONNECT alone", hint="name it in HTTPS_PROXY, and not in HTTP_PROXY or ALL_PROXY"
        )
    match = _TARGET.fullmatch(head.target)
    if match is None or not 0 < int(match[2]) <= 65_535:
        raise PushRefused(400, "CONNECT needs HOST:PORT")
    try:
        return read_host(match[1], field="CONNECT"), int(match[2])
    except ApplianceError as error:
        raise PushRefused(400, error.message) from error


def read_credential(head: RequestHead, authenticate: Callable[[str], str | None]) -> str | None:
    """Return the agent whose secret came with a CONNECT, ``None`` when none did.

    :param authenticate: returns the id of the agent whose secret is given, ``None`` for anything else.
    :raises PushRefused: 407; a secret that is sent counts, and a wrong one is not overlooked.
    """
    text = head.value("proxy-authorization")
    if text is None:
        return None
    secret = _read_secret(text)
    agent_id = authenticate(secret) if secret else None
    if agent_id is None:
        raise who_are_you("the secret in HTTPS_PROXY is no agent's")
    return agent_id


def _read_secret(text: str) -> str | None:
    """Return the password of a Basic credential, or a Bearer token."""
    scheme, _, value = text.partition(" ")
    if len(text) > CREDENTIAL_CHARACTERS_MAX:
        return None
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    with suppress(binascii.Error, ValueError):
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    return None


def who_are_you(message: str) -> PushRefused:
    """Return the refusal that asks for an agent's secret."""
    return PushRefused(
        407,
        message,
        hint="set HTTPS_PROXY=http://agent:SECRET@HOST:PORT with the agent's own secret",
        headers=(("proxy-authenticate", 'Basic realm="agents"'),),
    )
