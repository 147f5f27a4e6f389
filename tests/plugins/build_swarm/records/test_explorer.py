"""Operators ask for anything that the swarm's views show, and by no trick for anything else."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.credentials import store as credential_store
from appliance.credentials.kinds import Kind
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.plugin import BadInput, Forbidden, unix_now_us
from plugins.build_swarm.records.explorer import ANSWER_BYTES, QUERY_CHARACTERS, ROWS_MAX, Explorer, TooSlow
from plugins.build_swarm.records.explorer_views import VIEWS
from plugins.build_swarm.schema import MIGRATIONS

OTHERS = (
    "CREATE TABLE machine_registry_machine (machine_id TEXT, token TEXT)",
    # Of the very name that one of our views has.
    "CREATE TABLE sessions (token TEXT)",
)
SECRET = "not-for-any-query"


def add(number: int, connection: sqlite3.Connection) -> None:
    """Add a package; what is not named is empty."""
    columns = connection.execute("PRAGMA table_info(build_swarm_package)").fetchall()
    values = {name: {"TEXT": "", "INTEGER": 0}[kind] for _, name, kind, needed, *_ in columns if needed}
    values |= {"package_id": number, "atom": f"=dev-libs/a-{number}", "session_id": "s-1", "state": "needed"}
    values |= {"queued_unix_us": 1_000_000}
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(f"INSERT INTO build_swarm_package ({names}) VALUES ({marks})", values)


@pytest.fixture
async def explorer(tmp_path: Path) -> AsyncIterator[Explorer]:
    migrations = {credential_store.OWNER: credential_store.MIGRATIONS, "build_swarm": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations) as database:
        credentials = await Credentials.load(database, now=unix_now_us)
        await credentials.create(Kind.DRONE, subject="drone-01")

        def fill(connection: sqlite3.Connection) -> None:
            for other in OTHERS:
                connection.execute(other)
            connection.execute("INSERT INTO machine_registry_machine VALUES ('m', :secret)", {"secret": SECRET})
            connection.execute("INSERT INTO sessions VALUES (:secret)", {"secret": SECRET})
            for number in range(3):
                add(number + 1, connection)

        await database.write(fill)
        yield Explorer(tmp_path / "a.db")


async def test_queries_read_views_with_joins_figures_and_common_tables(explorer: Explorer) -> None:
    found = explorer.query("SELECT id, package, created_at FROM queue ORDER BY id DESC LIMIT 2")
    assert found.columns == ("id", "package", "created_at")
    assert found.rows == ((3, "=dev-libs/a-3", 1.0), (2, "=dev-libs/a-2", 1.0))
    joined = """
        -- what each session waits for
        WITH waiting AS (SELECT session_id, count(*) AS n FROM queue WHERE status = 'needed' GROUP BY session_id)
        SELECT w.n, upper(q.status), s.name FROM waiting w JOIN queue q USING (session_id)
        LEFT JOIN sessions s ON s.id = w.session_id GROUP BY 1, 2, 3"""
    assert explorer.query(joined).rows == ((3, "NEEDED", None),)
    assert explorer.query("select count(*) from drone_allowlist where protected;").rows == ((7,),)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_every_view_can_be_read_whole(explorer: Explorer, view: object) -> None:
    name = view.name  # type: ignore[attr-defined]
    assert list(explorer.query(f"SELECT * FROM {name}").columns) == explorer.schema()[name]
    assert name in explorer.tables()


TRICKS = {
    "only a comment": "-- SELECT 1",
    "credentials": "SELECT * FROM credentials_credential",
    "credentials by schema": "SELECT * FROM main.credentials_credential",
    "credentials joined": "SELECT * FROM queue, credentials_credential",
    "credentials in a subquery": "SELECT (SELECT group_concat(subject) FROM credentials_credential)",
    "credentials by a name of ours": "WITH queue AS (SELECT * FROM credentials_credential) SELECT * FROM queue",
    "credentials by an alias of ours": "SELECT * FROM (SELECT * FROM credentials_credential) AS queue",
    "another plugin's table": "SELECT token FROM machine_registry_machine",
    "another plugin's by a name of ours": "WITH nodes AS (SELECT * FROM machine_registry_machine) SELECT * FROM nodes",
    "another's table of our view's name": "SELECT * FROM main.sessions",
    "in ORDER BY": "SELECT 1 FROM queue ORDER BY (SELECT token FROM machine_registry_machine)",
    "in EXISTS": "SELECT 1 WHERE EXISTS (SELECT 1 FROM machine_registry_machine)",
    "count alone": "SELECT count(*) FROM machine_registry_machine",
    "union": "SELECT package FROM queue UNION SELECT token FROM machine_registry_machine",
    "a table behind a view": "SELECT * FROM build_swarm_package",
    "a column that no view shows": "WITH queue AS (SELECT avoided_drones FROM build_swarm_package) SELECT * FROM queue",
    "the schema": "SELECT sql FROM sqlite_master",
    "the schema of views": "SELECT sql FROM sqlite_temp_master",
    "the schema of a view's database": "SELECT sql FROM temp.sqlite_master",
    "migrations": "SELECT * FROM database_migration",
    "a pragma as a table": "SELECT * FROM pragma_database_list",
    "columns by a pragma": "SELECT * FROM pragma_table_info('credentials_credential')",
    "an extension": "SELECT load_extension('/tmp/x.so')",
    "much memory": "SELECT zeroblob(1000000000)",
    "much memory by format": "SELECT printf('%.*c', 1000000000, 'x')",
    "random": "SELECT randomblob(100)",
    "no end": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    "insert": "INSERT INTO queue VALUES (1)",
    "delete behind WITH": "WITH x AS (SELECT 1) DELETE FROM build_swarm_package",
    "update behind WITH": "WITH x AS (SELECT 1) UPDATE build_swarm_package SET atom = 'x'",
    "insert behind WITH": "WITH x AS (SELECT 1) INSERT INTO build_swarm_config VALUES ('a', 'b', 0)",
    "pragma": "PRAGMA query_only = OFF",
    "pragma behind a comment": "/* SELECT */ PRAGMA query_only = OFF",
    "attach": "ATTACH DATABASE '/tmp/other.db' AS other",
    "vacuum into": "VACUUM INTO '/tmp/copy.db'",
    "explain": "EXPLAIN SELECT * FROM credentials_credential",
    "drop": "DROP VIEW queue",
    "transaction": "BEGIN EXCLUSIVE",
    "values": "VALUES (1)",
}
WRONG = {
    "a table function": "SELECT * FROM json_each('[1]')",
    "the statistics of pages": "SELECT * FROM dbstat",
    "a file": "SELECT readfile('/etc/passwd')",
    "two statements": "SELECT 1; DROP TABLE build_swarm_package",
    "two behind a comment": "SELECT 1 /* ; */; DELETE FROM build_swarm_package",
    "NUL": "SELECT 1\0; DELETE FROM build_swarm_package",
    "nothing": "  ",
    "no SQL": "SELECT FROM WHERE",
    "no such table": "SELECT * FROM nothing",
    "deep": "SELECT " + "(" * 500 + "1" + ")" * 500,
    "long": "SELECT 1 -- " + "x" * QUERY_CHARACTERS,
    "wide": "SELECT " + ", ".join(["1"] * 300),
    "half a character": "SELECT '\ud800'",
}


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as direct:
        return list(direct.iterdump())


@pytest.mark.parametrize("query", TRICKS.values(), ids=TRICKS)
async def test_whatever_is_no_select_from_views_is_refused_and_changes_nothing(explorer: Explorer, query: str) -> None:
    before = dump(explorer.path)
    with pytest.raises(Forbidden) as refused:
        explorer.query(query)
    assert SECRET not in refused.value.message
    assert dump(explorer.path) == before


@pytest.mark.parametrize("query", WRONG.values(), ids=WRONG)
async def test_what_is_no_sql_or_too_much_of_it_is_bad_input(explorer: Explorer, query: str) -> None:
    before = dump(explorer.path)
    with pytest.raises(BadInput):
        explorer.query(query)
    assert dump(explorer.path) == before


async def test_query_that_takes_too_long_is_stopped(explorer: Explorer) -> None:
    explorer.seconds = 0.1
    many = ", ".join(f"drone_allowlist AS a{number}" for number in range(8))
    with pytest.raises(TooSlow, match="stopped after"):
        explorer.query(f"SELECT count(*) FROM {many}")


async def test_rows_and_bytes_of_an_answer_are_bounded(explorer: Explorer) -> None:
    many = explorer.query("SELECT 1 FROM drone_allowlist a, drone_allowlist b, drone_allowlist c")
    assert (len(many.rows), many.is_cut) == (ROWS_MAX, True)
    grown = "replace(" * 13 + "'xxxxxxxxxx'" + ", 'x', 'xxx')" * 13
    with pytest.raises(BadInput, match="too big"):
        explorer.query(f"SELECT {grown}")
    large = "replace(" * 9 + "'xxxxxxxxxx'" + ", 'x', 'xxx')" * 9
    found = explorer.query(f"SELECT {large} FROM drone_allowlist a, drone_allowlist b")
    assert found.is_cut
    assert len(found.rows) == ANSWER_BYTES // (10 * 3**9)


async def test_a_long_query_lets_others_write(tmp_path: Path, explorer: Explorer) -> None:
    explorer.seconds = 600.0
    started, over = trio.Event(), False
    many = ", ".join(f"drone_allowlist AS a{number}" for number in range(12))

    def ask() -> None:
        trio.from_thread.run_sync(started.set)
        with pytest.raises(TooSlow):
            explorer.query(f"SELECT count(*) FROM {many}")

    async with Database.open(tmp_path / "a.db") as database, trio.open_nursery() as nursery:

        async def asks() -> None:
            nonlocal over
            await trio.to_thread.run_sync(ask)
            over = True

        nursery.start_soon(asks)
        await started.wait()
        for number in range(5):
            await database.write(partial(add, 100 + number))
        assert not over
        explorer.seconds = 0.0


PIECES = (
    *("SELECT", "WITH", "FROM", "WHERE", "UNION", "AS", "(", ")", "*", ",", ";", "--", "/*", "*/", "'", '"', "1", "x"),
    *(
        "queue",
        "nodes",
        "sessions",
        "main.sessions",
        "credentials_credential",
        "machine_registry_machine",
        "sqlite_master",
    ),
    *("token", "secret_sha256", "subject", "count(*)", "group_concat(token)", "JOIN", "USING", "IN", "EXISTS", "NOT"),
    *(
        "DELETE",
        "UPDATE",
        "INSERT",
        "ATTACH",
        "PRAGMA",
        "EXPLAIN",
        "RECURSIVE",
        "load_extension('x')",
        "temp.",
        "main.",
    ),
)


async def test_no_order_of_words_reads_or_changes_what_is_not_ours(explorer: Explorer) -> None:
    before = dump(explorer.path)

    @given(st.lists(st.sampled_from(PIECES), max_size=14))
    @settings(max_examples=200)
    def ask(words: list[str]) -> None:
        try:
            found = explorer.query(" ".join(words))
        except (Forbidden, BadInput):
            return
        assert SECRET not in str(found.rows)

    ask()
    assert dump(explorer.path) == before
