"""How soon and how much the uplink sends."""

import random

import pytest

from edge.clock import Clock
from edge.uplink.answer import NotSent
from edge.uplink.pace import BatchSize, Credit, pause_s


class _Time:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.clock = Clock(monotonic_s=lambda: self.now_s)


def _credit() -> tuple[Credit, _Time]:
    time = _Time()
    return Credit(clock=time.clock, jitter=random.Random(1)), time


def test_pauses_are_drawn_from_all_of_a_span_that_doubles_up_to_half_a_minute() -> None:
    """E25: gateways that lost the receiver in the same second come back in different ones."""
    jitter = random.Random(1)
    first = [pause_s(NotSent("away"), 1, jitter) for _ in range(200)]
    lasting = [pause_s(NotSent("away"), 12, jitter) for _ in range(200)]
    assert (min(first) < 0.05, 0.45 < max(first) <= 0.5) == (True, True)
    assert (min(lasting) < 1.0, 29.0 < max(lasting) <= 30.0) == (True, True)


def test_what_needs_a_hand_is_tried_ever_less_often() -> None:
    jitter = random.Random(1)
    pauses = [pause_s(NotSent("401", slow=True), 12, jitter) for _ in range(200)]
    assert (min(pauses) >= 5.0, 250.0 < max(pauses) <= 300.0) == (True, True)


def test_what_the_receiver_asks_for_comes_on_top_within_a_quarter_of_an_hour() -> None:
    """E25: not all of them at the end of it."""
    jitter = random.Random(1)
    pauses = [pause_s(NotSent("busy", retry_after_s=20), 4, jitter) for _ in range(200)]
    assert (20.0 <= min(pauses) < 20.5, 23.5 < max(pauses) <= 24.0) == (True, True)
    assert pause_s(NotSent("busy", retry_after_s=10**9), 1, jitter) <= 900.5


def test_a_receiver_that_says_nothing_gets_one_batch_at_a_time() -> None:
    credit, _ = _credit()
    assert credit.now == 1


def test_the_last_word_counts_within_what_memory_allows() -> None:
    """E30"""
    credit, _ = _credit()
    for granted, now in ((4, 4), (1, 1), (1_000_000, 8)):
        credit.grant(granted)
        assert credit.now == now


def test_without_credit_one_batch_asks_again_when_it_may() -> None:
    """E24"""
    credit, time = _credit()
    credit.grant(0, retry_after_s=5)
    assert credit.now == 0
    time.now_s = 4.9
    assert credit.now == 0
    time.now_s = 6.3
    assert credit.now == 1


def test_without_credit_and_without_a_time_it_is_asked_for_after_a_minute_of_silence() -> None:
    credit, time = _credit()
    credit.grant(0)
    time.now_s = 59.0
    assert credit.now == 0
    credit.grant(0)
    time.now_s = 76.0
    assert credit.now == 0
    time.now_s = 59.0 + 75.0
    assert credit.now == 1


def test_batches_grow_on_a_fast_link_up_to_what_is_configured() -> None:
    size = BatchSize(5_000, 10.0)
    sizes = []
    for _ in range(5):
        size.sent(size.readings, 0.1)
        sizes.append(size.readings)
    assert sizes == [2_000, 4_000, 5_000, 5_000, 5_000]


def test_batches_shrink_until_one_takes_less_than_ten_seconds() -> None:
    """E24: on a slow link live batches wait for one batch of backlog at most, and never for long."""
    size, readings_per_s = BatchSize(5_000, 10.0), 20.0
    for _ in range(8):
        size.sent(size.readings, size.readings / readings_per_s)
    assert 2.5 < size.readings / readings_per_s <= 10.0


def test_a_small_batch_makes_the_next_no_larger() -> None:
    """It was short because there was no more, and says nothing of the link."""
    size = BatchSize(5_000, 10.0)
    size.sent(10, 0.1)
    assert size.readings == 1_000


@pytest.mark.parametrize(("seconds", "readings"), [(0.1, 1_000), (30.0, 500)])
def test_a_batch_that_fails_makes_the_next_smaller_only_when_it_took_long(seconds: float, readings: int) -> None:
    size = BatchSize(5_000, 10.0)
    size.failed(1_000, seconds)
    assert size.readings == readings


def test_what_the_receiver_finds_too_large_is_not_tried_again() -> None:
    """E24"""
    size = BatchSize(5_000, 10.0)
    size.too_large(1_000)
    for _ in range(5):
        size.sent(size.readings, 0.1)
    assert size.readings == 500
