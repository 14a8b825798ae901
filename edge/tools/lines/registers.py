"""Registers in a file, however they were written down: a hex dump, a list, JSON, or a recording."""

import re

import msgspec

from edge.tools.lines import recording
from edge.tools.lines.image import Image
from edge.tools.outcome import ToolFault

FORMATS = """\
A registers file is one of these; # begins a comment:

\b
  hex dump     0x0000: 4366 3333 4365 0000      address, colon, words in hexadecimal
               4:0x0034: 44fa0000               the same with the function that read it
  list         0x0034 17530                     address, value; decimal or 0x…
               53, 0x8000                       (a comma, = or a tab will do)
  JSON         {"4:0": [17254, 13107], "0x34": [17530, 32768]}
  recording    what segs-edge record wrote: the last reply for each register
"""
_DUMP = re.compile(r"(?:(?P<function>[1-4])\s*:\s*)?(?P<address>0x[0-9a-f]+|\d+)\s*:\s*(?P<words>[0-9a-fx\s]+)\Z", re.I)
_LIST = re.compile(r"(?P<address>0x[0-9a-f]+|\d+)\s*[\s,;=]\s*(?P<value>0x[0-9a-f]+|-?\d+)\Z", re.I)
_KEY = re.compile(r"(?:(?P<function>[1-4])\s*:\s*)?(?P<address>0x[0-9a-f]+|\d+)\Z", re.I)


def parse(text: bytes, name: str) -> list[Image]:
    """The units in the file `name`; all but a recording hold one. Raises ToolFault naming file and line."""
    if recording.is_recording(text):
        return _recorded(text, name)
    try:
        plain = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolFault(f"{name}: byte {error.start}: not text; see segs-edge decode --help for the formats") from error
    image = _json(text, name) if plain.lstrip().startswith("{") else _lines(plain, name)
    if not image.words:
        raise ToolFault(f"{name}: no registers in it; see segs-edge decode --help for the formats")
    return [image]


def _recorded(text: bytes, name: str) -> list[Image]:
    _, entries = recording.read(text, name)
    images: dict[int, Image] = {}
    for entry in entries:
        for unit, function, address, words in recording.registers([entry]):
            image = images.setdefault(unit, Image(unit=unit))
            image.put(function, address, words)
            image.time_us = entry.t_us + entry.took_us
    if not images:
        raise ToolFault(f"{name}: {len(entries)} exchanges and no reply with registers; record a meter that answers")
    return list(images.values())


def _json(text: bytes, name: str) -> Image:
    try:
        content = msgspec.json.decode(text, type=dict[str, list[int] | int])
    except msgspec.DecodeError as error:
        raise ToolFault(f'{name}: {error}; write {{"4:0": [17254, 13107]}}') from error
    image = Image()
    for key, value in content.items():
        where = f"{name}: {key!r}"
        if (match := _KEY.match(key.strip())) is None:
            raise ToolFault(f'{where}: no address; write "0x34" or, with the function, "4:0x34"')
        words = value if isinstance(value, list) else [value]
        image.put(_function(match), _address(match, where), (_word(word, where) for word in words))
    return image


def _lines(text: str, name: str) -> Image:
    image = Image()
    for number, line in enumerate(text.splitlines(), 1):
        content, where = line.partition("#")[0].strip(), f"{name}:{number}"
        if not content:
            continue
        if match := _DUMP.match(content):
            address, words = _address(match, where), _hex_words(match["words"], where)
        elif match := _LIST.match(content):
            address, words = _address(match, where), [_word(_number(match["value"]), where)]
        else:
            raise ToolFault(
                f"{where}: {content[:60]!r}: neither '0x0000: 4366 3333' nor '0x0000 17254'; "
                "see segs-edge decode --help for the formats"
            )
        image.put(_function(match) if "function" in match.re.groupindex else None, address, words)
    return image


def _function(match: re.Match[str]) -> int | None:
    return None if match["function"] is None else int(match["function"])


def _address(match: re.Match[str], where: str) -> int:
    address = _number(match["address"])
    if address > 0xFFFF:
        raise ToolFault(f"{where}: address {match['address']}; addresses are 0 to 0xffff, as they go over the wire")
    return address


def _number(text: str) -> int:
    return int(text, 16) if text.lower().startswith("0x") else int(text)


def _hex_words(text: str, where: str) -> list[int]:
    words: list[int] = []
    for part in text.split():
        digits = part.lower().removeprefix("0x")
        if len(digits) % 4 or not re.fullmatch(r"[0-9a-f]+", digits):
            raise ToolFault(f"{where}: {part!r}: not four hexadecimal digits for each register")
        words += [int(digits[at : at + 4], 16) for at in range(0, len(digits), 4)]
    return words


def _word(value: int, where: str) -> int:
    if not -0x8000 <= value <= 0xFFFF:
        raise ToolFault(f"{where}: {value}: a register holds 0 to 65535; a longer value is several registers")
    return value & 0xFFFF
