"""Sparkplug B (Eclipse specification 3.0.0): births announce metrics and aliases, data refer to them."""

from collections.abc import Mapping

import msgspec

from edge.errors import PayloadError
from edge.profiles.payload.clock import BEHIND_US, believed_us
from edge.profiles.payload.metric import MAX_METRICS, Metric, metrics
from edge.profiles.payload.number import NotANumber
from edge.profiles.payload.row import Row
from edge.profiles.payload.said import NOTHING, OFFLINE, Channels, Said
from edge.profiles.payload.schema import Message
from edge.profiles.payload.settings import DeviceFields

_BIRTHS, _DATA, _DEATHS = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA"), ("NDEATH", "DDEATH")
_BDSEQ = "bdSeq"
# Metrics that were sampled within it are one reading.
_TOGETHER_MS = 1_000
# More nodes than a filter for one device can mean.
_MAX_NODES = 256
_SHOWN = 100


class _Announced(msgspec.Struct):
    name: str
    datatype: int
    unit: str
    device: str | None


class _Node(msgspec.Struct):
    """What is known of an edge node. `seq` is that of its last message, None before a birth and after a gap."""

    by_alias: dict[int, _Announced] = {}
    by_name: dict[tuple[str | None, str], _Announced] = {}
    seq: int | None = None
    born: set[str | None] = set()
    bdseq: object = None
    complete: bool = True


class _Sample(msgspec.Struct):
    time_ms: int | None
    channel: int | None
    quantity: str
    value: float


class SparkplugReader:
    """Reads what one device publishes, or an edge node with its devices: whatever `topic` lets through.

    A sequence of messages has gaps only for who gets all of a node's, which a filter like `spBv1.0/G/+/N/#` does.
    Metrics of a second publisher are refused: nothing says which meter they are of.
    """

    def __init__(self, message: Message, fields: DeviceFields, topic: str, *, behind_us: int = BEHIND_US) -> None:
        self._follows, self._behind_us = topic.endswith("#"), behind_us
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._source: tuple[str, str, str | None] | None = None
        self._own: dict[str, list[Row]] = {}
        for own in fields.fields:
            self._own.setdefault(own.path, []).append(Row(own, named=True))
        self._rows: dict[str, list[Row]] = {}
        own_quantities = {own.quantity for own in fields.fields}
        for rank, row in enumerate(row for row in message.fields if row.quantity not in own_quantities):
            made = Row(row, named=True)
            made.rank = rank
            self._rows.setdefault(str(made.paths[0][0]).lower(), []).append(made)
        self._meant: dict[tuple[int | None, str], int] = {}

    def read(self, parts: Mapping[str, str], payload: bytes, now_us: int) -> Said:
        """What a message says; `parts` has group, type, node and perhaps device. Raises PayloadError."""
        kind, device = parts["type"], parts.get("device")
        if kind not in (*_BIRTHS, *_DATA, *_DEATHS):
            return NOTHING
        key = (parts["group"], parts["node"])
        if key not in self._nodes and len(self._nodes) >= _MAX_NODES:
            self._nodes.clear()
        node = self._nodes.setdefault(key, _Node())
        found = metrics(payload)
        if kind == "NDEATH":
            return self._node_died(node, found.metrics)
        gap = self._gap(node, kind, found.seq)
        if kind == "DDEATH":
            node.born.discard(device)
            return OFFLINE
        if kind in _BIRTHS:
            self._announce(node, kind, device, found.metrics)
        unborn = kind in _DATA and device not in node.born
        skipped: list[str] = []
        samples: list[_Sample] = []
        unknown = 0
        for metric in found.metrics:
            known = self._known(node, device, metric)
            if known is None:
                unknown += 1
                continue
            self._sample((*key, known.device), metric, known, found.time_ms, samples, skipped)
        if unknown:
            skipped.append(f"{unknown} metrics of an alias that no birth announced")
        if skipped and not (samples or gap or unborn or unknown):
            raise PayloadError("no usable number in it: " + "; ".join(skipped[:8]))
        return _told(samples, skipped, gap or unborn or unknown > 0, now_us, self._behind_us)

    def _node_died(self, node: _Node, told: list[Metric]) -> Said:
        # A will that belongs to a connection before the last birth comes late, and ends nothing.
        bdseq = _bdseq(told)
        if bdseq is not None and node.bdseq is not None and bdseq != node.bdseq:
            return NOTHING
        node.born.clear()
        node.by_alias.clear()
        node.by_name.clear()
        node.seq = None
        return OFFLINE

    def _gap(self, node: _Node, kind: str, seq: int | None) -> bool:
        """Whether messages before this one were missed; then no alias holds until the next birth of the node."""
        if kind == "NBIRTH":
            node.seq, node.complete = seq or 0, True
            return False
        if not self._follows or seq is None:
            return not node.complete
        if node.seq is not None and seq != (node.seq + 1) & 0xFF:
            node.complete = False
            node.by_alias.clear()
        node.seq = seq
        return not node.complete

    def _announce(self, node: _Node, kind: str, device: str | None, told: list[Metric]) -> None:
        if kind == "NBIRTH":
            node.born.clear()
            node.by_alias.clear()
            node.by_name.clear()
            node.bdseq = _bdseq(told)
        elif len(node.by_name) > MAX_METRICS:
            raise PayloadError(f"more than {MAX_METRICS} metrics announced by one node")
        node.born.add(device)
        for metric in told:
            if metric.name is None:
                continue
            announced = _Announced(metric.name, metric.datatype, metric.unit, device)
            node.by_name[device, metric.name] = announced
            if metric.alias is not None:
                node.by_alias[metric.alias] = announced

    def _known(self, node: _Node, device: str | None, metric: Metric) -> _Announced | None:
        if metric.name:
            known = node.by_name.get((device, metric.name))
            if known is not None:
                return known
            return _Announced(metric.name, metric.datatype, metric.unit, device)
        known = None if metric.alias is None else node.by_alias.get(metric.alias)
        return known if known is not None and known.device == device else None

    def _sample(
        self,
        source: tuple[str, str, str | None],
        metric: Metric,
        known: _Announced,
        payload_ms: int | None,
        samples: list[_Sample],
        skipped: list[str],
    ) -> None:
        device = source[2]
        rows = self._own.get(f"{device}/{known.name}", []) if device is not None else []
        rows = rows or self._own.get(known.name, [])
        if not rows:
            rows = self._rows.get(known.name.lower(), [])
            if not rows:
                return
            if self._source is None:
                self._source = source
            elif self._source != source:
                other, this = ("/".join(filter(None, parts)) for parts in (self._source, source))
                raise PayloadError(
                    f"{known.name[:_SHOWN]} of {this}, after those of {other}; give each a device of its own"
                )
        try:
            value = metric.value(metric.datatype or known.datatype)
            unit = metric.unit or known.unit
            written = {"value": value, "unit": unit} if unit and type(value) in (int, float) else value
            for row in rows:
                number = row.value(written)
                meant = self._meant.setdefault((row.channel, row.quantity), row.rank)
                if number is not None and meant >= row.rank:
                    self._meant[row.channel, row.quantity] = row.rank
                    time_ms = metric.time_ms if metric.time_ms is not None else payload_ms
                    samples.append(_Sample(time_ms, row.channel, row.quantity, number))
        except (NotANumber, PayloadError) as error:
            skipped.append(f"{known.name[:_SHOWN]}: {error}")


def _bdseq(told: list[Metric]) -> object:
    return next((metric.raw[1] for metric in told if metric.name == _BDSEQ and metric.raw is not None), None)


def _told(samples: list[_Sample], skipped: list[str], rebirth: bool, now_us: int, behind_us: int) -> Said:
    """`samples` by the time they were taken at: the newest is what the message says, the rest is earlier."""
    moments: list[tuple[int, int, Channels]] = []
    now_ms = now_us // 1000
    for sample in sorted(samples, key=lambda sample: now_ms if sample.time_ms is None else sample.time_ms):
        time_ms = now_ms if sample.time_ms is None else sample.time_ms
        known = moments[-1][2].get(sample.channel, {}) if moments else {}
        if not moments or time_ms - moments[-1][0] >= _TOGETHER_MS or sample.quantity in known:
            moments.append((time_ms, time_ms, {}))
        first_ms, _, channels = moments[-1]
        channels.setdefault(sample.channel, {})[sample.quantity] = sample.value
        moments[-1] = (first_ms, time_ms, channels)
    timed = any(sample.time_ms is not None for sample in samples)
    told = [
        Said(channels, believed_us(last_ms * 1000, now_us, behind_us) if timed else None)
        for _, last_ms, channels in moments
    ]
    if not told:
        return Said({}, skipped=tuple(skipped), needs_rebirth=rebirth)
    earlier = tuple(said for said in told[:-1] if said.time_us is not None)
    if len(earlier) < len(told) - 1:
        skipped.append(f"{len(told) - 1 - len(earlier)} moments before, at times that cannot be believed")
    newest = told[-1]
    return Said(newest.channels, newest.time_us, tuple(skipped), needs_rebirth=rebirth, earlier=earlier)
