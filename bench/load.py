"""Batches from a seed: meters with a daily curve, a fixed cadence, and noise."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cloud.ingest.columns import Rows
from contract.batch import Batch, DeviceBlock
from contract.codec import PACKED, compress, encode

START_US = 1_767_225_600_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """`meters` that are read every `cadence_s`; a batch has `per_device` readings of `devices` of them."""

    meters: int
    devices: int
    per_device: int
    cadence_s: float = 1.0
    seed: int = 7

    @property
    def readings_per_batch(self) -> int:
        return self.devices * self.per_device

    def span_us(self, batches: int) -> int:
        """From the first reading of so many batches to after the last."""
        return -(-batches // (self.meters // self.devices)) * self.per_device * round(self.cadence_s * 1e6)

    def batches(self, count: int, *, start_us: int = START_US) -> Iterator[Batch]:
        """`count` batches of one stream, in order of time; 8 quantities a reading, registers that only grow."""
        stream = str(uuid.UUID(int=self.seed))
        for number, (meters, time_us, columns) in enumerate(self._readings(count, start_us)):
            times, values = time_us.tolist(), {name: column.tolist() for name, column in columns.items()}
            blocks = [
                DeviceBlock(
                    device=f"m{meter}",
                    time_us=times[row],
                    values={name: column[row] for name, column in values.items()},
                    interval_ms=round(self.cadence_s * 1000),
                )
                for row, meter in enumerate(meters.tolist())
            ]
            yield Batch(version=2, stream=stream, seq=number + 1, devices=blocks)

    def rows(self, count: int, *, start_us: int = START_US) -> Iterator[Rows]:
        """The same batches as rows for raw_readings; device `m0` is meter 1."""
        for meters, time_us, columns in self._readings(count, start_us):
            yield Rows(
                time_us=time_us.ravel(),
                meter_id=np.repeat(meters + 1, self.per_device).astype(np.int32),
                flags=np.zeros(self.readings_per_batch, dtype=np.int16),
                values={name: column.ravel() for name, column in columns.items()},
            )

    def _readings(self, count: int, start_us: int) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
        """Meters from 0, then their times and columns, a row for each meter, of `count` batches."""
        noise = np.random.default_rng(self.seed)
        register = noise.integers(1_000_000, 50_000_000, self.meters)
        rounds = self.meters // self.devices
        step_us = round(self.cadence_s * 1e6)
        for number in range(count):
            first_us = start_us + number // rounds * self.per_device * step_us
            meters = np.arange(self.devices) + number % rounds * self.devices
            yield (meters, *self._next(noise, register, meters, first_us, step_us))

    def _next(
        self, noise: np.random.Generator, register: np.ndarray, meters: np.ndarray, first_us: int, step_us: int
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Of each of `meters` its next readings: times and columns; every array has a row for each meter."""
        shape = (self.devices, self.per_device)
        # Each meter has its own phase within a second, and replies come a millisecond or so late.
        time_us = first_us + np.arange(self.per_device) * step_us + meters[:, np.newaxis] * 7919 % 1000 * 1000
        time_us += np.abs(noise.normal(0, 400, shape)).astype(np.int64) // 1000 * 1000
        day = np.sin(2 * np.pi * (time_us / 86_400e6 - 0.3)) + 1.2
        power = np.round(day * 800 * (1 + meters[:, np.newaxis] % 7) + noise.normal(0, 40, shape), 1)
        voltage = np.round(noise.normal(230, 1.5, (3, *shape)), 2)
        wh = register[meters][:, np.newaxis] + np.cumsum(power * step_us / 3.6e9, axis=1).astype(np.int64)
        register[meters] = wh[:, -1]
        return time_us, {
            "power_w": power,
            "voltage_l1_v": voltage[0],
            "voltage_l2_v": voltage[1],
            "voltage_l3_v": voltage[2],
            "current_l1_a": np.round(power / voltage[0], 3),
            "frequency_hz": np.round(noise.normal(50, 0.01, shape), 3),
            "power_factor": np.round(np.clip(noise.normal(0.95, 0.01, shape), 0, 1), 3),
            "energy_import_wh": wh,
        }


def wire(batch: Batch, media_type: str = PACKED) -> bytes:
    """The batch as a gateway sends it."""
    return compress(encode(batch, media_type), "zstd")
