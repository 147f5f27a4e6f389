"""Times that come again: cron expressions of five fields, as crontab(5) reads them.

Minute, hour, day of the month, month, day of the week; each ``*``, a number, a name (``jan``, ``mon``), a range
``a-b``, any of these with a step ``/n``, or a list of them. When both days are restricted either will do.

Where clocks are changed: an expression with a fixed hour comes once on every day on which that time is shown, at its
first showing, and when the clock leaps over it, at the end of the leap; one whose hour begins with ``*`` comes
whenever the clock shows a minute of it, twice in the repeated hour.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from attrs import field, frozen

from appliance.errors import BadInput

NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
TEXT_MAX: Final = 200
YEARS_MAX: Final = 9
"""The longest wait there is: from a 29 February to the next over a century without one."""
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART: Final = re.compile(
    r"(?:\*|(?P<first>[0-9]{1,2}|[a-z]{3})(?:-(?P<last>[0-9]{1,2}|[a-z]{3}))?)(?:/(?P<step>[0-9]{1,2}))?"
)


@frozen
class Cron:
    """A parsed expression in a time zone; equal ones come at equal times."""

    text: str
    zone: str
    _minutes: tuple[int, ...] = field(repr=False)
    _hours: tuple[int, ...] = field(repr=False)
    _month_days: frozenset[int] = field(repr=False)
    _months: frozenset[int] = field(repr=False)
    _week_days: frozenset[int] = field(repr=False)
    _either_day: bool = field(repr=False)
    """Both days are restricted."""
    _any_hour: bool = field(repr=False)
    _clock: tzinfo = field(repr=False, eq=False)

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> "Cron":
        """Return the expression.

        :raises BadInput: it is none, its zone is unknown here, or it never comes (``0 0 31 2 *``).
        """
        if len(text) > TEXT_MAX:
            raise BadInput(f"a cron expression has {TEXT_MAX} characters at most", field="cron")
        plain = NAMED.get(text.strip().lower(), text)
        fields = plain.lower().split()
        if len(fields) != len(_FIELDS):
            names = ", ".join(sorted(NAMED))
            raise BadInput(
                f"{text!r} is no cron expression: it has {len(fields)} fields, not 5",
                field="cron",
                hint=f"minute, hour, day of the month, month, day of the week; or one of {names}",
            )
        minutes, hours, month_days, months, week_days = (
            _values(one, *known) for one, known in zip(fields, _FIELDS, strict=True)
        )
        cron = cls(
            text=text,
            zone=zone,
            minutes=tuple(sorted(minutes)),
            hours=tuple(sorted(hours)),
            month_days=frozenset(month_days),
            months=frozenset(months),
            week_days=frozenset(day % 7 for day in week_days),
            either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
            any_hour=fields[1].startswith("*"),
            clock=_clock(zone),
        )
        # 2096 is the last leap year before the longest gap; any day that exists is in such a stretch of years.
        if next(cron._days_from(date(2095, 1, 1)), None) is None:
            raise BadInput(f"{text!r} never comes: no such day exists", field="cron")
        return cron

    def next_after(self, unix_s: int) -> int:
        """Return the first time after ``unix_s`` (never that second itself), in unix seconds.

        :raises BadInput: there is none before the year 9990.
        """
        try:
            here = datetime.fromtimestamp(unix_s, self._clock)
        except (ValueError, OverflowError, OSError):
            raise BadInput("the time is out of range", field="cron") from None
        # A day earlier: midnight here may be before what was asked for, and the end of a leap after it.
        for day in self._days_from(max(date(1, 1, 2), here.date() - timedelta(days=1))):
            for at in self._times_on(day):
                if at > unix_s:
                    return at
        raise BadInput("there is no such time before the year 9990", field="cron")

    def _days_from(self, first: date) -> Iterator[date]:
        """Yield the days of the expression, up to the longest wait there is."""
        day, last = first, first.year + YEARS_MAX
        while day.year <= min(last, 9989):
            if day.month not in self._months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if self._is_on(day):
                yield day
            day += timedelta(days=1)

    def _is_on(self, day: date) -> bool:
        by_month, by_week = day.day in self._month_days, day.isoweekday() % 7 in self._week_days
        return (by_month or by_week) if self._either_day else (by_month and by_week)

    def _times_on(self, day: date) -> list[int]:
        """Return the times on a day in order, each once."""
        times: set[int] = set()
        for hour in self._hours:
            for minute in self._minutes:
                shown = datetime(day.year, day.month, day.day, hour, minute)
                first, second = (self._instant(shown, fold) for fold in (0, 1))
                if self._shows(first, shown):
                    times.add(first)
                    if self._any_hour:
                        times.add(second)
                elif not self._any_hour:
                    times.add(self._end_of_leap(second, first))
        return sorted(times)

    def _instant(self, shown: datetime, fold: int) -> int:
        return int(shown.replace(tzinfo=self._clock, fold=fold).timestamp())

    def _shows(self, unix_s: int, shown: datetime) -> bool:
        return datetime.fromtimestamp(unix_s, self._clock).replace(tzinfo=None, fold=0) == shown

    def _end_of_leap(self, before: int, after: int) -> int:
        """Return the first second after the clock leapt, which it did between the two."""
        low, high = sorted((before, after))
        offset = datetime.fromtimestamp(low, self._clock).utcoffset()
        seconds = range(low, high + 1)
        return seconds[
            bisect_left(seconds, True, key=lambda at: datetime.fromtimestamp(at, self._clock).utcoffset() != offset)
        ]


def _clock(zone: str) -> tzinfo:
    if zone == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # brings how Python was built along, half a megabyte, for schedules in local time

    try:
        return ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        raise BadInput(f"no time zone {zone!r} is known here", field="zone", hint="such as Europe/Berlin") from None


def _values(text: str, name: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    """Return the numbers that one field stands for."""
    values: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadInput(f"{part!r} is no {name}", field="cron")
        step = int(match["step"] or 1)
        if step == 0:
            raise BadInput(f"{part!r} has a step of 0", field="cron")
        first = _number(match["first"], name, least, most, names) if match["first"] else least
        if match["last"]:
            last = _number(match["last"], name, least, most, names)
        else:
            # `5` is 5 alone, `5/10` goes on to the end.
            last = first if match["first"] and not match["step"] else most
        if first > last:
            raise BadInput(f"{part!r} goes backwards", field="cron")
        values.update(range(first, last + 1, step))
    return values


def _number(text: str, name: str, least: int, most: int, names: dict[str, int]) -> int:
    number = names.get(text) if not text.isdigit() else int(text)
    if number is None or not least <= number <= most:
        raise BadInput(f"{text!r} is no {name}", field="cron", hint=f"{least} to {most}")
    return number
