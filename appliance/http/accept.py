"""Which kind of answer a client prefers, by its Accept header (RFC 9110, 12.5.1)."""

_MOST_RANGES = 64
"""No browser sends more; what follows is not read."""


def prefers_html(accept: str | None) -> bool:
    """Whether a page is wanted rather than JSON: ``text/html`` is named and no less wanted than JSON.

    ``*/*`` alone (curl, most HTTP libraries) means JSON, as does no header at all.
    """
    quality = _qualities(accept or "")
    html = max(quality.get("text/html", 0.0), quality.get("application/xhtml+xml", 0.0))
    return html > 0 and html >= quality.get("application/json", 0.0)


def _qualities(accept: str) -> dict[str, float]:
    found = dict[str, float]()
    for part in accept.split(",")[:_MOST_RANGES]:
        media, _, rest = part.partition(";")
        found[media.strip().lower()] = _quality(rest)
    return found


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value[:8])
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0
