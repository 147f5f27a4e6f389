"""The access log: one event per answer, secrets cut."""

import time
from collections.abc import Mapping
from urllib.parse import unquote

import structlog

from appliance.http.pipeline import Exchange
from appliance.http.query import CREDENTIAL_NAMES

log = structlog.get_logger("appliance.access")

CUT = b"[cut]"
SHARED_LINKS = "s"
"""What follows ``/s/`` is the code of a shared link, which opens what it names to whoever has it."""
MAX_QUERY_BYTES = 512
MAX_AGENT_CHARS = 120


def safe_path(path: str, values: Mapping[str, str]) -> str:
    """Return the path for a log: what carries a secret is cut, also where no endpoint has taken it.

    :param values: the path values of the endpoint, if one was found.
    """
    first, _, rest = path.lstrip("/").partition("/")
    if rest and unquote(first) == SHARED_LINKS:
        return f"/{SHARED_LINKS}/{CUT.decode()}"
    for name, value in values.items():
        if value and name in CREDENTIAL_NAMES:
            path = path.replace(value, CUT.decode())
    return path


def safe_query(raw_query: bytes) -> str:
    """Return the query string for a log: values of names that carry secrets are cut, however they are spelled."""
    if not raw_query:
        return ""
    items = []
    for item in raw_query[:MAX_QUERY_BYTES].split(b"&"):
        name, equals, _ = item.partition(b"=")
        # %74oken is token to whoever reads the query, so it is here.
        is_secret = b"%" in name or name.decode("latin-1").lower().strip("+ ") in CREDENTIAL_NAMES
        items.append(name + equals + CUT if equals and is_secret else item)
    return b"&".join(items).decode("latin-1")


def write_access_log(exchange: Exchange) -> None:
    """Log one finished exchange; headers, bodies and credentials never are."""
    head, caller = exchange.head, exchange.caller
    agent = head.header(b"user-agent") or ""
    log.info(
        "request",
        method=head.method[:16],
        path=safe_path(head.path, head.path_values)[:512],
        query=safe_query(head.raw_query),
        status=exchange.status,
        bytes=exchange.sent_bytes,
        ms=round((time.perf_counter() - exchange.started_at) * 1000, 2),
        peer=head.peer[0] if head.peer else "unix",
        listener=head.listener,
        caller=caller.kind.value,
        subject=caller.subject,
        agent=agent[:MAX_AGENT_CHARS],
        request_id=exchange.request_id,
    )
