"""How many failed logins the audit log is told of: it is never shortened, and anybody may fail to log in."""

from attrs import define, field

from appliance.rate import Rate

TOLD_PER_MINUTE = 60


@define(eq=False)
class FailedLogins:
    """Lets 60 a minute into the audit log, whoever they are from; each one that is told says how many were not."""

    _rate: Rate = field(factory=lambda: Rate(TOLD_PER_MINUTE), init=False)
    _untold: int = field(default=0, init=False)

    def tell(self, *, now_unix_us: int) -> int | None:
        """Count one; return how many before it were not told, or ``None`` when this one is not told either."""
        if self._rate.take("", now_unix_us=now_unix_us) > 0:
            self._untold += 1
            return None
        untold, self._untold = self._untold, 0
        return untold
