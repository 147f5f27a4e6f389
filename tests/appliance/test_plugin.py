"""What a plugin imports is enough to give out credentials together with rows of its own."""

import sqlite3
from pathlib import Path

import appliance.plugin as plugin
from appliance.credentials import store as credential_store
from appliance.credentials.store import Credentials
from appliance.plugin import Kind, Minted, consume_credential, insert_credential, mint_credential, revoke_credential

US = 1_000_000
NOW = 1_795_000_000 * US


async def test_plugin_mints_consumes_and_revokes_within_its_own_write(tmp_path: Path) -> None:
    tables = {credential_store.OWNER: credential_store.MIGRATIONS}
    async with plugin.Database.open(tmp_path / "a.db", inline=True, migrations=tables) as database:
        credentials = await Credentials.load(database, now=lambda: NOW)
        minted = mint_credential(Kind.JOIN, now_unix_us=NOW, uses=2)
        assert isinstance(minted, Minted)

        def write(connection: sqlite3.Connection) -> None:
            insert_credential(connection, minted)

        await database.write(write, on_commit=lambda _: credentials.remember(minted))
        assert credentials.find(minted.secret) is not None

        def use(connection: sqlite3.Connection) -> bool:
            used = consume_credential(connection, minted.secret, [Kind.JOIN], now_unix_us=NOW)
            return used is not None and revoke_credential(connection, minted.credential.credential_id, now_unix_us=NOW)

        assert await database.write(use)
        assert not await database.write(
            lambda connection: bool(consume_credential(connection, minted.secret, [Kind.JOIN], now_unix_us=NOW))
        )
