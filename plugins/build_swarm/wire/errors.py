"""How failures look on both documented servers: ``{"error","hint"}``."""

from typing import Any, Final

from appliance.plugin import Answer, ApplianceError, Head, NotAuthenticated

from .plain import plain

NOT_AUTHENTICATED: Final = "Admin authentication required"
KEY_HINT: Final = "send the key as X-Admin-Key (appliance token create admin-key makes one)"
DRONE_HINT: Final = (
    "let the drone's network in by open_to of [plugins.build_swarm], "
    "or send its token (appliance token create drone NAME)"
)
DRONE_PATHS: Final = frozenset(f"/api/v1/{name}" for name in ("complete", "poll", "register", "report", "work"))
"""What drones call, which have no key to send."""
_HINTS: Final = {404: "the endpoints are listed at /docs", 503: "try again in a moment"}


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render any failure: what is wrong, how to fix it, and the field at fault where known."""
    if isinstance(error, NotAuthenticated):
        hint = DRONE_HINT if head.path.rstrip("/") in DRONE_PATHS else KEY_HINT
        model: dict[str, Any] = {"error": NOT_AUTHENTICATED, "hint": _key_hint(error, hint)}
    else:
        words = error.message.removeprefix("$.")
        model = {"error": plain(words), "hint": plain(error.hint) or _HINTS.get(error.status, "see /docs")}
    if error.field:
        model["field"] = plain(error.field.removeprefix("$."))
    return Answer(model=model, status=error.status, headers=error.headers)


def _key_hint(error: NotAuthenticated, hint: str) -> str:
    said = f"{error.message}: {error.hint}" if error.hint else error.message
    return hint if said.startswith("a credential is needed") else f"{said}; {hint}"
