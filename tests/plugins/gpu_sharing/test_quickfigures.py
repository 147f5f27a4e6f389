"""The quick way to figures: it gives what the whole grammar gives, or nothing."""

from random import Random

import pytest

from plugins.gpu_sharing.figures import KEPT, Figures, of_points
from plugins.gpu_sharing.lineprotocol import LINES_MAX, TEXT_CHARACTERS_MAX, read_lines
from plugins.gpu_sharing.models import Agent
from plugins.gpu_sharing.quickfigures import QuickFigures
from tests.plugins.gpu_sharing.fleet_agent import AGENT_ID, GPU_IDS, agent, lines

GPU = lines(0)[1]
HOST = lines(0)[0]


def slowly(one: Agent, text: str) -> Figures:
    points = read_lines(text, KEPT).points
    return of_points(points, agent_id=one.agent_id, gpu_ids=[gpu.gpu_id for gpu in one.gpus], worker_ids=one.workers)


def test_lines_of_a_real_agent_are_read_the_quick_way() -> None:
    one, quick = agent(), QuickFigures()
    for number in range(3):
        text = "\n".join(lines(number))
        found = quick.read(one, text)
        assert found is not None
        assert found == slowly(one, text)
        assert set(found.gpus) == set(GPU_IDS)


def test_lines_of_nothing_that_is_kept_are_passed_over() -> None:
    assert QuickFigures().read(agent(), lines(0)[-1] + "\n# note\n\n") == Figures()


@pytest.mark.parametrize(
    "line",
    [
        GPU.replace("utilization=75.50", "utilization=nan"),
        GPU.replace("utilization=75.50", "utilization=-1"),
        GPU.replace("utilization=75.50", "utilization=1e1"),
        GPU.replace("utilization=75.50", "utilization=75.50i"),
        GPU.replace("utilization=75.50", "utilization=" + "9" * 400),
        GPU.replace("utilization=75.50", "utilization=\N{ARABIC-INDIC DIGIT THREE}"),
        GPU.replace("utilization=75.50,", ""),
        GPU.replace("8192i", "8192"),
        GPU.replace("power_usage_w", "power"),
        GPU.replace(AGENT_ID, "agent_2"),
        GPU.replace(GPU_IDS[0], "gpu-of-another"),
        GPU.replace("gpu_metrics,", "gpu_metrics_more,"),
        GPU.replace("vendor=nvidia", "vendor=nvidia,vendor=amd"),
        GPU.replace("vendor=nvidia", "vendor=nvidia x=1"),
        GPU.replace("vendor=nvidia", "vendor=nvidia\\"),
        GPU.replace("vendor=nvidia", "vendor=nvi\0dia"),
        GPU.replace("vendor=nvidia", "vendor=" + "n" * 600),
        GPU.rpartition(" ")[0],
        GPU + " ",
        GPU + "0" * 20,
        GPU + "\r",
        GPU.replace(" 17", " -17"),
        "gpu_metrics",
        "gpu_metrics " + GPU.partition(" ")[2],
        HOST.replace("cpu_usage", "cpu"),
        HOST.replace("12.50", "t"),
    ],
    ids=lambda line: line[-70:],
)
def test_text_with_a_line_of_any_other_form_is_left_to_the_grammar(line: str) -> None:
    one, quick = agent(), QuickFigures()
    for text in (line, "\n".join([*lines(0), line]), "\n".join([line, *lines(0)])):
        assert quick.read(one, text) is None


@pytest.mark.parametrize("text", ["\n" * LINES_MAX, "x" * (TEXT_CHARACTERS_MAX + 1)], ids=["lines", "characters"])
def test_text_beyond_what_the_grammar_takes_is_left_to_it(text: str) -> None:
    assert QuickFigures().read(agent(), text) is None


def test_gpu_that_an_agent_has_no_more_is_not_known_by_what_its_lines_begin_with() -> None:
    one, quick = agent(), QuickFigures()
    assert quick.read(one, GPU) is not None
    one.gpus = one.gpus[1:]
    assert quick.read(one, GPU) is None


def test_beginnings_of_another_agent_are_not_known() -> None:
    one, quick = agent(), QuickFigures()
    assert quick.read(one, GPU) is not None
    other = agent()
    other.agent_id = "agent_2"
    assert quick.read(other, GPU) is None


PIECES = [" ", ",", "=", "i", "1", "9" * 16, ".", "-", "\\", "\n", '"', "e5", "nan", "\r", "gpu_metrics", "101", "0"]


@pytest.mark.parametrize("seed", range(8))
def test_what_the_quick_way_reads_is_what_the_grammar_reads(seed: int) -> None:
    random, one, quick = Random(seed), agent(), QuickFigures()
    read = 0
    for number in range(300):
        text = "\n".join(random.sample(lines(number), k=random.randrange(1, 5)))
        for _ in range(random.choice([0, 1, 1, 2])):
            at = random.randrange(len(text))
            if random.random() < 0.5:  # another figure, which may be out of its range
                at = text.find("=", at) + 1
            text = text[:at] + random.choice(PIECES) + text[at + random.randrange(2) :]
        found = quick.read(one, text)
        if found is not None:
            read += 1
            assert found == slowly(one, text), text
    assert read > 60
