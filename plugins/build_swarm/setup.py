"""Puts the parts of the build swarm together."""

from appliance.plugin import Core, Parts

from . import (
    admin_drone_routes,
    admin_routes,
    allowlist_routes,
    approval_routes,
    control_routes,
    drone_config_routes,
    drone_routes,
    fleet_routes,
    gone_routes,
    healing_routes,
    overview,
    own_page_routes,
    own_routes,
    ping_routes,
    profile_routes,
    provision_routes,
    read_routes,
    record_routes,
    ssh_setup,
    surfaces,
    terminal_routes,
)
from .binhost import documented_routes as binhost_documented_routes
from .binhost import file_routes as binhost_file_routes
from .binhost import own_routes as binhost_own_routes
from .binhost import setup as binhost_setup
from .build_logs import routes as log_routes
from .build_logs.service import BuildLogs
from .cleaning import Plans
from .drone_configs import DroneConfigs
from .drone_locks import DroneLocks
from .local import place
from .payloads import own_routes as payload_own_routes
from .payloads import page_routes as payload_page_routes
from .payloads import routes as payload_routes
from .payloads import setup as payload_setup
from .portage_tree.tree import tree_of
from .records.parts import records_of
from .state import SwarmState
from .swarm import Swarm
from .views import Views
from .way_in import WayIn

DECLARED = (
    admin_drone_routes,
    admin_routes,
    allowlist_routes,
    approval_routes,
    binhost_documented_routes,
    binhost_file_routes,
    binhost_own_routes,
    control_routes,
    drone_config_routes,
    drone_routes,
    fleet_routes,
    gone_routes,
    healing_routes,
    log_routes,
    own_page_routes,
    own_routes,
    payload_own_routes,
    payload_page_routes,
    payload_routes,
    ping_routes,
    profile_routes,
    provision_routes,
    read_routes,
    record_routes,
    terminal_routes,
)
"""Imported for the endpoints that they declare on the surfaces."""


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    swarm = Swarm(core, core.settings)
    swarm.tree = tree_of(core.settings)
    ssh_parts = ssh_setup.build(core, core.settings, swarm)
    binhost = binhost_setup.build(core, core.settings, swarm)
    build_logs = BuildLogs(core, core.settings)
    payloads = payload_setup.build(core, core.settings, swarm, ssh_parts.approvals, ssh_parts.ssh)
    drone_configs = DroneConfigs(core)
    swarm.cores_limit = drone_configs.cores_limit
    swarm.max_failures = drone_configs.max_failures
    ssh_parts.healing.may_reboot = drone_configs.may_reboot
    drone_locks = DroneLocks(core, swarm, ssh_parts.approvals, ssh_parts.ssh, drone_configs, core.settings)
    records = records_of(core, core.settings, swarm)
    local = place.drones(core, core.settings, swarm, binhost, build_logs)
    state = SwarmState(
        core=core,
        settings=core.settings,
        swarm=swarm,
        ssh_parts=ssh_parts,
        binhost=binhost,
        build_logs=build_logs,
        drone_configs=drone_configs,
        drone_locks=drone_locks,
        cleaning=Plans(),
        started_unix_us=core.now(),
        payloads=payloads,
        records=records,
        views=Views(swarm, core.now),
        way_in=WayIn(core.public_url, core.settings.orchestrator_name),
    )
    return Parts(
        surfaces=[surfaces.public.bind(state), surfaces.admin.bind(state), surfaces.own.bind(state)],
        services=[
            swarm,
            *ssh_parts.services,
            binhost,
            build_logs,
            payloads.work,
            *records.services,
            drone_locks,
            *local,
        ],
        readiness=[binhost_setup.readiness(binhost), *(one.readiness for one in local)],
        runs_as_us=place.runs_as_us(core.settings, core),
        panels=[overview.panel(swarm)],
        prometheus=[binhost_setup.section(binhost)],
    )
