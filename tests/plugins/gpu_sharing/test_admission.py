import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.plugin import BadInput, Conflict
from plugins.gpu_sharing.admission import Admission, AgentGpu, Claim, admit, advisory, left, resolve

GPUS = tuple(AgentGpu(gpu_id=f"GPU-{index}", index=index, vram_mb=24_000) for index in range(3))


def claim(
    name: str = "new",
    *gpu_ids: str,
    port: int = 9000,
    vram: int | None = None,
    compute: int | None = None,
    holds: bool = True,
) -> Claim:
    return Claim(
        worker_id="" if name == "new" else f"worker_{name}",
        name=name,
        listen_port=port,
        gpu_ids=gpu_ids,
        vram_mb=vram,
        compute_percent=compute,
        holds=holds,
    )


def placed(asked: Claim, *others: Claim, gpus: tuple[AgentGpu, ...] = GPUS) -> Admission:
    return admit(asked, gpus=gpus, others=others)


def test_worker_gets_the_gpus_it_names() -> None:
    assert placed(claim("new", "GPU-2", "GPU-0")) == Admission(gpu_ids=("GPU-2", "GPU-0"))


def test_gpus_are_found_under_another_case_and_kept_as_the_agent_spells_them() -> None:
    assert placed(claim("new", "gpu-2")).gpu_ids == ("GPU-2",)


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        (("GPU-7",), "$.gpu_ids[0]", "the agent has no GPU 'GPU-7'"),
        (("GPU-0", "x" * 9999), "$.gpu_ids[1]", "the agent has no GPU"),
        (("GPU-0", "GPU-1", "GPU-0"), "$.gpu_ids[2]", "'GPU-0' is named twice"),
        (("GPU-0", "gpu-0"), "$.gpu_ids[1]", "'GPU-0' is named twice"),
    ],
)
def test_gpus_that_are_not_the_agents_are_refused_by_their_path(asked: tuple[str, ...], field: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        placed(claim("new", *asked))
    assert refused.value.field == field
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("holds", [True, False])
def test_port_of_another_worker_is_a_conflict_even_where_that_one_is_disabled(holds: bool) -> None:
    with pytest.raises(Conflict, match="port 9000 is taken by the worker 'a'") as refused:
        placed(claim("new", "GPU-0"), claim("a", "GPU-1", holds=holds), claim("b", "GPU-1", port=9001))
    assert refused.value.status == 409
    assert refused.value.hint.endswith("9002")


def test_hint_of_the_last_port_begins_again_below() -> None:
    with pytest.raises(Conflict) as refused:
        placed(claim("new", "GPU-0", port=65_535), claim("a", port=65_535), claim("b", port=1024))
    assert refused.value.hint.endswith("1025")


def test_worker_is_not_in_its_own_way_when_it_changes() -> None:
    own = claim("a", "GPU-0", vram=20_000, compute=90)
    assert placed(evolve(own, vram_mb=24_000, compute_percent=100), own).gpu_ids == ("GPU-0",)


@pytest.mark.parametrize(
    ("held", "asked", "words"),
    [
        ((claim("a", "GPU-0", port=1, vram=16_000),), claim("new", "GPU-0", vram=8_000), ""),
        (
            (claim("a", "GPU-0", port=1, vram=16_000),),
            claim("new", "GPU-0", vram=8_001),
            "GPU 'GPU-0' has 8000 of 24000 MB left, 8001 are asked for",
        ),
        ((claim("a", "GPU-0", port=1, compute=60),), claim("new", "GPU-0", compute=40), ""),
        (
            (claim("a", "GPU-0", port=1, compute=60),),
            claim("new", "GPU-0", compute=41),
            "GPU 'GPU-0' has 40 % left, 41 % are asked for",
        ),
        ((), claim("new", "GPU-0", vram=24_001), "GPU 'GPU-0' has 24000 of 24000 MB left"),
        ((claim("a", "GPU-1", port=1, vram=24_000),), claim("new", "GPU-0", vram=24_000), ""),
        ((claim("a", "GPU-0", port=1, vram=24_000),), claim("new", "GPU-0", compute=100), ""),
        ((claim("a", "GPU-0", port=1, vram=24_000, holds=False),), claim("new", "GPU-0", vram=24_000), ""),
        ((claim("a", "GPU-0", "GPU-1", port=1, vram=24_000),), claim("new", "GPU-1", vram=1), "GPU 'GPU-1' has 0 of"),
        ((claim("a", "GPU-0", port=1, vram=99_000),), claim("new", "GPU-0", vram=1), "has 0 of 24000 MB left"),
        ((claim("a", "GPU-0", port=1, vram=24_000, compute=100),), claim("new", "GPU-0"), ""),
        ((claim("a", "GPU-0", port=1),), claim("new", "GPU-0"), ""),
        ((claim("a", "GPU-0", port=1, vram=24_000),), claim("new", "GPU-0", vram=1, holds=False), ""),
    ],
)
def test_fractions_add_up_to_the_gpu_at_most_and_workers_without_count_nothing(
    held: tuple[Claim, ...], asked: Claim, words: str
) -> None:
    if words:
        with pytest.raises(Conflict, match=words):
            placed(asked, *held)
    else:
        assert placed(asked, *held).gpu_ids == asked.gpu_ids


def test_fraction_beside_an_unlimited_worker_is_allowed_and_advisory() -> None:
    whole = claim("whole", "GPU-0", port=1)
    assert placed(claim("new", "GPU-0", vram=8_000), whole).advisory == (
        "advisory: without limits on the same GPU: 'whole'"
    )
    assert placed(claim("new", "GPU-0", vram=8_000), claim("part", "GPU-0", port=1, vram=1)).advisory == ""
    assert placed(claim("new", "GPU-1", vram=8_000), whole).advisory == ""
    assert placed(claim("new", "GPU-0"), whole).advisory == ""
    assert placed(claim("new", "GPU-0", vram=8_000), evolve(whole, holds=False)).advisory == ""


def test_advisory_names_three_workers_and_counts_the_rest() -> None:
    others = [claim(name, "GPU-0") for name in "edcba"]
    assert advisory(True, ("GPU-0",), others).endswith("'a', 'b', 'c' and 2 more")


@pytest.mark.parametrize(
    ("held", "asked", "gpu_id"),
    [
        ((), claim(), "GPU-0"),
        ((claim("a", "GPU-0", port=1),), claim(), "GPU-1"),
        ((claim("a", "GPU-0", port=1), claim("b", "GPU-1", port=2)), claim(), "GPU-2"),
        # a fraction fills a GPU that is begun, and leaves the others whole
        ((claim("a", "GPU-1", port=1, vram=8_000),), claim(vram=8_000), "GPU-1"),
        ((claim("a", "GPU-1", port=1, vram=20_000),), claim(vram=8_000), "GPU-0"),
        # and keeps away from workers without limits while it can
        ((claim("a", "GPU-0", port=1),), claim(vram=8_000), "GPU-1"),
        ((claim("a", "GPU-0", "GPU-1", "GPU-2", port=1),), claim(vram=8_000), "GPU-0"),
        # as those keep away from it
        ((claim("a", "GPU-0", port=1, vram=1), claim("b", "GPU-1", port=2)), claim(), "GPU-2"),
        ((claim("a", "GPU-0", port=1, vram=24_000),), claim(vram=1, holds=False), "GPU-0"),
    ],
)
def test_placement_packs_fractions_and_spreads_the_unlimited(
    held: tuple[Claim, ...], asked: Claim, gpu_id: str
) -> None:
    assert placed(asked, *held).gpu_ids == (gpu_id,)


def test_placement_passes_unfit_gpus_by_but_whoever_names_one_gets_it() -> None:
    gpus = (evolve(GPUS[0], unfit="cordoned"), *GPUS[1:])
    assert placed(claim(), gpus=gpus).gpu_ids == ("GPU-1",)
    assert placed(claim("new", "GPU-0"), gpus=gpus).gpu_ids == ("GPU-0",)


def test_placement_without_room_says_why_of_each_gpu() -> None:
    gpus = (evolve(GPUS[0], unfit="cordoned"), GPUS[1])
    with pytest.raises(Conflict, match="no GPU of this agent fits") as refused:
        placed(claim(vram=24_001), gpus=gpus)
    assert refused.value.hint == (
        "GPU 'GPU-0' is cordoned; GPU 'GPU-1' has 24000 of 24000 MB left, 24001 are asked for"
    )


def test_agent_without_gpus_can_have_no_worker() -> None:
    with pytest.raises(Conflict, match="no GPUs"):
        placed(claim(), gpus=())
    with pytest.raises(BadInput) as refused:
        placed(claim("new", "GPU-0"), gpus=())
    assert refused.value.hint == "it has no GPUs"


def test_resolve_prefers_the_exact_spelling() -> None:
    assert resolve(["gpu-a"], {"gpu-a": 1, "GPU-A": 2}) == ("gpu-a",)
    assert resolve(["GPU-A"], {"gpu-a": 1, "GPU-A": 2}) == ("GPU-A",)


SHARES = st.none() | st.integers(1, 24_000)
PERCENTS = st.none() | st.integers(1, 100)
CLAIMS = st.builds(
    lambda number, gpus, vram, percent, holds: Claim(
        worker_id=f"worker_{number}",
        name=str(number),
        listen_port=2000 + number,
        gpu_ids=tuple(sorted(gpus)),
        vram_mb=vram,
        compute_percent=percent,
        holds=holds,
    ),
    st.integers(0, 500),
    st.sets(st.sampled_from([gpu.gpu_id for gpu in GPUS]), max_size=3),
    SHARES,
    PERCENTS,
    st.booleans(),
)


def outcome(asked: Claim, gpus: list[AgentGpu], others: list[Claim]) -> object:
    try:
        return admit(asked, gpus=gpus, others=others)
    except (BadInput, Conflict) as refused:
        return (type(refused), refused.message, refused.hint)


@given(CLAIMS, st.lists(CLAIMS, max_size=6), st.randoms(use_true_random=False))
def test_the_answer_does_not_hang_on_the_order_of_gpus_and_workers(
    asked: Claim, others: list[Claim], random: object
) -> None:
    shuffled, mixed = list(GPUS), list(others)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    unique = {other.worker_id: other for other in others}
    mixed = [other for other in mixed if unique[other.worker_id] is other]
    assert outcome(asked, list(GPUS), list(unique.values())) == outcome(asked, shuffled, mixed)


class Admitting(RuleBasedStateMachine):
    """Workers come, change and go; what is admitted never adds up to more than there is."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[str, Claim] = {}

    @rule(asked=CLAIMS)
    def come_or_change(self, asked: Claim) -> None:
        try:
            given_ = admit(asked, gpus=GPUS, others=self.workers.values())
        except Conflict:
            return
        self.workers[asked.worker_id] = evolve(asked, gpu_ids=given_.gpu_ids)

    @rule(number=st.integers(0, 500))
    def go(self, number: int) -> None:
        self.workers.pop(f"worker_{number}", None)

    @invariant()
    def nothing_is_given_twice(self) -> None:
        holding = [worker for worker in self.workers.values() if worker.holds]
        for gpu in GPUS:
            has = left(gpu, holding)
            assert has.vram_mb >= 0
            assert has.compute_percent >= 0
        ports = [worker.listen_port for worker in self.workers.values()]
        assert len(ports) == len(set(ports))
        assert all(worker.gpu_ids for worker in self.workers.values())


TestAdmitting = Admitting.TestCase
