"""The whole appliance: what starts in which order, and stops in the reverse one."""

from appliance.run.options import Options
from appliance.run.serving import serve
from appliance.run.whole import Running, run_appliance

__all__ = ["Options", "Running", "run_appliance", "serve"]
