"""Licences that anyone can verify offline: detached JWS signed with Ed25519, valid for 120 minutes.

`claims` is what a licence says, `token` signs and judges it, `jwks` publishes keys, `rotation` is the life of a key;
`keys` and `store` keep both halves, and `service` is the issuer.
"""

from appliance.licenses.claims import Claims, LicenseRefused
from appliance.licenses.keys import LicenseKeyRefused
from appliance.licenses.service import ClockWentBack, License, LicenseKeeper, Licenses
from appliance.licenses.store import MIGRATIONS, OWNER

__all__ = [
    "MIGRATIONS",
    "OWNER",
    "Claims",
    "ClockWentBack",
    "License",
    "LicenseKeeper",
    "LicenseKeyRefused",
    "LicenseRefused",
    "Licenses",
]
