"""What the log writes, and that it never breaks what writes to it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from appliance import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before, handlers, level = structlog.get_config(), logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_json_lines_have_event_level_time_and_what_was_given() -> None:
    stream = io.StringIO()
    log.configure(level=lambda: "info", form="json", stream=stream)
    structlog.get_logger().info("gpu.lost", gpu="GPU-1", odd=object)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["gpu"]) == ("gpu.lost", "info", "GPU-1")
    assert line["at"].endswith("Z")


def test_a_level_that_changes_counts_from_the_next_line() -> None:
    stream, level = io.StringIO(), ["info"]
    log.configure(level=lambda: level[0], form="json", stream=stream)
    logger = structlog.get_logger()
    logger.debug("one")
    logger.info("two")
    level[0] = "warning"
    logger.info("three")
    logger.warning("four")
    level[0] = "debug"
    logger.debug("five")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["two", "four", "five"]


def test_a_traceback_is_one_line_of_json() -> None:
    stream = io.StringIO()
    log.configure(level=lambda: "info", form="json", stream=stream)
    try:
        int("no")
    except ValueError:
        structlog.get_logger().exception("failed")
    [line] = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_text_is_for_people_and_auto_is_json_away_from_a_terminal() -> None:
    stream = io.StringIO()
    log.configure(level=lambda: "info", form="text", stream=stream)
    structlog.get_logger().info("gpu.lost", gpu="GPU-1")
    assert "gpu.lost" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    stream = io.StringIO()
    log.configure(level=lambda: "info", stream=stream)
    structlog.get_logger().info("gpu.lost")
    assert stream.getvalue().startswith("{")


def test_a_traceback_for_people_shows_no_values_of_variables() -> None:
    stream = io.StringIO()
    log.configure(level=lambda: "info", form="text", stream=stream)
    password = "correct horse"
    try:
        int(password[:0])
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError" in stream.getvalue()
    assert password not in stream.getvalue()


def test_the_standard_librarys_log_comes_out_the_same_way() -> None:
    stream = io.StringIO()
    log.configure(level=lambda: "info", form="json", stream=stream)
    logging.getLogger("other").warning("told %s", "this")
    logging.getLogger("other").info("not this")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["told this"]


def test_a_reader_that_has_gone_away_costs_lines_and_nothing_else() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    log.configure(level=lambda: "info", form="json", stream=Gone())
    structlog.get_logger().info("anything")
