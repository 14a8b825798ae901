"""The status for people."""

from collections.abc import Iterator

from contract.notes import NoteKind
from edge.buffer.rows import Loss
from edge.clock import utc
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import DeviceState
from edge.status.running import ahead, in_trouble
from edge.status.status import Status
from edge.status.stored import Stored
from edge.status.wear import card_years

_SHOWN = 5
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
# What has become of the readings of a loss, in a word.
_WORDS = {NoteKind.REDUCED: "reduced", NoteKind.REFUSED: "refused", NoteKind.CORRECTED: "corrected"}


def lines(status: Status) -> list[str]:
    """`status`, a line a thing."""
    state = f"running, {status.health}" if status.running else "stopped"
    return [f"{status.name}: {state}, segs-edge {status.version}", *_buffer(status), *_daemon(status)]


def _buffer(status: Status) -> Iterator[str]:
    stored = status.stored
    if stored is None:
        yield f"buffer: {status.unreadable or 'none yet'}"
        yield from _disk(status)
        return
    age = "" if status.backlog_oldest_age_s is None else f", oldest {status.backlog_oldest_age_s:.0f} s old"
    yield f"loss window: {status.loss_window_s:g} s"
    yield f"backlog: {stored.backlog.readings} readings, {stored.backlog.bytes} bytes{age}"
    if len(stored.backlog_spans) > 1:
        yield from _some([f"  from {utc(first)} to {utc(last)}" for first, last in stored.backlog_spans])
    yield f"synced: {stored.synced_readings} readings, last receipt: {_ago(status.now_us, stored.last_receipt_us)}"
    yield f"stream {stored.stream}, next batch {stored.next_seq}"
    yield _lanes(status, stored)
    yield from _clock(status, stored)
    yield from _disk(status)
    yield f"rejected messages: {stored.rejected}"
    yield f"refused readings: {stored.refused_readings}"
    yield from _some([f"  {one.device} at {utc(one.time_us)}: {one.status} {one.reason}" for one in stored.refused])
    yield from map(_loss, stored.losses)
    if stored.lost_notes:
        yield f"notes given up: {stored.lost_notes}; the cloud does not learn why these readings are missing"
    yield from (f"a damaged buffer is kept at {file}" for file in stored.set_aside_files)


def _lanes(status: Status, stored: Stored) -> str:
    live, backlog = stored.lanes["live"], stored.lanes["backlog"]
    behind = "nothing delivered yet"
    if live.newest_delivered_us is not None:
        behind = f"newest delivered reading {(status.now_us - live.newest_delivered_us) / 1e6:.0f} s old"
    credit = f", credit {status.daemon.uplink.credit}" if status.running and status.daemon else ""
    return f"live lane: {behind}; backlog lane: {backlog.batches} batches with {backlog.readings} readings{credit}"


def _clock(status: Status, stored: Stored) -> Iterator[str]:
    if status.daemon is None:
        return
    clock = status.daemon.clock
    offset = "not compared with the receiver's yet" if clock.offset_s is None else ahead(clock.offset_s)
    corrected = max(clock.corrected, stored.corrected)
    word = "synchronized" if clock.synchronized else "not synchronized"
    yield f"clock: {offset}, {word}{f', {corrected} readings corrected' if corrected else ''}"


def _disk(status: Status) -> Iterator[str]:
    said = [] if status.free_disk_bytes is None else [f"{size(status.free_disk_bytes)} free"]
    a_day = status.daemon.disk.written_bytes_a_day if status.daemon else None
    if a_day is not None:
        said.append(f"writes {size(a_day)} a day")
        if status.card_endurance_bytes and (years := card_years(status.card_endurance_bytes, a_day)):
            lasts = f"{years:.0f}" if years >= 10 else f"{years:.1f}"
            said.append(f"a card that bears {size(status.card_endurance_bytes)} lasts {lasts} years")
    if said:
        yield f"disk: {'; '.join(said)}"


def _loss(loss: Loss) -> str:
    word = _WORDS.get(loss.kind, "given up")
    return f"{word}: {loss.readings} readings of {utc(loss.first_us)} to {utc(loss.last_us)}, {loss.reason}"


def _daemon(status: Status) -> Iterator[str]:
    daemon = status.daemon
    if daemon is None:
        return
    if status.running:
        yield from daemon.own_troubles()
        yield from map(_broker, daemon.brokers)
    elif daemon.devices:
        yield f"meters, as of {_ago(status.now_us, daemon.written_us)}:"
    yield from (_device(device, status.now_us) for device in daemon.devices)


def _device(device: DeviceState, now_us: int) -> str:
    last = _ago(now_us, device.last_reading_us)
    trouble = f", last error: {device.last_error}" if in_trouble(device) else ""
    aside = f", set aside: {', '.join(device.set_aside)}" if device.set_aside else ""
    overruns = ""
    if device.overruns:
        # Whether it still goes on: the number alone may be of a fault long ago.
        overruns = f", {device.overruns} polls left out, the last {_ago(now_us, device.last_overrun_us)}"
    return f"{device.device}: {device.readings} readings, last {last}, {device.errors} errors{overruns}{aside}{trouble}"


def _broker(broker: BrokerState) -> str:
    trouble = f", {broker.trouble}" if broker.trouble else ""
    rejected = f", {broker.rejected} rejected" if broker.rejected else ""
    # Some of a device's messages are about other things; all of them, and its profile is another's.
    silent = f", {broker.without_readings} without a reading" if broker.without_readings else ""
    connected = "connected" if broker.connected else "not connected"
    return f"broker {broker.broker}: {connected}, {broker.messages} messages{rejected}{silent}{trouble}"


def _some(said: list[str]) -> Iterator[str]:
    yield from said[:_SHOWN]
    if len(said) > _SHOWN:
        yield f"  … {len(said) - _SHOWN} more"


def _ago(now_us: int, then_us: int | None) -> str:
    return "never" if then_us is None else f"{(now_us - then_us) / 1e6:.0f} s ago"


def size(count: int) -> str:
    """Bytes in the largest decimal unit that they fill."""
    unit = 0
    value = float(count)
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"
