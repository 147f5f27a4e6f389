"""How much one person may have waiting and running."""

from collections.abc import Mapping

from attrs import field, frozen


@frozen(kw_only=True)
class Quota:
    """Limits for one person; 0 is no limit."""

    pending_max: int = 0
    """Jobs that wait, those for other jobs or their time included."""
    running_max: int = 0
    millicores_max: int = 0
    milli_gpu_max: int = 0


@frozen(kw_only=True)
class Quotas:
    """Everybody's limits."""

    default: Quota = field(factory=Quota)
    people: Mapping[str, Quota] = field(factory=dict)
    """By name of the owner."""

    def of(self, owner: str) -> Quota:
        """Return the limits of one owner; the appliance's own jobs (owner ``""``) have none."""
        return Quota() if not owner else self.people.get(owner, self.default)


def refuse_submission(quota: Quota, *, pending: int, added: int) -> str | None:
    """Return in words why a person may not submit ``added`` more jobs beside the ``pending`` ones; ``None`` if so."""
    if quota.pending_max and pending + added > quota.pending_max:
        return f"{pending} of your jobs are waiting and {added} more would be over your limit of {quota.pending_max}"
    return None
