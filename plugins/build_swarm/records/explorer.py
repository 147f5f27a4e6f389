"""SQL for operators: any SELECT over views of the swarm's tables, and nothing else.

A query runs on a connection of its own that is opened read-only, sees the views of `explorer_views` as temporary ones
and asks an authorizer for each table, column and function before it runs: what is not a view of ours, or a column that
such a view reads, is refused. It is stopped after a while, and gives so many rows and bytes at most. It reads a
snapshot and holds no lock that a writer waits for.
"""

import math
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from appliance.plugin import BadInput, Forbidden

from .explorer_views import VIEWS, View

ROWS_MAX: Final = 1000
ANSWER_BYTES: Final = 4 * 2**20
QUERY_CHARACTERS: Final = 16_384
VALUE_BYTES: Final = 2**20
"""Of one text or blob, also within a query."""
STEPS_BETWEEN_LOOKS: Final = 2_000
FUNCTIONS: Final = frozenset(
    (
        "abs",
        "avg",
        "coalesce",
        "count",
        "date",
        "datetime",
        "glob",
        "group_concat",
        "hex",
        "ifnull",
        "iif",
        "instr",
        "json_array_length",
        "json_extract",
        "json_type",
        "json_valid",
        "julianday",
        "length",
        "like",
        "lower",
        "ltrim",
        "max",
        "min",
        "nullif",
        "replace",
        "round",
        "rtrim",
        "sign",
        "strftime",
        "substr",
        "substring",
        "sum",
        "time",
        "total",
        "trim",
        "typeof",
        "unicode",
        "unixepoch",
        "upper",
        "->",
        "->>",
        "row_number",
        "rank",
        "dense_rank",
        "lag",
        "lead",
        "first_value",
        "last_value",
        "ntile",
    )
)
"""What queries may call: nothing that makes large values of small ones, and nothing that reaches out of a query."""
LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 2 * QUERY_CHARACTERS,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_BLANK: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))*", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z]+")


@frozen(kw_only=True)
class Found:
    """What a query gave."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool
    """Whether there was more than is given."""


class TooSlow(BadInput):
    """A query ran longer than it may."""


@define(eq=False)
class Explorer:
    """Runs queries; each call blocks its thread."""

    path: Path
    """The database file."""
    seconds: float = 2.0
    views: Sequence[View] = VIEWS
    _readable: dict[str, frozenset[str]] = field(init=False)
    _names: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._names = frozenset(view.name for view in self.views)
        self._readable = {}

    def query(self, text: str) -> Found:
        """Run one SELECT.

        :raises Forbidden: it is none, or asks for what no view shows.
        :raises BadInput: it is no SQL, too long, or took too long.
        """
        check_is_select(text)
        with closing(self._open()) as connection:
            return self._run(connection, text)

    def tables(self) -> dict[str, int]:
        """Return how many rows each view has."""
        with closing(self._open()) as connection:
            counted = {}
            for view in sorted(self.views, key=lambda one: one.name):
                found = self._run(connection, f"SELECT count(*) FROM {view.name}")  # noqa: S608  our own names
                counted[view.name] = int(found.rows[0][0])
            return counted

    def schema(self) -> dict[str, list[str]]:
        """Return the columns of each view."""
        return {view.name: [name for name, _ in view.columns] for view in sorted(self.views, key=lambda one: one.name)}

    def _open(self) -> sqlite3.Connection:
        # immutable=0 and mode=ro: the log is read with the file, and nothing can be written whatever else fails.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, cached_statements=0
        )
        try:
            connection.execute("PRAGMA busy_timeout=1000")
            connection.execute("PRAGMA cache_size=-4000")
            self._readable = self._readable or _readable(connection, self.views)
            for view in self.views:
                connection.execute(f"CREATE TEMP VIEW {view.name} AS {view.select}")
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
            for limit, value in LIMITS.items():
                connection.setlimit(limit, value)
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            connection.set_authorizer(self._judge)
        except BaseException:
            connection.close()
            raise
        return connection

    def _judge(self, action: int, first: str | None, second: str | None, where: str | None, through: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            is_good = True
        elif action == sqlite3.SQLITE_FUNCTION:
            is_good = second is not None and second.lower() in FUNCTIONS
        elif action == sqlite3.SQLITE_READ and where == "temp":
            is_good = first in self._names
        elif action == sqlite3.SQLITE_READ and where == "main" and first in self._readable:
            # What a view reads is read through it, but for the rows alone (count), which name no view any more. A
            # query may call something of its own the same: that too reads only what views show anyway.
            is_good = not second or (through in self._names and second in self._readable[first])
        else:
            is_good = False
        return sqlite3.SQLITE_OK if is_good else sqlite3.SQLITE_DENY

    def _run(self, connection: sqlite3.Connection, text: str) -> Found:
        started = time.monotonic()
        connection.set_progress_handler(lambda: time.monotonic() - started > self.seconds, STEPS_BETWEEN_LOOKS)
        try:
            cursor = connection.execute(text)
            columns = tuple(each[0] for each in cursor.description or ())
            return _collected(cursor, columns)
        except sqlite3.Error as error:
            raise self._told(error) from error
        except (sqlite3.Warning, ValueError) as error:  # a NUL, or in Python 3.11 a second statement
            raise BadInput(str(error), field="q", hint="send one SELECT") from error

    def _told(self, error: sqlite3.Error) -> Exception:
        words = str(error)
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            return TooSlow(
                f"the query was stopped after {self.seconds:g} s", field="q", hint="ask for less: WHERE, LIMIT"
            )
        is_denied = "prohibited" in words or "not authorized" in words
        if is_denied or getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
            return Forbidden(f"not allowed here: {words}", hint=f"only SELECT, from {', '.join(sorted(self._names))}")
        return BadInput(words, field="q", hint="GET /api/v1/sql/schema lists the tables and their columns")


def check_is_select(text: str) -> None:
    """Raise `Forbidden` for what does not begin as a SELECT does, and `BadInput` for what is too long."""
    if len(text) > QUERY_CHARACTERS:
        raise BadInput(f"a query has at most {QUERY_CHARACTERS} characters", field="q")
    begins = _BLANK.match(text)
    word = _WORD.match(text, begins.end() if begins else 0)
    if word is None and not text.strip():
        raise BadInput("no query", field="q", hint="such as /api/v1/sql/query?q=SELECT * FROM queue")
    if word is None or word[0].upper() not in {"SELECT", "WITH"}:
        raise Forbidden("Only SELECT queries are allowed", hint="such as SELECT * FROM queue LIMIT 50")


def _readable(connection: sqlite3.Connection, views: Sequence[View]) -> dict[str, frozenset[str]]:
    """Return the columns of each table that views show."""
    found: dict[str, set[str]] = {}

    def note(action: int, table: str | None, column: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ and table is not None and table.startswith("build_swarm_"):
            found.setdefault(table, set()).add(column or "")
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    for view in views:
        connection.execute(f"{view.select} LIMIT 0").fetchall()
    connection.set_authorizer(None)
    return {table: frozenset(columns) for table, columns in found.items()}


def _collected(cursor: sqlite3.Cursor, columns: tuple[str, ...]) -> Found:
    rows: list[tuple[Any, ...]] = []
    left = ANSWER_BYTES
    for row in cursor:
        shown = tuple(_shown(value) for value in row)
        left -= sum(len(value) if isinstance(value, str) else 8 for value in shown)
        if len(rows) == ROWS_MAX or left < 0:
            return Found(columns=columns, rows=tuple(rows), is_cut=True)
        rows.append(shown)
    return Found(columns=columns, rows=tuple(rows), is_cut=False)


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and not math.isfinite(value) else value
