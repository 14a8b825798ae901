"""The gateway's reports: on time, soon after a change, and in nobody's way."""

from pathlib import Path

from tests.integration.edge.peers import Receiver, eventually
from tests.integration.edge.sending import sending


async def test_a_report_goes_at_the_start_and_each_minute(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await eventually(lambda: site.uplink.state.reports == 1)
            site.skip(40)
            await site.put(1)
            await eventually(lambda: len(receiver.stored) == 1)
            assert len(receiver.reports) == 1
            site.skip(21)
            await eventually(lambda: len(receiver.reports) == 2)
            stream = site.store.stream
        assert [report["stream"] for report in receiver.reports] == [stream, stream]


async def test_what_changed_is_reported_without_waiting_for_the_minute(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await eventually(lambda: site.uplink.state.reports == 1)
            site.troubles.append("meter: silent")
            site.uplink.report_soon()
            site.skip(10)
            await eventually(lambda: len(receiver.reports) == 2)
        assert receiver.reports[-1]["troubles"] == ["meter: silent"]


async def test_the_end_of_an_outage_is_reported_at_once(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            await eventually(lambda: site.uplink.state.reports == 1)
            receiver.script.extend([500, 500])
            await site.put(1)
            await eventually(lambda: len(receiver.stored) == 1)
            site.skip(10)
            await eventually(lambda: len(receiver.reports) == 2)


async def test_changes_every_moment_make_no_flood_of_reports(tmp_path: Path) -> None:
    with Receiver() as receiver:
        async with sending(tmp_path, receiver.url) as site:
            for number in range(20):
                site.uplink.report_soon()
                await site.put_singly(receiver, number)
        assert len(receiver.reports) == 1


async def test_a_receiver_without_reports_is_asked_again_after_an_hour(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.scripts["PUT"].append(404)
        async with sending(tmp_path, receiver.url) as site:
            await eventually(lambda: not receiver.scripts["PUT"])
            for number in range(5):
                site.uplink.report_soon()
                site.skip(600)
                await site.put_singly(receiver, number)
            assert receiver.reports == []
            site.skip(2_000)
            await eventually(lambda: site.uplink.state.reports == 1)
            assert site.uplink.state.trouble is None


async def test_a_report_that_fails_disturbs_no_batch(tmp_path: Path) -> None:
    """E11"""
    with Receiver() as receiver:
        receiver.scripts["PUT"].extend([500, 422, "hang"])
        async with sending(tmp_path, receiver.url, timeout_s=1.0) as site:
            for number in range(3):
                await eventually(lambda left=2 - number: len(receiver.scripts["PUT"]) == left)  # type: ignore[misc]
                await site.put_singly(receiver, number)
                site.skip(80)
            assert (site.uplink.state.failures, site.uplink.state.trouble) == (0, None)


async def test_credit_comes_with_a_reports_answer_too(tmp_path: Path) -> None:
    """E24: a gateway without live readings hears that it may send its backlog."""
    with Receiver() as receiver:
        receiver.credit = 0
        backlog = [range(at, at + 50) for at in range(0, 1_000, 50)]
        async with sending(tmp_path, receiver.url, max_readings=50, backlog=backlog) as site:
            await eventually(lambda: site.uplink.state.credit == 0 and site.uplink.state.reports == 1)
            receiver.credit = 2
            site.uplink.report_soon()
            site.skip(10)
            await eventually(lambda: len(receiver.stored) == 1_000)
