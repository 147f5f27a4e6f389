"""Times as the document writes them: Unix seconds, with fractions or whole."""

SECOND_US = 1_000_000


def seconds(unix_us: int | None) -> float | None:
    """Return a moment with its fraction, to the millisecond; ``None`` for what has not happened."""
    return None if unix_us is None else round(unix_us / SECOND_US, 3)


def whole_seconds(unix_us: int | None) -> int | None:
    """Return a moment in whole seconds; ``None`` for what has not happened."""
    return None if unix_us is None else unix_us // SECOND_US
