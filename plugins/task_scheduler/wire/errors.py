"""How failures look here: ``{"error","message"}``, since the clients read the one or the other."""

from typing import Any

from appliance.plugin import Answer, ApplianceError, Head


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render any failure: its words as ``error`` and ``message``, with a hint and the field at fault where known."""
    words = error.message.removeprefix("$.")
    model: dict[str, Any] = {"error": words, "message": words}
    if error.hint:
        model["hint"] = error.hint
    if error.field:
        model["field"] = error.field.removeprefix("$.")
    return Answer(model=model, status=error.status, headers=error.headers)
