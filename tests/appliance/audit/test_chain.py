"""The hash chain, on its own: any change, removal or cut is found, and named where it is."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.chain import GENESIS, AuditEntry, AuditProblem, ChainedEntry, Head, Walk, entry_hash

TEXTS = ("who_kind", "who_subject", "who_name", "action", "object", "detail", "request_id", "address")

contents = st.fixed_dictionaries({name: st.text(max_size=8) for name in TEXTS} | {"at_unix_us": st.integers(0, 2**62)})
logs = st.lists(contents, min_size=1, max_size=12)


def chained(log: list[dict[str, object]]) -> list[ChainedEntry]:
    previous, chain = GENESIS, list[ChainedEntry]()
    for number, content in enumerate(log, start=1):
        entry = AuditEntry(entry_id=number, **content)  # type: ignore[arg-type]
        digest = entry_hash(previous, entry)
        chain.append(ChainedEntry(entry=entry, previous=previous, hash=digest))
        previous = digest
    return chain


def head_of(chain: list[ChainedEntry]) -> Head:
    return Head(entry_id=chain[-1].entry.entry_id, hash=chain[-1].hash)


def judged(chain: list[ChainedEntry], head: Head | None, anchor: Head | None = None) -> AuditProblem | None:
    walk = Walk()
    walk.feed(chain, expected_at=anchor)
    return walk.end(head=head, anchor=anchor)


@given(logs)
def test_whole_chain_has_no_problem(log: list[dict[str, object]]) -> None:
    chain = chained(log)
    for anchor in (None, Head(), head_of(chain[:1]), head_of(chain)):
        assert judged(chain, head_of(chain), anchor) is None


@given(logs, st.data())
def test_changed_field_is_found_at_its_entry(log: list[dict[str, object]], data: st.DataObject) -> None:
    chain = chained(log)
    place = data.draw(st.integers(0, len(chain) - 1))
    name = data.draw(st.sampled_from(TEXTS))
    chain[place] = evolve(
        chain[place], entry=evolve(chain[place].entry, **{name: getattr(chain[place].entry, name) + "x"})
    )
    problem = judged(chain, head_of(chain))
    assert problem is not None
    assert (problem.kind, problem.entry_id) == ("changed", place + 1)


@given(logs, st.data())
def test_entry_rewritten_with_a_fitting_hash_is_found_at_the_next(
    log: list[dict[str, object]], data: st.DataObject
) -> None:
    chain = chained(log)
    head = head_of(chain)
    place = data.draw(st.integers(0, len(chain) - 1))
    entry = evolve(chain[place].entry, at_unix_us=chain[place].entry.at_unix_us + 1)
    chain[place] = evolve(chain[place], entry=entry, hash=entry_hash(chain[place].previous, entry))
    problem = judged(chain, head)
    assert problem is not None
    last = place == len(chain) - 1
    assert (problem.kind, problem.entry_id) == (("unsealed", place + 1) if last else ("changed", place + 2))


@given(st.lists(contents, min_size=2, max_size=12), st.data())
def test_removed_entries_are_named(log: list[dict[str, object]], data: st.DataObject) -> None:
    chain = chained(log)
    head = head_of(chain)
    first = data.draw(st.integers(0, len(chain) - 2))
    last = data.draw(st.integers(first, len(chain) - 2))
    problem = judged(chain[:first] + chain[last + 1 :], head)
    assert problem is not None
    assert (problem.kind, problem.entry_id) == ("removed", first + 1)


@given(logs, st.data())
def test_entries_cut_off_the_end_are_named(log: list[dict[str, object]], data: st.DataObject) -> None:
    chain = chained(log)
    left = chain[: data.draw(st.integers(0, len(chain) - 1))]
    for head, anchor in ((head_of(chain), None), (None, head_of(chain)), (head_of(chain), head_of(chain))):
        problem = judged(left, head, anchor)
        assert problem is not None
        assert (problem.kind, problem.entry_id) == ("truncated", len(left) + 1)


@given(logs)
def test_log_written_anew_from_the_beginning_is_betrayed_by_the_anchor(log: list[dict[str, object]]) -> None:
    chain = chained(log)
    forged = chained([content | {"who_name": f"{content['who_name']}x"} for content in log])
    problem = judged(forged, head_of(forged), head_of(chain))
    assert problem is not None
    assert problem.kind == "changed"


@given(contents, contents)
def test_different_entries_have_different_hashes(one: dict[str, object], other: dict[str, object]) -> None:
    first, second = chained([one])[0], chained([other])[0]
    assert (first.hash == second.hash) == (one == other)
