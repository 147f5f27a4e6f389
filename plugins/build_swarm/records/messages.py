"""What a request and its answer were about, for the protocol log: kind, drone, package, and a line for people.

Pure. Bodies come from anybody; what is kept of them is cut, and what may be a secret in them is replaced.
"""

import re
import zlib
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from attrs import frozen

API: Final = "/api/v1/"
REQUEST_CHARACTERS: Final = 4096
ANSWER_CHARACTERS: Final = 8192
SUMMARY_CHARACTERS: Final = 200
FIELD_CHARACTERS: Final = 255
CUT: Final = "[cut]"
UNKNOWN: Final = "unknown"
_TYPES: Final = {
    ("GET", "work"): "work_request",
    ("GET", "poll"): "work_request",
    ("POST", "register"): "register",
    ("POST", "complete"): "complete",
    ("POST", "report"): "complete",
    ("GET", "orchestrator"): "discovery",
    ("GET", "status"): "status_query",
    ("GET", "events"): "events_query",
    ("GET", "events/history"): "events_query",
    ("POST", "queue"): "queue",
    ("POST", "control"): "control",
    ("GET", "nodes"): "node_list",
    ("GET", "metrics"): "metrics_query",
    ("GET", "history"): "history_query",
    ("GET", "sessions"): "session_query",
    ("GET", "health"): "health_check",
    ("GET", "versions"): "version_query",
    ("GET", "portage-config"): "config_query",
    ("GET", "provision/bootstrap"): "provisioning",
    ("POST", "provision/drone"): "provisioning",
}
TYPES: Final = frozenset({*_TYPES.values(), "node_pause", "node_resume", "node_delete", UNKNOWN})
# Bounded, so that no text is searched for longer than its length.
_NAMED: Final = r"[A-Za-z0-9_.-]{0,40}(?:key|token|password|passwd|secret|credential|authorization)[A-Za-z0-9_.-]{0,40}"
_SECRET_IN_JSON: Final = re.compile(
    rf'("{_NAMED}"\s{{0,8}}:\s{{0,8}})(?:"(?:[^"\\]|\\.)*"?|-?[0-9][0-9.eE+-]*|\[[^\]]*\]?|\{{[^}}]*\}}?)',
    re.IGNORECASE,
)
_OUR_SECRET: Final = re.compile(r"[a-z-]{2,16}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}")
"""Our own secrets, wherever they stand."""


@frozen(kw_only=True)
class Seen:
    """One request and its answer, as they were seen on the wire. Bodies may be cut already."""

    unix_us: int
    method: str
    path: str
    raw_query: bytes
    source_ip: str
    body: bytes
    status: int
    answer: bytes
    seconds: float
    body_bytes: int
    """Of the whole body."""


@frozen(kw_only=True)
class Entry:
    """One row of the protocol log."""

    unix_us: int
    source_ip: str
    source_node: str
    method: str
    path: str
    msg_type: str
    drone_id: str
    package: str
    session_id: str
    status_code: int
    request_summary: str
    response_summary: str
    request_body: str
    response_body: str
    latency_ms: float
    content_length: int

    @property
    def size_bytes(self) -> int:
        """About what it takes on disk."""
        texts = (self.path, self.request_summary, self.response_summary, self.request_body, self.response_body)
        return 200 + sum(map(len, texts))


def type_of(method: str, path: str) -> str | None:
    """Return what kind of message a request is; ``None`` for one that reads this log, which is not written down."""
    rest = path.removeprefix(API).rstrip("/")
    found = _TYPES.get((method if method != "HEAD" else "GET", rest))
    if found is not None:
        return found
    first, _, more = rest.partition("/")
    if first == "protocol":
        return None
    if first == "nodes" and more:
        if method == "DELETE" and "/" not in more:
            return "node_delete"
        if method == "POST" and more.endswith(("/pause", "/resume")):
            return "node_" + more.rpartition("/")[2]
    return UNKNOWN


def entry_of(seen: Seen, msg_type: str, *, name_of: Any) -> Entry:
    """Return what is kept of a request and its answer.

    :param name_of: returns the name of a drone by its id or name; empty for none that is known.
    """
    asked, said = _object(seen.body), _object(_plain(seen.answer))
    query = _query(seen.raw_query)
    node = _node_in(seen.path)
    drone = _text(asked, "id", "node_name", "node", "name") or _plain_text(query.get("id") or query.get("node")) or node
    if msg_type not in {"work_request", "register", "complete", "node_pause", "node_resume", "node_delete"}:
        drone = node
    name = name_of(drone) if drone else ""
    package = _text(said if msg_type == "work_request" else asked, "package")
    keeps_bodies = msg_type != "provisioning"
    return Entry(
        unix_us=seen.unix_us,
        source_ip=seen.source_ip,
        source_node=name or (_text(asked, "name") if msg_type == "register" else ""),
        method=seen.method,
        path=seen.path[:FIELD_CHARACTERS],
        msg_type=msg_type,
        drone_id=drone,
        package=package,
        session_id=_text(said, "session_id"),
        status_code=seen.status,
        request_summary=_asked(seen, msg_type, asked, name or drone)[:SUMMARY_CHARACTERS],
        response_summary=_said(seen, msg_type, said)[:SUMMARY_CHARACTERS],
        request_body=kept(seen.body, REQUEST_CHARACTERS) if keeps_bodies else "",
        response_body=kept(_plain(seen.answer), ANSWER_CHARACTERS) if keeps_bodies else "",
        latency_ms=round(seen.seconds * 1000, 3),
        content_length=seen.body_bytes,
    )


def kept(body: bytes, characters: int) -> str:
    """Return a body as text, without what may be a secret, cut to what is kept."""
    # A little more is read than kept, so that a secret at the end is seen whole.
    text = body[: 2 * characters].decode("utf-8", "replace").replace("\0", "\ufffd")
    lowered = text.lower()
    if any(word in lowered for word in ("key", "token", "passw", "secret", "credential", "authorization")):
        text = _SECRET_IN_JSON.sub(rf'\1"{CUT}"', text)
    if "_" in text:
        text = _OUR_SECRET.sub(CUT, text)
    return text[:characters]


def _plain(answer: bytes) -> bytes:
    """Return an answer uncompressed, as far as it goes."""
    if not answer.startswith(b"\x1f\x8b"):
        return answer
    try:
        return zlib.decompressobj(31).decompress(answer, 4 * ANSWER_CHARACTERS)
    except zlib.error:
        return b""


def _object(body: bytes) -> dict[str, Any]:
    if not body.startswith(b"{"):
        return {}
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _query(raw: bytes) -> dict[str, str]:
    if not raw or len(raw) > 2048 or raw.count(b"&") >= 50:
        return {}
    return dict(parse_qsl(raw.decode("latin-1"), max_num_fields=50))


def _text(found: dict[str, Any], *names: str) -> str:
    for name in names:
        if (text := _plain_text(found.get(name))) != "":
            return text
    return ""


def _plain_text(value: Any) -> str:
    """Return a text that can be stored and shown; empty for anything else."""
    if not isinstance(value, str):
        return ""
    if len(value) <= FIELD_CHARACTERS and value.isprintable():
        return value
    return "".join(each for each in value[:FIELD_CHARACTERS] if each.isprintable())


def _node_in(path: str) -> str:
    parts = path.removeprefix(API).split("/")
    return _plain_text(parts[1]) if parts[0] == "nodes" and len(parts) > 1 else ""


def _asked(seen: Seen, msg_type: str, asked: dict[str, Any], drone: str) -> str:
    if msg_type == "work_request":
        return f"GET /work drone={drone}"
    if msg_type == "register":
        capabilities = asked.get("capabilities")
        cores = capabilities.get("cores", "?") if isinstance(capabilities, dict) else "?"
        return f"REGISTER {drone} ip={_text(asked, 'ip') or seen.source_ip} cores={str(cores)[:12]}"
    if msg_type == "complete":
        seconds = asked.get("build_duration_s", asked.get("duration"))
        took = f" {seconds:.1f}s" if isinstance(seconds, int | float) and abs(seconds) < 1e12 else ""
        return f"COMPLETE {_text(asked, 'package')} status={_text(asked, 'status')}{took}"
    if msg_type == "queue":
        packages = asked.get("packages")
        return f"QUEUE {len(packages) if isinstance(packages, list) else 0} packages"
    if msg_type == "control":
        return f"CONTROL action={_text(asked, 'action')}"
    if msg_type.startswith("node_") and msg_type != "node_list":
        return f"{seen.method} {msg_type} node={drone}"
    return f"{seen.method} {seen.path}"


def _said(seen: Seen, msg_type: str, said: dict[str, Any]) -> str:
    words = ""
    if "error" in said:
        words = _text(said, "error")
    elif msg_type == "work_request":
        words = f"package={package}" if (package := _text(said, "package")) else "no_work"
    elif msg_type == "complete":
        words = f"accepted={str(said.get('accepted', '?')).lower()}"
    elif msg_type == "queue":
        words = f"queued={str(said.get('queued', 0))[:12]}"
    elif msg_type == "status_query":
        counts = (str(said.get(name, 0))[:12] for name in ("needed", "delegated", "queue_received"))
        words = "N={} D={} R={}".format(*counts)
    elif msg_type in {"register", "control", "health_check"}:
        words = _text(said, "status")
    return f"{seen.status} {words}".rstrip()
