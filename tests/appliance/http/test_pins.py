"""What we rely on inside hypercorn and h11; an upgrade that changes it fails here first."""

import inspect

import h11
import hypercorn.protocol.h11 as h11_protocol
import hypercorn.trio.task_group as task_group
from hypercorn.config import Config
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.worker_context import WorkerContext


def test_protocol_takes_the_arguments_we_give() -> None:
    names = list(inspect.signature(h11_protocol.H11Protocol).parameters)
    assert names == [
        "app", "config", "context", "task_group", "connection_state", "ssl", "client", "server", "send",
    ]  # fmt: skip


def test_protocol_has_the_methods_we_replace() -> None:
    for name in ("handle", "stream_send", "_handle_events", "_create_stream", "_maybe_recycle", "_check_protocol"):
        assert inspect.iscoroutinefunction(getattr(h11_protocol.H11Protocol, name))
    assert inspect.iscoroutinefunction(h11_protocol.H11Protocol._close_stream)
    source = inspect.getsource(h11_protocol.H11Protocol._create_stream)
    assert "H11WSConnection" in source
    assert "state=self.connection_state" in source


def test_task_group_has_the_nursery_we_bound() -> None:
    assert "_nursery" in vars(task_group.TaskGroup())
    assert "self._nursery.start_soon" in inspect.getsource(task_group.TaskGroup.spawn_app)
    assert "_send_pings" in inspect.getsource(WSStream)


def test_streams_copy_the_connections_state() -> None:
    for stream in (HTTPStream, WSStream):
        assert '"state": event.state.copy()' in inspect.getsource(stream.handle)


async def test_terminated_is_set_without_waiting() -> None:
    context = WorkerContext(None)
    coroutine = context.terminated.set()
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    else:
        raise AssertionError("the setter waits")
    assert context.terminated.is_set()


def test_configuration_has_the_settings_we_set() -> None:
    for name in (
        "h11_max_incomplete_size", "websocket_max_message_size", "websocket_ping_interval", "accesslog", "errorlog",
    ):  # fmt: skip
        assert hasattr(Config, name)


def test_h11_writes_headers_as_the_front_does() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    while connection.next_event() is not h11.NEED_DATA and connection.their_state is not h11.MUST_CLOSE:
        pass
    data = connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0"), (b"x-y", b"z")]))
    assert data == b"HTTP/1.1 200 \r\ncontent-length: 0\r\nx-y: z\r\nConnection: close\r\n\r\n"
