"""Registers in files: each format that people have them in, and the line that is wrong."""

import pytest

from edge.tools.lines.image import Image
from edge.tools.lines.registers import parse
from edge.tools.outcome import ToolFault


def _image(text: str) -> Image:
    [image] = parse(text.encode(), "dump.txt")
    return image


@pytest.mark.parametrize(
    "text",
    [
        "0x0000: 4366 3333\n0x0034: 44fa 0000",
        "0: 43663333\n52: 0x44fa 0x0000",
        "0x0000 0x4366\n1 13107\n0x34, 0x44fa\n53=0",
        "# a comment\n\n0x0000: 4366 3333  # L1\n0x34\t17658\n0x35;0",
        '{"0x0": [17254, 13107], "52": [17658, 0]}',
    ],
)
def test_the_same_registers_in_every_format(text: str) -> None:
    image = _image(text)
    assert [image.word(4, address) for address in (0, 1, 52, 53, 2)] == [0x4366, 0x3333, 0x44FA, 0, None]


def test_a_function_tells_two_tables_apart() -> None:
    image = _image("4:0x0000: 4366 3333\n3:0x0000: 0001\n0x0001: 0002")
    assert image.word(4, 0) == 0x4366
    assert image.word(3, 0) == 1
    assert (image.word(4, 1), image.word(3, 1)) == (0x3333, 2)


def test_a_negative_value_is_its_sixteen_bits() -> None:
    assert _image("7 -2").word(3, 7) == 0xFFFE


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("0x0000: 4366\n0x0002: 436", "dump.txt:2", "'436': not four hexadecimal digits"),
        ("0 1\n\nvoltage 230", "dump.txt:3", "'voltage 230'"),
        ("0x1ffff 3", "dump.txt:1", "address 0x1ffff"),
        ("0 65536", "dump.txt:1", "65536: a register holds 0 to 65535"),
        ('{"4;0": [1]}', "dump.txt", "'4;0': no address"),
        ('{"4:0": [1.5]}', "dump.txt", "float"),
        ("# nothing", "dump.txt", "no registers in it"),
        ('{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n{"unit":1}\n', "dump.txt:2", "t_us"),
        (
            '{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n{"t_us":1,"unit":1,"request":"zz03","reply":null,"took_us":1}\n',
            "dump.txt:2",
            "request",
        ),
        (
            '{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n{"t_us":1,"unit":1,"request":"040","reply":null,"took_us":1}\n',
            "dump.txt:2",
            "request",
        ),
        (
            '{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n{"t_us":1,"unit":999,"request":"04","reply":null,"took_us":1}\n',
            "dump.txt:2",
            "unit",
        ),
        (
            '{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n{"t_us":1,"unit":1,"request":"04","reply":null,"took_us":-1}\n',
            "dump.txt:2",
            "took_us",
        ),
        ('{"segs_recording":2,"endpoint":"e","framing":"tcp","started_us":1}\n', "dump.txt:1", "version 2"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, place: str, found: str) -> None:
    with pytest.raises(ToolFault) as raised:
        parse(text.encode(), "dump.txt")
    assert str(raised.value).startswith(f"{place}: ")
    assert found in str(raised.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ToolFault, match="byte 2: not text"):
        parse(b"0 \xff", "dump.bin")


_HEAD = '{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n'


def _exchange(unit: int, request: str, reply: str | None, t_us: int) -> str:
    answer = "null" if reply is None else f'"{reply}"'
    return f'{{"t_us":{t_us},"unit":{unit},"request":"{request}","reply":{answer},"took_us":5}}\n'


def test_a_recording_gives_the_last_reply_of_each_unit() -> None:
    text = _HEAD
    text += _exchange(1, "0400000002", "040400010002", 10)
    text += _exchange(2, "0400000002", None, 20)
    text += _exchange(2, "0400000002", "8402", 30)
    text += _exchange(1, "0400000001", "04020009", 40)
    text += _exchange(1, "0600000001", "0600000001", 50)
    [image] = parse(text.encode(), "line.jsonl")
    assert (image.unit, image.time_us) == (1, 45)
    assert (image.word(4, 0), image.word(4, 1), image.word(3, 0)) == (9, 2, None)


def test_a_recording_that_was_cut_off_counts_up_to_there() -> None:
    text = _HEAD + _exchange(1, "0300100001", "03020007", 10) + '{"t_us":20,"unit":1,"requ'
    [image] = parse(text.encode(), "line.jsonl")
    assert image.word(3, 0x10) == 7


def test_a_recording_in_which_nobody_answered_has_no_registers() -> None:
    with pytest.raises(ToolFault, match="1 exchanges and no reply"):
        parse((_HEAD + _exchange(1, "0300100001", None, 10)).encode(), "line.jsonl")


def test_a_read_of_no_registers_in_a_recording_is_passed_over() -> None:
    entry = '{{"t_us":1,"unit":1,"request":"{}","reply":"{}","took_us":1}}\n'
    head = '{"segs_recording":1,"endpoint":"e","framing":"tcp","started_us":1}\n'
    image = _image(head + entry.format("0300000000", "03") + entry.format("0300070001", "0302002a"))
    assert image.words == {(3, 7): 0x2A}
