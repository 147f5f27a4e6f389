"""Numbered SQL per owner (core or a plugin), each in one transaction."""

from attrs import frozen


@frozen(kw_only=True)
class Migration:
    """One step of an owner's schema; never edited once shipped (its checksum is kept)."""

    version: int
    """1, 2, 3 ... without a gap."""
    name: str
    sql: str
