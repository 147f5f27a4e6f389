"""A strict reader of the Prometheus text format 0.0.4: whatever a scraper may stumble over is a failure here."""

import re
from collections.abc import Mapping
from math import inf, isnan, nan

from attrs import define, field, frozen

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=[a-zA-Z_])|$)')
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
SPECIAL = {"+Inf": inf, "-Inf": -inf, "NaN": nan}
KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}
ENDINGS = ("_bucket", "_sum", "_count")


@frozen
class Sample:
    """One line."""

    name: str
    labels: Mapping[str, str]
    value: float


@define
class Family:
    """One name with its lines."""

    name: str
    words: str
    kind: str
    samples: list[Sample] = field(factory=list)


def parse(text: str) -> dict[str, Family]:
    """Return every family by name; raises `ValueError` for anything that is not exactly in order."""
    if not text.endswith("\n"):
        raise ValueError("the last line does not end")
    found: dict[str, Family] = {}
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    words: tuple[str, str] | None = None
    current: Family | None = None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, told = line.split(" ", 3)
            words, current = (name, told), None
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if words is None or words[0] != name or name in found or kind not in KINDS:
                raise ValueError(f"a family out of place: {line}")
            current = found[name] = Family(name, words[1], kind)
            words = None
        else:
            sample = _sample(line)
            key = sample.name, tuple(sorted(sample.labels.items()))
            if current is None or key in seen or not _belongs(sample, current):
                raise ValueError(f"a line out of place: {line}")
            seen.add(key)
            current.samples.append(sample)
    empty = [family.name for family in found.values() if not family.samples]
    if empty or words is not None:
        raise ValueError(f"families without a line: {empty or words}")
    return found


def _sample(line: str) -> Sample:
    match = SAMPLE.fullmatch(line)
    if match is None:
        raise ValueError(f"no line of the format: {line!r}")
    name, labels, value = match.groups()
    return Sample(name, _labels(labels), _number(value))


def _labels(text: str | None) -> Mapping[str, str]:
    found: dict[str, str] = {}
    place = 0
    while text and place < len(text):
        match = LABEL.match(text, place)
        if match is None or match[1] in found:
            raise ValueError(f"labels cannot be read: {text!r}")
        found[match[1]] = re.sub(r"\\(.)", lambda each: {"n": "\n"}.get(each[1], each[1]), match[2])
        place = match.end()
    return found


def _number(text: str) -> float:
    if text in SPECIAL:
        return SPECIAL[text]
    if not NUMBER.fullmatch(text):
        raise ValueError(f"no number of the format: {text!r}")
    return float(text)


def _belongs(sample: Sample, family: Family) -> bool:
    if family.kind == "counter" and not sample.value >= 0:
        return False
    if family.kind == "histogram":
        return sample.name in {family.name + ending for ending in ENDINGS}
    return sample.name == family.name


def same(one: float, other: float) -> bool:
    """Whether two values are the same, not-a-number being itself."""
    return one == other or (isnan(one) and isnan(other))
