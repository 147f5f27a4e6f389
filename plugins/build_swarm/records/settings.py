"""Settings of what is kept."""

from attrs import frozen
from attrs.validators import and_, ge, le

from appliance.plugin import setting


@frozen(kw_only=True, slots=False)
class RecordsSettings:
    """How much is kept of what goes on."""

    records_protocol: bool = setting(True, help="Keep what drones and clients ask and are answered, for 24 hours.")
    records_protocol_mib: int = setting(
        64,
        help="Size of that log in MiB above which the oldest goes first.",
        validator=and_(ge(1), le(16_384)),
    )
    records_sql_seconds: float = setting(
        2.0, help="How long a query of the SQL explorer may run.", validator=and_(ge(0.1), le(60))
    )
