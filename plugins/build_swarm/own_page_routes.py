"""Our own endpoint for the terminal of the pages: a listener may serve our own API and not the documented admin API."""

from typing import Final

from appliance.plugin import Role

from .surfaces import KEYED, own
from .terminal_routes import TerminalQuery, admit, terminal

TERMINAL: Final = "/api/appliance/swarm/drones/{name}/terminal"

own.websocket(TERMINAL, caller=KEYED, role=Role.OPERATOR, query=TerminalQuery, admit=admit)(terminal)
