"""The appliance's own pages: for logging in, its host, machines, sharing, tasks, the swarm, people and plugins."""

from appliance.plugin import Core, Parts, hookimpl

from .assets import read_assets
from .routes import api, front

appliance_api = 1


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the pages; they hold no data and read everything from the API as whoever is logged in."""
    read_assets()  # an incomplete installation is told at the start, not to the first browser
    return Parts(surfaces=[api.bind(None)], front_page=front)
