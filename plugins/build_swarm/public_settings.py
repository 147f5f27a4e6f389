"""Settings of the public surface."""

from attrs import frozen
from attrs.validators import max_len

from appliance.plugin import setting

from .models import ORCHESTRATOR


@frozen(kw_only=True, slots=False)
class PublicSettings:
    """What drones and clients of the public surface are told."""

    orchestrator_name: str = setting(
        ORCHESTRATOR, help="How the server calls itself to drones.", validator=max_len(255)
    )
