"""The paths of the pages; all are public, since a page says nothing before the API knows who asks."""

from typing import Final
from urllib.parse import quote, urlencode

from appliance.plugin import Answer, Call, Kind, Redirect, Surface

from .assets import read_assets
from .pages import page

ANYONE: Final = frozenset(Kind)

api = Surface("dashboard", prefixes=("/ui",), slash="both", trust=False, pages=True)


async def front(call: Call[None]) -> Answer | Redirect:
    """Show the overview."""
    return _for_people(call, "overview")


@api.get("/login", caller=ANYONE, access="public")
async def login(call: Call[None]) -> Answer:
    """Show the login page."""
    return page("login")


@api.get("/setup", caller=ANYONE, access="public")
async def setup(call: Call[None]) -> Answer:
    """Show the page that makes the first account; its one-time token stays in the browser's fragment."""
    return page("setup")


@api.get("/ui/reset", caller=ANYONE, access="public")
async def reset(call: Call[None]) -> Answer:
    """Show the page that sets a new password, for the holder of a one-time link."""
    return page("reset")


@api.get("/ui/people", caller=ANYONE, access="public")
async def people(call: Call[None]) -> Answer | Redirect:
    """Show people and tokens."""
    return _for_people(call, "people")


@api.get("/ui/plugins", caller=ANYONE, access="public")
async def plugins(call: Call[None]) -> Answer | Redirect:
    """Show plugins and their states."""
    return _for_people(call, "plugins")


@api.get("/ui/events", caller=ANYONE, access="public")
async def events(call: Call[None]) -> Answer | Redirect:
    """Show what has happened."""
    return _for_people(call, "events")


@api.get("/ui/servers", caller=ANYONE, access="public")
async def servers(call: Call[None]) -> Answer | Redirect:
    """Show every monitored server."""
    return _for_people(call, "servers")


@api.get("/ui/servers/{slug}", caller=ANYONE, access="public")
async def server(call: Call[None]) -> Answer | Redirect:
    """Show one server; whether there is one of that name its script finds out."""
    return _for_people(call, "server")


@api.get("/ui/machines", caller=ANYONE, access="public")
async def machines(call: Call[None]) -> Answer | Redirect:
    """Show every registered machine and the pools."""
    return _for_people(call, "machines")


@api.get("/ui/machines/{machine_id}", caller=ANYONE, access="public")
async def machine(call: Call[None]) -> Answer | Redirect:
    """Show one machine, with ``?pool=`` and ``?provider=`` where its id is in several; its script finds it."""
    return _for_people(call, "machine")


@api.get("/ui/sharing", caller=ANYONE, access="public")
async def sharing(call: Call[None]) -> Answer | Redirect:
    """Show shares, workers and agents of GPU sharing, and what was used."""
    return _for_people(call, "sharing")


@api.get("/ui/tasks", caller=ANYONE, access="public")
async def tasks(call: Call[None]) -> Answer | Redirect:
    """Show container tasks, schedules and what they run on."""
    return _for_people(call, "tasks")


@api.get("/ui/tasks/{task_id}", caller=ANYONE, access="public")
async def task(call: Call[None]) -> Answer | Redirect:
    """Show one task with its log and files; its script finds it."""
    return _for_people(call, "task")


@api.get("/ui/swarm", caller=ANYONE, access="public")
async def swarm(call: Call[None]) -> Answer | Redirect:
    """Show the build swarm: its session, what is built, and the queue."""
    return _for_people(call, "swarm")


@api.get("/ui/swarm/drones", caller=ANYONE, access="public")
async def swarm_drones(call: Call[None]) -> Answer | Redirect:
    """Show every drone."""
    return _for_people(call, "swarm_drones")


@api.get("/ui/swarm/drones/{name}", caller=ANYONE, access="public")
async def swarm_drone(call: Call[None]) -> Answer | Redirect:
    """Show one drone with its builds and their logs; its script finds it."""
    return _for_people(call, "swarm_drone")


@api.get("/ui/swarm/drones/{name}/terminal", caller=ANYONE, access="public")
async def swarm_terminal(call: Call[None]) -> Answer | Redirect:
    """Show a terminal on one drone; whether it may be opened its script finds out."""
    return _for_people(call, "swarm_terminal")


@api.get("/ui/swarm/history", caller=ANYONE, access="public")
async def swarm_history(call: Call[None]) -> Answer | Redirect:
    """Show sessions and builds."""
    return _for_people(call, "swarm_history")


@api.get("/ui/swarm/payloads", caller=ANYONE, access="public")
async def swarm_payloads(call: Call[None]) -> Answer | Redirect:
    """Show what is deployed on drones."""
    return _for_people(call, "swarm_payloads")


@api.get("/ui/swarm/releases", caller=ANYONE, access="public")
async def swarm_releases(call: Call[None]) -> Answer | Redirect:
    """Show releases of the binary host."""
    return _for_people(call, "swarm_releases")


@api.get("/ui/swarm/events", caller=ANYONE, access="public")
async def swarm_events(call: Call[None]) -> Answer | Redirect:
    """Show what has happened in the swarm."""
    return _for_people(call, "swarm_events")


@api.get("/admin", caller=ANYONE, access="public")
async def admin(call: Call[None]) -> Redirect:
    """Lead whoever looks for servers where the documentation of agents has them to our page of servers.

    This path alone, with and without its slash: what lies below it is for programs and not ours.
    """
    return Redirect(location="/ui/servers")


@api.get("/ui/static/{path:path}", caller=ANYONE, access="public")
async def static(call: Call[None]) -> Answer:
    """Send a script, a style sheet or the icon."""
    return _asset(call, call.path["path"])


@api.get("/favicon.ico", caller=ANYONE, access="public")
async def favicon(call: Call[None]) -> Answer:
    """Give the icon to whoever asks for it by its old name."""
    return _asset(call, "favicon.svg")


def _for_people(call: Call[None], name: str) -> Answer | Redirect:
    """Answer with a page, or lead a browser without a session to login before it loads what it could not fill."""
    if call.caller.kind is Kind.ANONYMOUS:
        query = call.head.raw_query.decode("latin-1")
        back = f"{quote(call.head.path)}?{query}" if query else quote(call.head.path)
        return Redirect(location=f"/login?{urlencode({'next': back})}")
    return page(name)


def _asset(call: Call[None], name: str) -> Answer:
    return read_assets().answer(name, call.head.header(b"if-none-match"))
