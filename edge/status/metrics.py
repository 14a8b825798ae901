"""Prometheus metrics on loopback, read from the daemon's own counters when somebody asks."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from contract.report import BacklogReport
from edge.clock import Clock
from edge.status.running import Running


class EdgeCollector(Collector):
    """`running` gives everything, as it is when somebody asks."""

    def __init__(self, *, running: Callable[[], Running], clock: Clock) -> None:
        self._running, self._clock = running, clock

    def collect(self) -> Iterable[Metric]:
        running = self._running()
        yield from self._devices(running)
        for broker in running.brokers:
            labels = {"broker": broker.broker}
            yield _gauge("segs_edge_broker_connected", "whether the broker is connected", broker.connected, labels)
            yield _counter("segs_edge_mqtt_messages", "messages received", broker.messages, labels)
            yield _counter("segs_edge_mqtt_rejected", "messages that no decoder could read", broker.rejected, labels)
        yield from self._buffer(running)
        yield from self._uplink(running)
        yield from self._lanes(running)
        yield from self._clocks(running)

    def _devices(self, running: Running) -> Iterator[Metric]:
        polled = CounterMetricFamily("segs_edge_readings_polled", "readings polled or received", labels=["device"])
        errors = CounterMetricFamily("segs_edge_device_errors", "failed reads and messages", labels=["device"])
        overruns = CounterMetricFamily(
            "segs_edge_poll_overruns", "polls left out because the bus was busy", labels=["device"]
        )
        aside = GaugeMetricFamily(
            "segs_edge_registers_set_aside", "registers that the meter refuses", labels=["device"]
        )
        last = GaugeMetricFamily(
            "segs_edge_last_reading_timestamp_seconds", "time of the last reading", labels=["device"]
        )
        for device in running.devices:
            polled.add_metric([device.device], device.readings)
            errors.add_metric([device.device], device.errors)
            overruns.add_metric([device.device], device.overruns)
            aside.add_metric([device.device], len(device.set_aside))
            if device.last_reading_us is not None:
                last.add_metric([device.device], device.last_reading_us / 1e6)
        yield from (polled, errors, overruns, aside, last)

    def _buffer(self, running: Running) -> Iterator[Metric]:
        buffer, disk, backlog = running.buffer, running.disk, running.backlog or BacklogReport()
        lag_s = 0.0 if backlog.oldest_us is None else (self._clock.now_us() - backlog.oldest_us) / 1e6
        yield _counter("segs_edge_readings_buffered", "readings committed to the buffer", buffer.committed)
        yield _gauge("segs_edge_readings_waiting", "readings in memory only", buffer.waiting)
        yield _counter("segs_edge_readings_overflowed", "readings given up in memory", buffer.overflowed)
        yield _gauge("segs_edge_buffer_writable", "whether the last commit succeeded", not buffer.unwritable)
        yield _gauge("segs_edge_backlog_readings", "readings without a receipt", backlog.readings)
        yield _gauge("segs_edge_backlog_bytes", "bytes of readings without a receipt", backlog.bytes)
        yield _gauge("segs_edge_lag_seconds", "age of the oldest reading without a receipt", max(0.0, lag_s))
        yield _gauge("segs_edge_buffer_used_bytes", "bytes of the buffer file that hold something", disk.used_bytes)
        yield _gauge("segs_edge_disk_free_bytes", "bytes free on the buffer's disk", disk.free_disk_bytes)
        yield _counter("segs_edge_written_bytes", "bytes that the process has sent to disks", running.written_bytes)
        given_up = CounterMetricFamily(
            "segs_edge_readings_given_up",
            "readings that are not delivered as they were read",
            labels=["kind"],
        )
        for kind in running.given_up.__struct_fields__:
            given_up.add_metric([kind], getattr(running.given_up, kind))
        yield given_up
        yield _counter("segs_edge_notes_lost", "notes that there was no room for", running.lost_notes)

    def _uplink(self, running: Running) -> Iterator[Metric]:
        uplink = running.uplink
        last_s = None if uplink.last_receipt_us is None else uplink.last_receipt_us / 1e6
        yield _counter("segs_edge_readings_synced", "readings with a receipt", uplink.readings)
        yield _counter("segs_edge_readings_quarantined", "readings set aside by the receiver", uplink.quarantined)
        yield _counter("segs_edge_readings_refused", "readings refused by the receiver", uplink.refused_readings)
        yield _counter("segs_edge_batches_synced", "batches with a receipt", uplink.batches)
        yield _counter("segs_edge_batches_refused", "batches refused, and cut anew in halves", uplink.refused)
        yield _counter("segs_edge_batches_resent", "batches that the receiver had lost, sent again", uplink.resent)
        yield _counter("segs_edge_uplink_attempts", "attempts to send a batch", uplink.attempts)
        yield _counter("segs_edge_uplink_failures", "attempts without a receipt", uplink.failures)
        yield _gauge("segs_edge_uplink_credit", "batches of backlog that the receiver grants at once", uplink.credit)
        yield _gauge("segs_edge_last_receipt_timestamp_seconds", "time of the last receipt", last_s)

    def _lanes(self, running: Running) -> Iterator[Metric]:
        lanes = {"live": running.uplink.live, "backlog": running.uplink.backlog}
        batches = CounterMetricFamily("segs_edge_lane_batches", "batches with a receipt", labels=["lane"])
        readings = CounterMetricFamily("segs_edge_lane_readings", "readings with a receipt", labels=["lane"])
        failures = CounterMetricFamily("segs_edge_lane_failures", "attempts without a receipt", labels=["lane"])
        for name, lane in lanes.items():
            batches.add_metric([name], lane.batches)
            readings.add_metric([name], lane.readings)
            failures.add_metric([name], lane.failures)
        yield from (batches, readings, failures)

    def _clocks(self, running: Running) -> Iterator[Metric]:
        clock = running.clock
        yield _gauge("segs_edge_clock_offset_seconds", "how far ahead of the receiver's clock", clock.offset_s)
        yield _gauge("segs_edge_clock_synchronized", "whether the kernel calls the clock so", clock.synchronized)
        yield _gauge("segs_edge_time_known", "whether anybody vouches for the time", running.time_known)
        yield _counter("segs_edge_readings_corrected", "readings whose time was computed", clock.corrected)


class MetricsServer:
    """The HTTP server, from entry to exit; port 0 means none. Raises OSError when the port is taken."""

    def __init__(self, *, port: int, collector: Collector) -> None:
        self._port, self._collector = port, collector
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> "MetricsServer":
        if self._port:
            registry = CollectorRegistry()
            registry.register(self._collector)
            server, thread = start_http_server(self._port, addr="127.0.0.1", registry=registry)

            def stop() -> None:
                server.shutdown()
                server.server_close()
                thread.join()

            self._stop = stop
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self._stop()


def _gauge(name: str, meaning: str, value: float | None, labels: dict[str, str] | None = None) -> Metric:
    return _with(GaugeMetricFamily(name, meaning, labels=list(labels or {})), value, labels)


def _counter(name: str, meaning: str, value: float | None, labels: dict[str, str] | None = None) -> Metric:
    return _with(CounterMetricFamily(name, meaning, labels=list(labels or {})), value, labels)


def _with(
    family: GaugeMetricFamily | CounterMetricFamily, value: float | None, labels: dict[str, str] | None
) -> Metric:
    """`family` with one sample, or with none where nobody knows the value."""
    if value is not None:
        family.add_metric(list((labels or {}).values()), float(value))
    return family
