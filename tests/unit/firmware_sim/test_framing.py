import pytest

from firmware_sim.modbus.framing import FramingError, Request, RtuFraming, TcpFraming, crc

# Read 2 input registers of unit 1; the CRC is that of the specification's algorithm, worked out elsewhere.
READ = bytes.fromhex("010400000002") + bytes.fromhex("71cb")
WRITE = bytes.fromhex("01100001000204000a0102")


def _rtu(body: bytes) -> bytes:
    return body + crc(body)


def test_the_crc_is_that_of_known_frames() -> None:
    assert crc(bytes.fromhex("010400000002")) == bytes.fromhex("71cb")
    assert crc(b"123456789") == bytes.fromhex("374b"), "the check value of CRC-16/MODBUS, low byte first"


@pytest.mark.parametrize("cut", range(1, len(READ)))
def test_a_frame_in_two_pieces_is_one_request(cut: int) -> None:
    framing = RtuFraming()
    assert framing.feed(READ[:cut]) == []
    assert framing.unfinished
    assert framing.feed(READ[cut:]) == [Request(1, READ[1:-2], 0, 8)]
    assert not framing.unfinished


def test_a_request_that_says_its_length_ends_there() -> None:
    frame = _rtu(WRITE)
    assert RtuFraming().feed(frame + READ) == [Request(1, WRITE[1:], 0, 13), Request(1, READ[1:-2], 0, 8)]


def test_a_request_of_an_unknown_function_ends_at_the_silence() -> None:
    framing, frame = RtuFraming(), _rtu(bytes.fromhex("016412345678"))
    assert framing.feed(frame) == []
    assert framing.gap() == [Request(1, frame[1:-2], 0, 8)]


def test_after_a_wrong_crc_all_is_noise_until_the_silence() -> None:
    """E9: nobody knows where the next frame begins."""
    framing = RtuFraming()
    assert framing.feed(READ[:-1] + b"\x00" + READ) == []
    assert framing.gap() == []
    assert framing.feed(READ) == [Request(1, READ[1:-2], 0, 8)]


def test_half_a_frame_is_forgotten_at_the_silence() -> None:
    framing = RtuFraming()
    framing.feed(READ[:5])
    assert framing.gap() == []
    assert len(framing.feed(READ)) == 1


@pytest.mark.parametrize("stream", ["000100010006010400000002", "00010000000001", "0001000000ff01"])
def test_what_cannot_be_a_header_of_modbus_tcp_is_refused(stream: str) -> None:
    with pytest.raises(FramingError):
        TcpFraming().feed(bytes.fromhex(stream))
