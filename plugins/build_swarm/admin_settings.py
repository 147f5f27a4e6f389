"""Settings of what the admin surface does on drones."""

from attrs import frozen
from attrs.validators import matches_re

from appliance.plugin import setting


@frozen(kw_only=True, slots=False)
class AdminSettings:
    """What operators have done on drones."""

    admin_world_file: str = setting(
        "/var/lib/portage/world",
        help="Where drones have the list of packages that were asked for by name; it is audited, cleaned and locked.",
        validator=matches_re(r"/[A-Za-z0-9._/-]{1,250}"),
    )
