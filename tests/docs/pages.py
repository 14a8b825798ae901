"""The pages and their fenced blocks: what kind each is, and how what is printed is held against what a page shows.

A fence's info string starts with its language; the words after it, which no reader sees, say what the test does:

| fence | what the test does |
|---|---|
| `sh run` | runs it in the page's folder, where earlier blocks left it; `exits=N` for another status than 0 |
| `sh background` | starts it, and ends it with the page |
| `sh make` | every line is a `make` command with a real target; `make -n` must accept it |
| `sh elsewhere=WORD` | not run here: `ELSEWHERE` has the reason |
| `toml gateway`, `fleet`, `profile` | loaded by the program that reads it; `save=NAME` keeps it for later blocks |
| `json batch`, `json receipt` | the golden file of version 1, in another layout |
| `json packed` | the golden file of the packed form, its bytes as hexadecimal texts |
| `json problem` | has the members of a problem that the receiver sends |
| `sql telemetry`, `sql domain` | run by psql on that database of the page's stack |
| `text output` | what the block before it prints, numbers and times aside; a line of … stands for any lines |
| `text demo` | the display of `make demo`, line by line |

`eventually` behind `run` or `sql`: repeated until the output is the one shown, as a person looks again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

ELSEWHERE = {
    "boot": "needs a system that was booted with systemd; tests/unit/test_systemd_units.py holds the units",
    "docker": "needs Docker; tests/unit/test_compose.py holds compose.yaml",
    "machine": "changes the machine, or needs a folder that only it has",
}
RUN_HERE = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "bench/README.md",
    "docs/architecture.md",
    "docs/operations.md",
    "docs/intervals.md",
    "docs/tariffs.md",
    "docs/alerts.md",
    "docs/field.md",
    "docs/simulator.md",
    "docs/billing.md",
)
COVERED = {
    "docs/install.md": "followed by tests/unit/test_systemd_install.py",
    "docs/meters.md": "generated; tests/docs/test_meters_page.py finds it stale",
    "docs/schema-reference.md": "generated; tests/sql/test_schema_source.py finds it stale",
    "tests/FAILURES.md": "has no block; tests/unit/test_failures_page.py holds it to the tests",
}

_WORDS = {
    "sh": {"run", "background", "make", "elsewhere", "eventually", "exits"},
    "toml": {"gateway", "fleet", "profile", "save"},
    "json": {"batch", "packed", "receipt", "problem"},
    "sql": {"telemetry", "domain", "eventually"},
    "text": {"output", "demo"},
}
_MODIFIERS = {"eventually", "exits", "save"}


class UnknownKind(Exception):
    """A fence that no test knows what to do with; the message has page, line and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: `kind` is language and purpose (`sh run`), `words` the rest (`exits` to `1`)."""

    page: str
    line: int
    kind: str
    words: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page in order. Raises UnknownKind."""
    opened: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.lstrip().startswith(("```", "~~~")):
            body.append(line)
        elif opened is None:
            if not line.startswith("```"):
                raise UnknownKind(f"{page}:{number}: {line.strip()!r}: fences are ``` at the start of a line")
            opened, body = (number, line.removeprefix("```")), []
        else:
            yield _block(page, *opened, "\n".join(body) + "\n")
            opened = None
    if opened is not None:
        raise UnknownKind(f"{page}:{opened[0]}: the block has no end")


def _block(page: str, line: int, info: str, text: str) -> Block:
    language, *rest = info.split() or [""]
    words = {name: value for name, _, value in (word.partition("=") for word in rest)}
    purposes = [name for name in words if name not in _MODIFIERS]
    allowed = _WORDS.get(language, set())
    if len(purposes) != 1 or not words.keys() <= allowed:
        raise UnknownKind(f"{page}:{line}: ```{info}: the table in {Path(__file__).name} has the kinds of blocks")
    if purposes == ["elsewhere"] and words["elsewhere"] not in ELSEWHERE:
        raise UnknownKind(f"{page}:{line}: elsewhere={words['elsewhere']}: give a reason of {', '.join(ELSEWHERE)}")
    return Block(page=page, line=line, kind=f"{language} {purposes[0]}", words=words, text=text)


_VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+\d\d(:\d\d)?|Z)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}([0-9a-f]{4})?\b"), "HEX"),
    (re.compile(r"\b(apache|community)\b"), "EDITION"),
    (re.compile(r"\b[0-9a-f]{4}( [0-9a-f]{4})+\b"), "WORDS"),
    # An age of 0 s is no promise.
    (re.compile(r"\b0 s (?=ago|old)"), "1 s "),
    (re.compile(r"\d+(?:\.\d+)?"), lambda match: "0" if match[0] == "0" else "N"),
    # Widths of columns go with what stands in them.
    (re.compile(r"[━─┄-]{2,}"), "-"),
    (re.compile(r"\s+"), " "),
)


def masked(line: str) -> str:
    """`line` without what differs from run to run: ids, times, and every number but 0, which is a promise."""
    for pattern, instead in _VARYING:
        line = pattern.sub(instead, line)
    return line.strip()


def shows(page: str, printed: str) -> bool:
    """Whether `printed` is what the page shows; a line of … in it stands for any lines, or none."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(masked(line)) + r"\n" for line in page.strip().splitlines()
    )
    return re.fullmatch(pattern, "".join(f"{masked(line)}\n" for line in printed.strip().splitlines())) is not None
