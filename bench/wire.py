"""Bytes on the wire: a batch of 5,000 readings of 8 quantities, read every 10 s, as a gateway sends it."""

from bench.household import Households
from bench.result import Result
from contract.batch import Batch
from contract.codec import MSGPACK, PACKED, compress, decode, encode

_METERS, _EACH = 50, 100


def run() -> list[Result]:
    """The packed form against the limit, and against MessagePack under the same zstd."""
    blocks = list(Households(meters=_METERS, cadence_s=10).blocks(_EACH))
    batch = Batch(version=2, stream="0b9d3f0e-6a52-4e0c-9c39-3f1f7f6f2a11", seq=1, devices=blocks)
    packed, plain = (encode(batch, media_type) for media_type in (PACKED, MSGPACK))
    if decode(packed, PACKED).devices != blocks:
        raise RuntimeError("what was packed is not what comes out")
    figure, peer = (len(compress(body, "zstd")) / batch.readings for body in (packed, plain))
    return [
        Result.limit("wire: 8 quantities at 10 s", "bytes/reading", figure, at_most=6.0),
        Result(
            name="wire: the same",
            unit="bytes/reading",
            figures=[figure],
            peer="MessagePack columns, zstd",
            peer_figures=[peer],
        ),
    ]
