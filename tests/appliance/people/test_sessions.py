from appliance.people.sessions import CookieNames, csrf_token, read_cookies, values_of


def test_two_instances_have_two_cookie_names() -> None:
    assert CookieNames("a").session != CookieNames("b").session


def test_cookies_are_read_and_the_first_of_a_name_counts() -> None:
    assert read_cookies('a=1; b="2"; a=3; nonsense; =x; c=') == {"a": "1", "b": "2", "c": ""}


def test_oversized_cookie_headers_have_no_cookies() -> None:
    assert read_cookies("a=" + "x" * 9_000) == {}
    assert len(read_cookies(";".join(f"{number}=1" for number in range(1000)))) <= 100


def test_csrf_token_belongs_to_its_session_and_does_not_show_it() -> None:
    assert csrf_token("one") == csrf_token("one")
    assert csrf_token("one") != csrf_token("two")
    assert "one" not in csrf_token("one")


def test_every_value_of_a_name_is_seen_also_the_planted_one() -> None:
    assert values_of('s=planted; a=1; s="own"', "s") == ["planted", "own"]
    assert values_of("a=1", "s") == []
    assert values_of("s=x; " + "a" * 9000, "s") == []
