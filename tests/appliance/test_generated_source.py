"""What attrs keeps for debuggers is let go of, and nothing else is."""

import linecache
from pathlib import Path

from attrs import define

from appliance.generated_source import forget_generated_source


def test_source_of_generated_methods_is_forgotten_and_the_methods_stay(tmp_path: Path) -> None:
    @define
    class Point:
        x: int

    file = tmp_path / "written.py"
    file.write_text("written = 1\n")
    assert linecache.getline(str(file), 1) == "written = 1\n"
    assert any("Point" in name for name in linecache.cache)

    forget_generated_source()
    assert not any(name.startswith("<attrs") for name in linecache.cache)
    assert str(file) in linecache.cache
    assert Point(1) == Point(1)
    assert repr(Point(2)).endswith("Point(x=2)")
