"""A listener with a certificate that somebody else made, near its end."""

import ssl
import time
from pathlib import Path

import pytest

from appliance.http.tls import VALID_DAYS, self_signed
from tests.product.served import Product

pytestmark = pytest.mark.zipapp


def test_given_certificate_that_ends_in_days_is_served_and_told_in_the_log_and_in_readyz(
    fresh: Product, tmp_path: Path
) -> None:
    made_us = time.time_ns() // 1_000 - (VALID_DAYS - 5) * 86_400_000_000
    made = self_signed(tmp_path / "given", now=lambda: made_us)
    fresh.config.write_text(
        f'[[listeners]]\naddress = "127.0.0.1:0"\ntls = true\ncertificate = "{made.certificate}"\nkey = "{made.key}"\n'
    )
    fresh.start()
    assert ssl.get_server_certificate(("127.0.0.1", fresh.port)).strip() == made.certificate.read_text().strip()
    [item] = fresh.readiness("certificate")
    assert (item["ok"], item["required"]) == (False, False)
    assert "expires on" in item["message"]
    assert item["message"] in fresh.log
