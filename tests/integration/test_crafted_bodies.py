"""Bodies that a gateway with a key could send to take the receiver down."""

import msgspec
import pytest

from contract.codec import PACKED, compress, encode_packed
from contract.columns import Column
from contract.packed import Group
from tests.integration.conftest import STREAM, Cloud


async def test_a_small_body_of_many_readings_is_too_large_and_not_unpacked(cloud: Cloud) -> None:
    """C4"""
    many = 150_000
    plane = Column(0, 0, 1, b"\0", 1, bytes(many - 1))
    group = Group(["main"], [many], [0], plane, None, ["power_w"], [plane])
    body = compress(encode_packed(STREAM, 1, [], [group]), "zstd")
    assert len(body) < 500
    answer = await cloud.post(body, content_type=PACKED)
    assert (answer.status_code, answer.json()["detail"]) == (413, f"{many} readings; the limit is 10000")


@pytest.mark.parametrize(
    "report",
    [
        {"loss_window_s": 1e308, "clock": {"offset_s": -1e308}},
        {"software": "\\ud800", "troubles": ["\\udfff"]},
        {"next_seq": 2**63 - 1, "backlog": {"readings": 2**63 - 1, "spans": [[2**62, -(2**62)]] * 1000}},
        {"started_us": -(2**62), "sent_us": 2**62, "last_receipt_us": 2**62},
        {"sent_us": -(2**62), "meters": 2**63 - 1, "silent_meters": 2**63 - 1, "troubles": ["\x1b[2J\x00[red]"] * 1000},
    ],
)
async def test_a_report_of_wild_numbers_is_no_failure_of_the_receiver(cloud: Cloud, report: dict[str, object]) -> None:
    """C4"""
    usual: dict[str, object] = {
        "software": "x", "boot_id": "b", "started_us": 0, "sent_us": 0, "stream": STREAM, "next_seq": 1,
        "loss_window_s": 1.0, "backlog": {}, "buffer": {}, "clock": {}, "given_up": {},
    }  # fmt: skip
    body = msgspec.json.encode(usual | report).replace(b"\\\\u", b"\\u")
    answer = await cloud.report(body)
    assert answer.status_code in (204, 422), answer.text
