"""Request targets and declared patterns: decoded once, split, never guessed at."""

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from appliance.errors import BadInput

MAX_SEGMENTS = 64


class NotAPath(BadInput):
    """A request target that is no path of ours: an authority, an absolute URL, bytes that are no text."""


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Split a request target into its undecoded path, leading double slashes folded, and its query."""
    path, _, query = target.partition(b"?")
    if path[:2] == b"//":
        path = b"/" + path.lstrip(b"/")
    return path, query


def segments_of(path: bytes) -> list[str]:
    """Return the decoded segments of an undecoded absolute path; raises `NotAPath`.

    ``/a/b%2Fc/`` gives ``["a", "b/c", ""]``: an encoded slash never separates.
    """
    if path[:1] != b"/":
        raise NotAPath("the request target must be a path that starts with /", field="path")
    parts = path[1:].split(b"/")
    if len(parts) > MAX_SEGMENTS:
        raise NotAPath(f"the path has more than {MAX_SEGMENTS} segments", field="path")
    return [_decoded(part) for part in parts]


def _decoded(part: bytes) -> str:
    try:
        text = (unquote_to_bytes(part) if b"%" in part else part).decode("utf-8")
    except UnicodeDecodeError:
        raise NotAPath("the path is not UTF-8", field="path") from None
    if "\0" in text:
        raise NotAPath("the path contains a NUL", field="path")
    return text


def rest_of(parts: Sequence[str]) -> str:
    """Join what a ``{path:path}`` takes; raises `NotAPath` for dot segments and hidden separators."""
    for part in parts:
        if part in {".", ".."} or "/" in part or "\\" in part:
            raise NotAPath("the path must not contain . or .. segments, encoded slashes or backslashes", field="path")
    return "/".join(parts)


def pattern_of(path: str) -> tuple[tuple[str, str], ...]:
    """Parse a declared path into (kind, text) steps; kind is ``literal``, ``name`` or ``rest``.

    :raises ValueError: when the pattern is not one (it is a programming error of the surface).
    """
    if not path.startswith("/"):
        raise ValueError(f"a declared path starts with /: {path!r}")
    steps: list[tuple[str, str]] = []
    for part in path[1:].split("/"):
        if part.startswith("{") and part.endswith("}"):
            name, _, kind = part[1:-1].partition(":")
            if not name.isidentifier() or kind not in {"", "path"}:
                raise ValueError(f"a path parameter is {{name}} or {{name:path}}: {path!r}")
            steps.append(("rest" if kind else "name", name))
        elif "{" in part or "}" in part:
            raise ValueError(f"a path parameter fills its whole segment: {path!r}")
        else:
            steps.append(("literal", part))
    if any(kind == "rest" for kind, _ in steps[:-1]):
        raise ValueError(f"{{name:path}} can only come last: {path!r}")
    return tuple(steps)
