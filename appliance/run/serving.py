"""``appliance serve``: one process, its signals, its exit status."""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import structlog
import trio

from appliance import log as logging
from appliance.config import core_settings, read_document
from appliance.errors import BadConfiguration
from appliance.run.failures import leaves, told_in_words
from appliance.run.options import Options
from appliance.run.whole import Running, run_appliance
from appliance.settings import Settings
from appliance.systemd import Notifier

log = structlog.get_logger(__name__)

STATUS_CONFIGURATION = 2
STATUS_FAILED = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(data_dir: Path, config_file: Path | None = None, listen: Sequence[str] = ()) -> int:
    """Run the appliance until it is asked to stop; return the exit status: 0, 1 failed, 2 configuration.

    Asked a second time it does not return: the process ends by that signal, so that whoever started it sees (as -15, or
    143 in a shell) that it did not stop in order. Service managers take SIGTERM and SIGINT for a clean end.
    """
    os.umask(0o077)  # whatever we or a plugin write is for nobody else
    notifier = Notifier.from_environment(os.environ)
    options = Options(
        data_dir=data_dir,
        config_file=config_file,
        listen=tuple(listen),
        say=_say,
        notifier=notifier,
        takes_signals=True,
    )
    level = ["info"]
    try:
        settings, _ = core_settings(read_document(config_file), environment=options.environment, listen=listen)
        level[0] = settings.log.level
        logging.configure(level=lambda: level[0], form=settings.log.format)
        gc.freeze()  # what is imported stays: the collector need not walk it again and again
        trio.run(_serve, options, level)
    except BaseException as error:
        return _told(error)
    return 0


async def _serve(options: Options, level: list[str]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_take_signals, nursery, options, level)


async def _take_signals(
    nursery: trio.Nursery, options: Options, level: list[str], *, task_status: trio.TaskStatus[None]
) -> None:
    """Start the appliance and pass signals on: the first SIGTERM or SIGINT stops in order, the second at once."""
    with trio.open_signal_receiver(*STOP_SIGNALS, signal.SIGHUP) as signals:
        task_status.started()
        running: list[Running] = []
        nursery.start_soon(_run, nursery, options, level, running)
        asked = False
        async for number in signals:
            if number == signal.SIGHUP:
                await _reload(running)
            elif asked:
                _end_at_once(number)
            elif not running:
                nursery.cancel_scope.cancel()
                return
            else:
                asked = True
                running[0].state.stop()


def _end_at_once(number: int) -> None:
    """Die of the signal: whatever was acknowledged is on disk, and who asks twice does not want to wait."""
    log.warning("stopped_at_once", signal=signal.Signals(number).name)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


async def _run(nursery: trio.Nursery, options: Options, level: list[str], running: list[Running]) -> None:
    async with trio.open_nursery() as inner:
        one = await inner.start(run_appliance, options)
        one.settings.watch(partial(_set_level, level))
        running.append(one)
    nursery.cancel_scope.cancel()  # it has stopped: nothing is left to take signals for


def _set_level(level: list[str], settings: Settings) -> None:
    level[0] = settings.log.level


async def _reload(running: list[Running]) -> None:
    if not running:
        return
    try:
        await running[0].state.reload()
    except BadConfiguration as error:
        for problem in error.problems:
            log.error("config.refused", problem=str(problem))  # noqa: TRY400  the problem is what to read


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(line, flush=True)


def _told(error: BaseException) -> int:
    """Tell why the start failed, and return the exit status; a failure of ours keeps its traceback."""
    first = told_in_words(error)
    if first is None:
        if all(isinstance(one, KeyboardInterrupt | trio.Cancelled) for one in leaves(error)):
            return 0
        raise error
    if isinstance(first, BadConfiguration):
        for problem in first.problems:
            print(problem, file=sys.stderr)
        return STATUS_CONFIGURATION
    print(f"error: {first.message}", file=sys.stderr)
    if first.hint:
        print(f" hint: {first.hint}", file=sys.stderr)
    return STATUS_FAILED
