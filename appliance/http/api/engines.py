"""``GET /api/appliance/engines``: how each task engine is doing, which one takes tasks, and why."""

from msgspec import Struct

from appliance.credentials.kinds import PERSON, Role
from appliance.errors import NotAvailable
from appliance.http.api.state import CoreState
from appliance.surface import Call, Surface

api = Surface("core", prefixes=("/api/appliance/engines",), unknown_fields="refuse")


class EngineItem(Struct, frozen=True, kw_only=True):
    """One engine, as it was at its last look."""

    name: str
    state: str
    """``starting``, ``ok``, ``absent`` (this host has nothing that it could use) or ``unavailable``."""
    message: str
    hint: str
    """What to do; empty where nothing is to be done."""
    features: list[str]
    """Of ``gpu``, ``pull``, ``network``, ``storage_limit``, ``remote``."""
    unsafe: str
    """What it cannot keep apart from the appliance itself; empty when it can."""


class EnginePage(Struct, frozen=True, kw_only=True):
    """The engines, in order of preference."""

    items: list[EngineItem]
    choice: str
    """Which engine takes tasks that name none, and why not one before it."""
    problem: str | None
    """Why tasks that wait cannot start; ``null`` when all is well."""
    next: int | None = None


@api.get("/api/appliance/engines", caller=PERSON, role=Role.VIEWER, answer=EnginePage)
async def engines(call: Call[None]) -> EnginePage:
    """Say how each engine is doing; the first that works takes tasks that name none."""
    state: CoreState = call.state
    if state.scheduler is None:
        raise NotAvailable("not available because tasks are not scheduled here")
    return EnginePage(
        items=[
            EngineItem(
                name=one.name,
                state=one.state,
                message=one.message,
                hint=one.hint,
                features=sorted(one.features),
                unsafe=one.unsafe,
            )
            for one in state.scheduler.engines()
        ],
        choice=state.scheduler.choice,
        problem=state.scheduler.problem,
    )
