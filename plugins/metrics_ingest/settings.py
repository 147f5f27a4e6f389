"""What ``[plugins.metrics_ingest]`` can say."""

from attrs import frozen
from attrs.validators import and_, ge, le

from appliance.plugin import setting


@frozen(kw_only=True)
class MetricsSettings:
    """Settings of metrics ingest."""

    history_max_minutes: int = setting(
        43_200,
        help="The longest history that is answered, in minutes; 43200 are 30 days.",
        environment=("MONITORING_MAX_HISTORY_MINUTES",),
        validator=and_(ge(1), le(2_635_200)),
    )
    silent_seconds: float = setting(
        60.0,
        help="A server that has not reported for so long, and for ten of its intervals, counts as silent.",
        validator=and_(ge(5), le(86_400)),
    )
