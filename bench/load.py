"""Batches from a seed: meters with a daily curve, a fixed cadence, and noise."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from contract.batch import Batch, DeviceBlock
from contract.codec import MSGPACK, compress, encode

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

    def batches(self, count: int, *, start_us: int = START_US) -> Iterator[Batch]:
        """`count` batches of one stream, in order of time; 8 quantities a reading, registers that only grow."""
        noise = np.random.default_rng(self.seed)
        stream = str(uuid.UUID(int=self.seed))
        register = noise.integers(1_000_000, 50_000_000, self.meters)
        rounds = self.meters // self.devices
        step_us = int(self.cadence_s * 1e6)
        for number in range(count):
            first = number // rounds * self.per_device
            group = number % rounds
            meters = range(group * self.devices, (group + 1) * self.devices)
            blocks = [self._block(noise, register, meter, start_us + first * step_us, step_us) for meter in meters]
            yield Batch(version=1, stream=stream, seq=number + 1, devices=blocks)

    def _block(
        self, noise: np.random.Generator, register: np.ndarray, meter: int, first_us: int, step_us: int
    ) -> DeviceBlock:
        count = self.per_device
        time_us = first_us + np.arange(count) * step_us + meter % 1000
        day = np.sin(2 * np.pi * (time_us / 86_400e6 - 0.3)) + 1.2
        power = np.round(day * 800 * (1 + meter % 7) + noise.normal(0, 40, count), 1)
        voltage = np.round(noise.normal(230, 1.5, (3, count)), 2)
        wh = register[meter] + np.cumsum(power * step_us / 3.6e9).astype(np.int64)
        register[meter] = wh[-1]
        values = {
            "power_w": power.tolist(),
            "voltage_l1_v": voltage[0].tolist(),
            "voltage_l2_v": voltage[1].tolist(),
            "voltage_l3_v": voltage[2].tolist(),
            "current_l1_a": np.round(power / voltage[0], 3).tolist(),
            "frequency_hz": np.round(noise.normal(50, 0.01, count), 3).tolist(),
            "power_factor": np.round(np.clip(noise.normal(0.95, 0.01, count), 0, 1), 3).tolist(),
            "energy_import_wh": wh.tolist(),
        }
        return DeviceBlock(device=f"m{meter}", time_us=time_us.tolist(), values=values, interval_ms=step_us // 1000)


def wire(batch: Batch) -> bytes:
    """The batch as a gateway sends it."""
    return compress(encode(batch, MSGPACK), "zstd")
