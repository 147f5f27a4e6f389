"""The session cookie and the token against forged requests: names and values, pure."""

import base64
import hashlib
import hmac

from attrs import frozen

from appliance.credentials.rules import SESSION_ABSOLUTE_SECONDS

CSRF_COOKIE = "csrftoken"
"""Read by the front ends of the metrics API by this name."""
COOKIE_HEADER_LIMIT = 8_192
COOKIES_MAX = 100


@frozen
class CookieNames:
    """What this instance calls its cookies; cookies ignore ports, so two instances on a host need two names."""

    instance_id: str

    @property
    def session(self) -> str:
        """The name of the session cookie."""
        return f"appliance_{self.instance_id}"


SESSION_COOKIE_SECONDS = SESSION_ABSOLUTE_SECONDS


def read_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a ``Cookie`` header (RFC 6265, 5.4); the first of a name counts.

    :param header: its values joined by ``"; "``; one longer than 8 kB has none.
    """
    cookies: dict[str, str] = {}
    for name, value in _pairs(header):
        cookies.setdefault(name, value)
    return cookies


def values_of(header: str, name: str) -> list[str]:
    """Return every value that a ``Cookie`` header has for ``name``: a browser sends one for each path and domain."""
    return [value for found, value in _pairs(header) if found == name]


def _pairs(header: str) -> list[tuple[str, str]]:
    if len(header) > COOKIE_HEADER_LIMIT:
        return []
    split = (pair.strip().partition("=") for pair in header.split(";", COOKIES_MAX)[:COOKIES_MAX])
    return [(name, value.strip('"')) for name, equals, value in split if equals and name]


def csrf_token(session_secret: str) -> str:
    """Return the ``csrftoken`` that belongs to a session: derived, so it needs no storage and dies with it."""
    digest = hmac.new(session_secret.encode(), b"appliance csrf token", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()
