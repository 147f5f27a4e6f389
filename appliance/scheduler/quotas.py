"""How much one person may have waiting and running."""

from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen

from appliance.jobs import Needs


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


def refuse_submission(quota: Quota, *, pending: int, added: Sequence[Needs]) -> str | None:
    """Return in words why a person may not submit more jobs beside the ``pending`` ones; ``None`` when they may."""
    for needs in added:
        # Alone on the machine it would be over the limit: it would wait for ever.
        over = stops(evolve(quota, running_max=0), InUse(), needs)
        if over:
            return over
    if quota.pending_max and pending + len(added) > quota.pending_max:
        return (
            f"{pending} of your jobs are waiting and {len(added)} more would be over your limit of {quota.pending_max}"
        )
    return None


@define
class InUse:
    """What the attempts of one owner hold together."""

    running: int = 0
    millicores: int = 0
    milli_gpu: int = 0

    def add(self, needs: Needs) -> None:
        """Count one more attempt."""
        self.running += 1
        self.millicores += needs.millicores
        self.milli_gpu += needs.milli_gpu


def stops(quota: Quota, in_use: InUse, needs: Needs) -> str:
    """Return in words what keeps an owner's job from starting beside what the owner holds; empty when nothing does."""
    if quota.running_max and in_use.running >= quota.running_max:
        return f"{in_use.running} of at most {quota.running_max} jobs of its owner run"
    for need, used, most, what in (
        (needs.millicores, in_use.millicores, quota.millicores_max, "thousandths of a core"),
        (needs.milli_gpu, in_use.milli_gpu, quota.milli_gpu_max, "thousandths of a GPU"),
    ):
        if most and need and used + need > most:
            return f"its owner uses {used} {what} and the job needs {need} more, the limit is {most}"
    return ""
