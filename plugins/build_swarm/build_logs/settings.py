"""Settings of build logs."""

from attrs import frozen
from attrs.validators import and_, ge, le

from appliance.plugin import setting


@frozen(kw_only=True, slots=False)
class LogSettings:
    """How much of builds' output is kept."""

    log_limit_bytes: int = setting(
        8 * 2**20,
        help="How much of a build's log is kept: its start, and as much as there is room for of its end.",
        validator=and_(ge(65_536), le(2**40)),
    )
    log_total_bytes: int = setting(
        4 * 2**30,
        help="How much the logs of all builds may take together; the oldest that have ended go first.",
        validator=and_(ge(2**20), le(2**50)),
    )
    log_keep_days: float = setting(
        14.0, help="How long the log of a build is kept.", validator=and_(ge(0.01), le(3_650.0))
    )
    log_count_max: int = setting(
        2_000, help="How many logs of builds are kept; the oldest go first.", validator=and_(ge(1), le(1_000_000))
    )
