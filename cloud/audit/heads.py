"""Ends of the chain as text, to be kept where nobody who reaches the database reaches it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cloud.audit.chain import Head
from cloud.errors import InputError

_LINE = re.compile(r"(?P<lane>[0-9]{1,4}) (?P<link>[0-9]{1,18}) (?P<hash>[0-9a-f]{64})")


class HeadsError(InputError):
    """A file that `audit head` has not written."""

    def __init__(self, file: Path, number: int, found: str) -> None:
        super().__init__(f"{file}:{number}: {found!r} is no head; write lines as segs-cloud audit head does")


def lines(heads: Iterable[Head]) -> Iterator[str]:
    """Lane, link, hash in hex; lanes that nothing was written to yet are left out."""
    for head in heads:
        if head.link_id:
            yield f"{head.lane} {head.link_id} {head.hash.hex()}"


def read(file: Path) -> list[Head]:
    """Heads of one export, or of several one after the other; `#` begins a comment. Raises HeadsError, InputError."""
    found = []
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error.strerror if isinstance(error, OSError) else 'no text'}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        told = line.partition("#")[0].strip()
        match = _LINE.fullmatch(told)
        if told and match is None:
            raise HeadsError(file, number, line[:100])
        if match:
            found.append(Head(int(match["lane"]), int(match["link"]), bytes.fromhex(match["hash"])))
    return found
