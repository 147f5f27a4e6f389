"""What a licence costs: microseconds to sign, judge and refuse one, beside Ed25519 alone in the same run.

``python -m tests.bench.licenses`` takes the best of seven runs of 5,000 each; ``--small`` of 200. The last line is
JSON. ``issue_us`` is the whole issuer on a database, as a plugin asks it; ``sign_us`` and ``verify_us`` are the pure
functions. ``unknown_near_us`` and ``unknown_far_us`` are refusals of key ids that share all but the last character, or
nothing, with a known one: which keys there are is public, and the look-up takes the same for both.
"""

import argparse
import json
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import structlog
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import events, licenses
from appliance.clock import unix_now_us
from appliance.database import Database
from appliance.events import EventBus
from appliance.licenses import LicenseRefused, Licenses, token
from appliance.licenses.claims import new_claims
from appliance.licenses.jwks import thumbprint
from appliance.settings import LicensesSettings

TABLES = {events.OWNER: events.MIGRATIONS, licenses.OWNER: licenses.MIGRATIONS}
RUNS = 7
NOW_MS = 1_795_000_000_000


def best_us(work: Callable[[], object], rounds: int) -> float:
    """Return the microseconds of one call, in the best of seven runs."""
    return round(min(timeit.repeat(work, number=rounds, repeat=RUNS)) / rounds * 1e6, 1)


async def issue_us(rounds: int) -> float:
    """Return the microseconds of one licence from the issuer, its database and its clock included."""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.mkdir(mode=0o700)
        async with Database.open(Path(folder) / "a.db", migrations=TABLES) as database:
            issuer = await Licenses.load(
                database, keys, events=EventBus(database, unix_now_us), now=unix_now_us, settings=LicensesSettings
            )
            best = float("inf")
            for _ in range(RUNS):
                began = time.perf_counter()
                for _ in range(rounds):
                    await issuer.issue(agent_id="agent-1", plan="pro", max_gpus=8, max_workers=16)
                best = min(best, time.perf_counter() - began)
    return round(best / rounds * 1e6, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="200 rounds instead of 5,000")
    rounds = 200 if parser.parse_args().small else 5_000
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    kid = thumbprint(public)
    said = new_claims(agent_id="agent-1", plan="pro", max_gpus=8, max_workers=16, issued_unix_ms=NOW_MS)
    plain, encrypted = token.sign(said, kid, key)
    message, signature = plain.encode(), key.sign(plain.encode())
    checker = key.public_key()

    def verify(keys: dict[str, bytes], text: str = plain) -> None:
        try:
            token.verify(text, encrypted, keys, now_unix_ms=NOW_MS)
        except LicenseRefused:
            return

    near = {kid[:-1] + ("A" if kid[-1] != "A" else "E"): public}
    far = {kid[::-1]: public}
    forged = plain.replace("pro", "all")
    figures = {
        "issue_us": trio.run(issue_us, rounds),
        "sign_us": best_us(lambda: token.sign(said, kid, key), rounds),
        "verify_us": best_us(lambda: verify({kid: public}), rounds),
        "refuse_forged_us": best_us(lambda: verify({kid: public}, forged), rounds),
        "unknown_near_us": best_us(lambda: verify(near), rounds),
        "unknown_far_us": best_us(lambda: verify(far), rounds),
        "ed25519_sign_us": best_us(lambda: key.sign(message), rounds),
        "ed25519_verify_us": best_us(lambda: checker.verify(signature, message), rounds),
        "encrypted_characters": len(encrypted),
    }
    for name, value in figures.items():
        print(f"{name:24} {value:>10}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
