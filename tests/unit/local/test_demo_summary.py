"""What the demo says of polls that a busy line left out: they are not lost, and not hidden."""

import json
from dataclasses import replace

import pytest

from local.demo import summary
from local.display import Display
from local.progress import Progress
from local.proof.report import Report

_PROGRESS = Progress(
    elapsed_s=61.5,
    meters=2,
    power_w=100.0,
    polled=100,
    left_out=0,
    buffered=0,
    synced=100,
    stored=100,
    quarantined=0,
    lag_s=1.0,
    aggregates_1m_rows=4,
    first_reading_s=5.0,
    lines=[],
)
_REPORT = Report(meters=2, readings_polled=100, readings_stored=100)


def test_polls_left_out_are_in_the_summary_and_in_the_line_of_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    busy = replace(_PROGRESS, left_out=7)
    Display().show(busy)
    assert "polled 100  left out 7  buffered 0" in capsys.readouterr().out
    assert summary(_REPORT, busy, "apache")["polls_left_out"] == 7


def test_where_none_was_left_out_nothing_is_said_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    Display().show(_PROGRESS)
    assert "left out" not in capsys.readouterr().out
    assert "left_out" not in json.dumps(summary(_REPORT, _PROGRESS, "apache"))
