"""Times that come again: cron expressions of five fields, as crontab(5) reads them."""

from typing import Final

from attrs import frozen

NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@frozen
class Cron:
    """A parsed expression in a time zone."""

    text: str
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> "Cron":
        """Return the expression.

        :raises BadInput: it is none, its zone is unknown here, or it never comes (``0 0 31 2 *``).
        """
        raise NotImplementedError

    def next_after(self, unix_s: int) -> int:
        """Return the first time after ``unix_s`` (never that second itself), in unix seconds."""
        raise NotImplementedError
