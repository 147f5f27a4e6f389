"""How failures look on both documented servers: ``{"error","hint"}``."""

from typing import Any, Final

from appliance.plugin import Answer, ApplianceError, Head, NotAuthenticated

from .plain import plain

NOT_AUTHENTICATED: Final = "Admin authentication required"
KEY_HINT: Final = "send the key as X-Admin-Key (appliance token create admin-key makes one)"
_HINTS: Final = {404: "the endpoints are listed at /docs", 503: "try again in a moment"}


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render any failure: what is wrong, how to fix it, and the field at fault where known."""
    if isinstance(error, NotAuthenticated):
        model: dict[str, Any] = {"error": NOT_AUTHENTICATED, "hint": _key_hint(error)}
    else:
        words = error.message.removeprefix("$.")
        model = {"error": plain(words), "hint": plain(error.hint) or _HINTS.get(error.status, "see /docs")}
    if error.field:
        model["field"] = plain(error.field.removeprefix("$."))
    return Answer(model=model, status=error.status, headers=error.headers)


def _key_hint(error: NotAuthenticated) -> str:
    said = f"{error.message}: {error.hint}" if error.hint else error.message
    return KEY_HINT if said.startswith("a credential is needed") else f"{said}; {KEY_HINT}"
