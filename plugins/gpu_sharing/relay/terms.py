"""What the relay is told about a share."""

from attrs import field, frozen
from attrs.validators import ge, in_, min_len, optional

from .access import Access, address_of


def _target(instance: object, attribute: object, value: tuple[str, int] | None) -> None:
    if value is None:
        return
    host, port = value
    address_of(host)  # no name: the relay asks no name server, which could hang and could lie
    if not 1 <= port <= 65_535:
        raise ValueError(f"a target port from 1 to 65535, not {port}")


@frozen(kw_only=True)
class Terms:
    """A share that is served on this host, and under what conditions."""

    share_id: str = field(validator=min_len(1))
    target: tuple[str, int] | None = field(validator=_target)
    """IP address and port of its worker; ``None`` while the worker does not run."""
    access: Access
    expires_at_unix_us: int | None = None
    """From this moment on nobody is let in and nobody is left in; ``None``: no end."""
    connections_max: int | None = field(default=None, validator=optional(ge(0)))
    """At once; ``None``: as many as the relay serves at all."""
    port: int | None = field(default=None, validator=optional(in_(range(1, 65_536))))
    """The port it had before, taken again if it is free, also from outside the relay's range."""

    def is_over(self, now_unix_us: int) -> bool:
        """Return whether the share's time has run out."""
        return self.expires_at_unix_us is not None and now_unix_us >= self.expires_at_unix_us
