"""The page behind a short link: it needs nothing from elsewhere, and its policy lets nothing else run."""

import base64
import hashlib
import re

from plugins.gpu_sharing.share_page import HEADERS, MISSING, PAGE, POLICY


def directives() -> dict[str, str]:
    return {name: rest for name, _, rest in (each.strip().partition(" ") for each in POLICY.split(";"))}


def test_policy_lets_exactly_the_pages_own_script_and_style_through() -> None:
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives()[directive] == f"'sha256-{digest}'"


def test_policy_allows_nothing_but_asking_the_appliance_itself() -> None:
    found = directives()
    assert (found["default-src"], found["connect-src"]) == ("'none'", "'self'")
    assert (found["frame-ancestors"], found["base-uri"], found["form-action"]) == ("'none'",) * 3
    assert not re.search(r"\b(?:src|href|action)=", PAGE), "nothing is fetched from elsewhere"
    assert not re.search(r"\son[a-z]+=|style=", PAGE), "a policy with hashes would not run those"


def test_page_is_neither_kept_nor_indexed_nor_does_it_tell_others_its_address() -> None:
    headers = dict(HEADERS)
    assert headers["Content-Security-Policy"] == POLICY
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert (headers["X-Robots-Tag"], headers["Vary"]) == ("noindex", "Accept")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_share_is_fetched_as_json_and_on_the_button_alone() -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", PAGE, re.DOTALL)
    before, _, after = script.partition('button.addEventListener("click"')
    assert "fetch(" not in before
    assert after.count("fetch(") == 1
    assert 'Accept: "application/json"' in after
    assert "innerHTML" not in script, "what it shows is text"
    assert not re.search(r"[^\x00-\x7f]", PAGE)


def test_page_of_a_link_that_leads_nowhere_needs_nothing_either() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", MISSING, re.DOTALL)
    assert style in PAGE
    assert "<script" not in MISSING
