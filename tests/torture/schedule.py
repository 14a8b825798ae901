"""Which fault comes when, against whom, with what: decided beforehand, by the seed alone."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.torture.faults.kind import Kind, Settings

_MEAN_GAP_S = 2.5


@dataclass(frozen=True, slots=True)
class Fault:
    """`number` counts from 1; `at_s` is from the start of the run."""

    number: int
    at_s: float
    kind: str
    subject: str
    settings: Settings

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.kind}: {self.subject} {told}".rstrip()


def plan(kinds: Mapping[str, Kind], *, faults: int, seed: int, gap_s: float = _MEAN_GAP_S) -> list[Fault]:
    """`faults` of them, every kind at least once where there are as many, by weight beyond; `gap_s` apart on average.

    Faults of different processes overlap; each process has one at a time, as far as one can tell beforehand.
    """
    chance = random.Random(seed)
    names = list(kinds)
    chosen = chance.sample(names, min(faults, len(names)))
    chosen += chance.choices(names, [kinds[name].weight for name in names], k=faults - len(chosen))
    chance.shuffle(chosen)
    free_s: dict[str, float] = {}
    planned: list[Fault] = []
    at_s = 0.0
    while chosen:
        at_s += chance.uniform(0, 2 * gap_s)
        subjects = {name: chance.choice(kinds[name].subjects) for name in dict.fromkeys(chosen)}
        # The next in order whose processes are left alone by then; else the one that waits least.
        name = min(subjects, key=lambda name: max(0.0, _free_s(free_s, kinds[name], subjects[name]) - at_s))
        chosen.remove(name)
        kind, subject = kinds[name], subjects[name]
        at_s = max(at_s, _free_s(free_s, kind, subject))
        for lane in (subject, *kind.lanes):
            free_s[lane] = at_s + kind.takes_s
        planned.append(Fault(len(planned) + 1, round(at_s, 3), name, subject, dict(kind.settle(chance))))
    return planned


def _free_s(free_s: Mapping[str, float], kind: Kind, subject: str) -> float:
    return max(free_s.get(lane, 0.0) for lane in (subject, *kind.lanes))
