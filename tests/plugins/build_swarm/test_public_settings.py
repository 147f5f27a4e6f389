"""What ``[plugins.build_swarm]`` may say about what clients are told."""

import pytest

from plugins.build_swarm.public_settings import ENTRIES_MAX, TEXT_CHARACTERS, PublicSettings


def test_portage_config_takes_names_of_files_and_their_texts() -> None:
    texts = {"make.conf": "MAKEOPTS=-j8", "package.use/swarm": "*/* -doc"}
    assert PublicSettings(portage_config=texts).portage_config == texts


@pytest.mark.parametrize(
    "texts",
    [
        {"": "x"},
        {"/etc/passwd": "x"},
        {"a b": "x"},
        {"make.conf": "x" * (TEXT_CHARACTERS + 1)},
        {f"a{number}": "x" for number in range(ENTRIES_MAX + 1)},
    ],
    ids=["nothing", "absolute", "a space", "too long", "too many"],
)
def test_portage_config_refuses_what_is_no_name_and_what_is_too_much(texts: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="at most"):
        PublicSettings(portage_config=texts)


def test_name_of_the_server_is_bounded() -> None:
    with pytest.raises(ValueError, match="orchestrator_name"):
        PublicSettings(orchestrator_name="x" * 256)
