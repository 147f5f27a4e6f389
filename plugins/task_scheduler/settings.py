"""What ``[plugins.task_scheduler]`` can say; what tasks may have is said in ``[scheduler]``."""

from attrs import frozen
from attrs.validators import and_, ge, in_, le

from appliance.plugin import setting


@frozen(kw_only=True)
class TaskSettings:
    """Settings of the task scheduler's API."""

    network: str = setting(
        "auto",
        help='Network of tasks whose submitter names none: "none", "bridge", or "auto": bridge where an engine has it.',
        validator=in_(("auto", "none", "bridge")),
    )
    listed_max: int = setting(
        5000,
        help="How many tasks GET /api/tasks lists at most, the newest; its front end asks every 3 seconds.",
        validator=and_(ge(1), le(1_000_000)),
    )
    never_zero: bool = setting(
        False,
        help="Send 1e-9 in place of 0 allocated cores, memory and storage over WebSockets: for a front end that shows"
        " an old value in place of 0.",
    )
