"""The one table of credentials, and every statement on it."""

from appliance.migrations import Migration

OWNER = "credentials"

MIGRATIONS = (
    Migration(
        version=1,
        name="credentials",
        sql="""
CREATE TABLE credentials_credential (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  credential_id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  scope TEXT NOT NULL,
  scopes TEXT NOT NULL,
  label TEXT NOT NULL,
  secret_sha256 BLOB NOT NULL UNIQUE,
  prefix TEXT NOT NULL,
  created_unix_us INTEGER NOT NULL,
  expires_unix_us INTEGER,
  uses_left INTEGER CHECK (uses_left >= 0),
  last_used_unix_us INTEGER,
  revoked_unix_us INTEGER
) STRICT;
CREATE INDEX credentials_credential_subject ON credentials_credential (subject, kind);
""",
    ),
)

COLUMNS = """credential_id, kind, subject, scope, scopes, label, prefix, created_unix_us, expires_unix_us, uses_left,
 last_used_unix_us, revoked_unix_us, secret_sha256, number"""
INSERT = """
INSERT INTO credentials_credential (credential_id, kind, subject, scope, scopes, label, prefix, created_unix_us,
 expires_unix_us, uses_left, secret_sha256)
VALUES (:credential_id, :kind, :subject, :scope, :scopes, :label, :prefix, :created_unix_us, :expires_unix_us,
 :uses_left, :secret_sha256)
ON CONFLICT DO NOTHING"""
LIVE = f"SELECT {COLUMNS} FROM credentials_credential WHERE revoked_unix_us IS NULL AND uses_left IS NOT 0"  # noqa: S608 (constants)
GET = f"SELECT {COLUMNS} FROM credentials_credential WHERE credential_id = :id"  # noqa: S608
CONSUME = f"""
UPDATE credentials_credential SET uses_left = uses_left - 1, last_used_unix_us = :now
 WHERE secret_sha256 = :hash AND revoked_unix_us IS NULL AND uses_left > 0
   AND (expires_unix_us IS NULL OR expires_unix_us > :now)
RETURNING {COLUMNS}"""  # noqa: S608
REVOKE = """
UPDATE credentials_credential SET revoked_unix_us = :now
 WHERE credential_id = :id AND revoked_unix_us IS NULL"""
UNREVOKED = "SELECT 1 FROM credentials_credential WHERE credential_id = :id AND revoked_unix_us IS NULL"
REVOKE_OF = """
UPDATE credentials_credential SET revoked_unix_us = :now
 WHERE revoked_unix_us IS NULL AND (:subject IS NULL OR subject = :subject) AND (:kind IS NULL OR kind = :kind)
   AND credential_id IS NOT :keep
RETURNING credential_id"""
END = """
UPDATE credentials_credential SET expires_unix_us = :ends
 WHERE credential_id = :id AND (expires_unix_us IS NULL OR expires_unix_us > :ends)"""
USED = "UPDATE credentials_credential SET last_used_unix_us = :at WHERE credential_id = :id"
END_OLDEST = """
UPDATE credentials_credential SET revoked_unix_us = :now
 WHERE number IN (SELECT number FROM credentials_credential
                   WHERE subject = :subject AND kind = :kind AND revoked_unix_us IS NULL
                   ORDER BY number DESC LIMIT -1 OFFSET :keep)
RETURNING credential_id"""
# Sessions that have ended are shown nowhere, and whoever logs in makes one: those go at once.
PURGE = """
DELETE FROM credentials_credential
 WHERE (kind = 'session' AND (revoked_unix_us IS NOT NULL OR expires_unix_us <= :now))
    OR revoked_unix_us < :before OR expires_unix_us < :before OR (uses_left = 0 AND last_used_unix_us < :before)"""
LIST = f"""
SELECT {COLUMNS} FROM credentials_credential
 WHERE (:subject IS NULL OR subject = :subject) AND number < :before
   AND kind IN (SELECT value FROM json_each(:kinds))
   AND (:live_only = 0 OR (revoked_unix_us IS NULL AND uses_left IS NOT 0
        AND (expires_unix_us IS NULL OR expires_unix_us > :now)))
 ORDER BY number DESC LIMIT :limit"""  # noqa: S608
