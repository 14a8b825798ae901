"""The batch on the wire: version 1 is pinned by golden files, and whatever breaks it is told where."""

import json
from pathlib import Path

import msgspec
import pytest

from contract.batch import Batch, BatchError, DeviceBlock, Flag
from contract.codec import (
    ENCODINGS,
    JSON,
    MEDIA_TYPES,
    MSGPACK,
    TooLarge,
    checksum,
    compress,
    decode,
    decompress,
    encode,
)
from contract.receipt import Quarantined, Receipt

GOLDEN = Path(__file__).parents[2] / "cases" / "contract-v1"
STREAM = "0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11"
BATCH = Batch(
    version=1,
    stream=STREAM,
    seq=42,
    devices=[
        DeviceBlock(
            device="main",
            time_us=[1767225600000000, 1767225601000250],
            values={"power_w": [1234.5, None], "energy_import_wh": [10_000_000_001, 10_000_000_002]},
            interval_ms=1000,
        ),
        DeviceBlock(
            device="plug/2",
            time_us=[1767225600500000],
            values={"voltage_l1_v": [230.12], "power_w": [-18.0]},
            flags=[int(Flag.TIME_FROM_DEVICE)],
        ),
    ],
)


@pytest.mark.parametrize(("media_type", "name"), [(JSON, "batch.json"), (MSGPACK, "batch.msgpack")])
def test_version_1_is_what_the_golden_files_say(media_type: str, name: str) -> None:
    golden = (GOLDEN / name).read_bytes()

    assert decode(golden, media_type) == BATCH
    assert encode(BATCH, media_type) == golden


@pytest.mark.parametrize("name", ["batch.json.gz", "batch.msgpack.zst"])
def test_golden_files_decompress_to_the_golden_bytes(name: str) -> None:
    encoding = "gzip" if name.endswith("gz") else "zstd"

    plain = decompress((GOLDEN / name).read_bytes(), encoding, 10_000)

    assert plain == (GOLDEN / name).with_suffix("").read_bytes()


def test_the_golden_checksum_is_of_the_uncompressed_bytes() -> None:
    golden = json.loads((GOLDEN / "receipt.json").read_bytes())

    assert checksum((GOLDEN / "batch.msgpack").read_bytes()) == golden["sha256"]


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_cut_batch_is_taken_for_a_whole_one(media_type: str, encoding: str) -> None:
    wire = compress(encode(BATCH, media_type), encoding)

    for length in range(len(wire)):
        with pytest.raises(BatchError):
            decode(decompress(wire[:length], encoding, 10_000), media_type)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bytes_after_a_batch_are_refused(media_type: str, encoding: str) -> None:
    wire = compress(encode(BATCH, media_type), encoding) + b"x"

    with pytest.raises(BatchError):
        decode(decompress(wire, encoding, 10_000), media_type)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_stopped_at_the_limit(encoding: str) -> None:
    bomb = compress(bytes(64 * 2**20), encoding)

    with pytest.raises(TooLarge, match="1000000 bytes"):
        decompress(bomb, encoding, 1_000_000)


def _json(**changes: object) -> bytes:
    device = {"device": "main", "time_us": [1], "values": {"power_w": [1.5]}}
    devices = [device | changes.pop("block", {})]
    return json.dumps({"version": 1, "stream": STREAM, "seq": 1, "devices": devices} | changes).encode()


@pytest.mark.parametrize(
    ("body", "where", "found"),
    [
        (_json(version=3), "$.version", "3"),
        (_json(notes=[{"kind": "silent", "first_us": 1, "last_us": 2}]), "$.notes", "1 notes"),
        (_json(stream="x"), "$.stream", "'x'"),
        (_json(seq=0), "$.seq", ">= 1"),
        (_json(extra=1), "$", "extra"),
        (_json(block={"time_us": [1, 2]}), "$.devices[0].values.power_w", "1 entries"),
        (_json(block={"time_us": ["1"]}), "$.devices[0].time_us[0]", "str"),
        (_json(block={"flags": []}), "$.devices[0].flags", "0 entries"),
        (_json(block={"device": "a b"}), "$.devices[0].device", "matching regex"),
        (_json(block={"device": "main\n"}), "$.devices[0].device", "matching regex"),
        (_json(block={"values": {"a\u0000": [1]}}), "$.devices[0].values", "a\\x00"),
        (_json(block={"values": {"power_w": ["12"]}}), "$.devices[0].values[...][0]", "str"),
        (b'{"version": NaN}', "$", "malformed"),
        (b"\xff\xfe", "$", "malformed"),
        (b"", "$", "truncated"),
        (b"[" * 200_000, "$", ""),
    ],
)
def test_a_broken_batch_says_where_and_what(body: bytes, where: str, found: str) -> None:
    with pytest.raises(BatchError) as error:
        decode(body, JSON)

    assert error.value.where == where
    assert found in error.value.found


def test_the_receipt_of_version_1_is_what_the_golden_file_says() -> None:
    golden = (GOLDEN / "receipt.json").read_bytes()

    receipt = msgspec.json.decode(golden, type=Receipt)

    assert (receipt.seq, receipt.readings, receipt.stored) == (42, 3, 2)
    assert receipt.quarantined == [Quarantined("plug/2", "unknown_device", 1)]
    assert msgspec.json.encode(receipt) == golden
