"""Quart around one mounted blueprint, started and stopped with the server."""

from typing import Any

import trio

from appliance.surface import Mount

BODY_BYTES = 1_048_576
STOP_SECONDS = 5.0


async def run_blueprint(mount: Mount, gone: trio.Event, *, task_status: trio.TaskStatus[Any]) -> None:
    """Run the blueprint's application until the last connection is ``gone``; ``started()`` carries it.

    Quart is imported here only: an appliance without blueprints never loads it.
    """
    from quart_trio import QuartTrio

    application: Any = QuartTrio(mount.target.import_name, static_folder=None)
    application.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    application.config["PROPAGATE_EXCEPTIONS"] = False
    application.register_blueprint(mount.target, url_prefix=mount.prefix.rstrip("/") or None)
    to_app, from_server = trio.open_memory_channel[dict[str, str]](2)
    to_server, from_app = trio.open_memory_channel[dict[str, str]](2)
    # Shielded: requests in flight still need it while the server drains, which is bounded.
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(application, {"type": "lifespan", "asgi": {}}, from_server.receive, to_server.send)
            await to_app.send({"type": "lifespan.startup"})
            answer = await from_app.receive()
            if answer["type"] != "lifespan.startup.complete":
                raise RuntimeError(f"blueprint {mount.prefix} failed to start: {answer.get('message', '')}")
            task_status.started(application)
            await gone.wait()
            scope.deadline = trio.current_time() + STOP_SECONDS
            await to_app.send({"type": "lifespan.shutdown"})
            await from_app.receive()
            nursery.cancel_scope.cancel()
