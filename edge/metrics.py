"""Prometheus metrics on loopback, read from the daemon's own counters when somebody asks."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.buffer.rows import Backlog
from edge.clock import Clock
from edge.status import Running


class EdgeCollector(Collector):
    """`running` gives the counters, `backlog` what was last seen of the buffer."""

    def __init__(self, *, running: Callable[[], Running], backlog: Callable[[], Backlog], clock: Clock) -> None:
        self._running, self._backlog, self._clock = running, backlog, clock

    def collect(self) -> Iterable[Metric]:
        running = self._running()
        yield from self._devices(running)
        for broker in running.brokers:
            labels = {"broker": broker.broker}
            yield _gauge("segs_edge_broker_connected", "whether the broker is connected", broker.connected, labels)
            yield _counter("segs_edge_mqtt_messages", "messages received", broker.messages, labels)
            yield _counter("segs_edge_mqtt_rejected", "messages that no decoder could read", broker.rejected, labels)
        yield _counter("segs_edge_readings_buffered", "readings committed to the buffer", running.buffer.committed)
        yield _gauge("segs_edge_readings_waiting", "readings in memory only", running.buffer.waiting)
        yield _counter("segs_edge_readings_overflowed", "readings given up in memory", running.buffer.overflowed)
        yield _gauge("segs_edge_buffer_writable", "whether the last commit succeeded", not running.buffer.unwritable)
        yield _counter("segs_edge_readings_synced", "readings with a receipt", running.uplink.readings)
        yield _counter(
            "segs_edge_readings_quarantined", "readings set aside by the receiver", running.uplink.quarantined
        )
        yield _counter("segs_edge_batches_synced", "batches with a receipt", running.uplink.batches)
        yield _counter("segs_edge_batches_refused", "batches set aside", running.uplink.refused)
        yield _counter("segs_edge_uplink_attempts", "attempts to send a batch", running.uplink.attempts)
        yield _counter("segs_edge_uplink_failures", "attempts without a receipt", running.uplink.failures)
        yield from self._buffer()

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

    def _buffer(self) -> Iterator[Metric]:
        backlog = self._backlog()
        lag_s = 0.0 if backlog.oldest_us is None else (self._clock.now_us() - backlog.oldest_us) / 1e6
        yield _gauge("segs_edge_backlog_readings", "readings without a receipt", backlog.readings)
        yield _gauge("segs_edge_backlog_bytes", "bytes of readings without a receipt", backlog.bytes)
        yield _gauge("segs_edge_lag_seconds", "age of the oldest reading without a receipt", max(0.0, lag_s))


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


def _gauge(name: str, meaning: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=list(labels or {}))
    family.add_metric(list((labels or {}).values()), float(value))
    return family


def _counter(name: str, meaning: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=list(labels or {}))
    family.add_metric(list((labels or {}).values()), float(value))
    return family
