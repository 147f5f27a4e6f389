"""Paths of the generation before, answered 410: its gateway and orchestrators are one server now."""

from typing import Any, Final

from appliance.plugin import Call, Gone

from .surfaces import READERS, public

PATHS: Final = ("/api/v1/orchestrators", "/api/v2/{path:path}")


async def gone(call: Call[Any]) -> None:
    """Say that this is the generation before's, and where it is now."""
    raise Gone(
        f"{call.head.path[:200]} was the gateway's of the generation before",
        hint="there is one server now, with everything under /api/v1: see /docs",
    )


for _path in PATHS:
    for _declare in (public.get, public.post, public.put, public.delete):
        _declare(_path, caller=READERS, access="open", audit=False)(gone)
