"""``appliance swarm approve`` at a terminal; what it does beside a running appliance is in tests/wire."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest
from attrs import define, field

from plugins.build_swarm.approval_commands import confirmed
from plugins.build_swarm.commands import parser


@define
class Said:
    """The ways to print of a command."""

    lines: list[str] = field(factory=list)

    def say(self, text: str, **how: Any) -> None:
        self.lines.append(text)

    def fail(self, message: str, *, hint: str = "") -> Exception:
        return RuntimeError(f"{message} ({hint})")


@contextmanager
def keyboard(typed: str) -> Iterator[TextIO]:
    """A terminal at which somebody has typed."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, typed.encode())
        with os.fdopen(theirs, "r") as read:
            yield read
    finally:
        os.close(ours)


@pytest.mark.parametrize(
    ("typed", "is_sure"), [("y\n", True), ("YES\n", True), ("\n", False), ("no\n", False), ("yesterday\n", False)]
)
def test_host_key_is_taken_only_from_who_says_yes(typed: str, is_sure: bool) -> None:
    api = Said()
    with keyboard(typed) as read:
        assert confirmed(api, read) is is_sure  # type: ignore[arg-type]
    assert "Is that what `ssh-keygen -lf` says on the drone?" in api.lines[0]


def test_nobody_is_asked_where_nobody_can_answer() -> None:
    with pytest.raises(RuntimeError, match="give --fingerprint"):
        confirmed(Said(), io.StringIO("y\n"))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [["--type", "toaster"], ["--port", "x"], ["--yes", "--fingerprint", "SHA256:x"]])
def test_wrong_usage_ends_with_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["approve", "drone-01", *wrong])
    assert caught.value.code == 2
