"""The appliance's own pages: setup, login, the live overview, events, people and plugins."""

from appliance.plugin import Core, Parts, hookimpl

from .routes import State, api

appliance_api = 1


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the pages; they hold no data and read everything from the API as whoever is logged in."""
    return Parts(surfaces=[api.bind(State())])
