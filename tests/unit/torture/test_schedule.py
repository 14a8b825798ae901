"""The schedule: the seed alone decides, every kind comes, and no process has two faults at once."""

import json

from tests.torture.faults.table import KINDS
from tests.torture.schedule import plan


def test_the_seed_decides_everything() -> None:
    assert plan(KINDS, faults=100, seed=7) == plan(KINDS, faults=100, seed=7)
    assert plan(KINDS, faults=100, seed=7) != plan(KINDS, faults=100, seed=8)


def test_every_kind_comes_at_least_once() -> None:
    planned = plan(KINDS, faults=len(KINDS), seed=1)
    assert sorted(fault.kind for fault in planned) == sorted(KINDS)
    assert {fault.kind for fault in plan(KINDS, faults=500, seed=2)} == set(KINDS)


def test_faults_hit_whom_they_can_hit_and_say_so_in_plain_values() -> None:
    for fault in plan(KINDS, faults=300, seed=3):
        assert fault.subject in KINDS[fault.kind].subjects
        assert json.loads(json.dumps(fault.settings)) == fault.settings


def test_a_process_has_one_fault_at_a_time_as_far_as_can_be_planned() -> None:
    free_s: dict[str, float] = {}
    for fault in plan(KINDS, faults=300, seed=4):
        kind = KINDS[fault.kind]
        lanes = (fault.subject, *kind.lanes)
        assert all(free_s.get(lane, 0.0) <= fault.at_s + 0.001 for lane in lanes)
        free_s.update(dict.fromkeys(lanes, fault.at_s + kind.takes_s))


def test_five_hundred_faults_fit_into_half_an_hour() -> None:
    assert 900 < plan(KINDS, faults=500, seed=5)[-1].at_s < 1800
