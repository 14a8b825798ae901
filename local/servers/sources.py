"""The machine's own apt sources, turned towards Debian 13."""

from __future__ import annotations

import re
from pathlib import Path

SUITE = "trixie"
# Third parties name their suites otherwise (bookworm-pgdg, nodistro) or have no component `main`.
_DEBIAN_SUITE = re.compile(
    r"(?:bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)"
    r"(?P<pocket>|-updates|-security|/updates)/?"
)
_ONE_LINE = re.compile(r"deb\s+(?P<options>\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")


def translated(text: str, *, deb822: bool) -> str:
    """The Debian archives of one sources file as sources of Debian 13, in the same format; empty when it has none.

    Mirror, options, keys (Signed-By) and trust stay as the machine's administrator set them.
    """
    return _stanzas(text) if deb822 else _lines(text)


def translated_files(source_list: Path, source_parts: Path) -> dict[str, str]:
    """File name -> content of the private sources folder, from the machine's sources.list and sources.list.d."""
    parts = sorted(source_parts.iterdir()) if source_parts.is_dir() else []
    found: dict[str, str] = {}
    for file in [source_list, *parts]:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        content = translated(file.read_text(errors="replace"), deb822=file.suffix == ".sources")
        if content:
            found[file.name] = content
    return found


def _suite(suite: str) -> str | None:
    match = _DEBIAN_SUITE.fullmatch(suite)
    if not match:
        return None
    return SUITE + match["pocket"].replace("/updates", "-security")


def _copied(uri: str) -> str:
    """apt leaves packages of `file:` archives where they are; `copy:` is the same archive, downloaded like others."""
    return re.sub(r"^file:", "copy:", uri)


def _lines(text: str) -> str:
    lines = []
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.split("#", 1)[0].strip())
        if not match or "main" not in match["components"].split() or match["uri"].startswith("cdrom:"):
            continue
        if suite := _suite(match["suite"]):
            lines.append(f"deb {match['options'] or ''}{_copied(match['uri'])} {suite} main\n")
    return "".join(dict.fromkeys(lines))


def _stanzas(text: str) -> str:
    stanzas = []
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for block in re.split(r"\n\s*\n", uncommented):
        fields = _fields(block)
        suites = dict.fromkeys(filter(None, map(_suite, fields.get("suites", "").split())))
        if (
            "deb" not in fields.get("types", "").split()
            or "main" not in fields.get("components", "").split()
            or fields.get("enabled", "yes").strip().lower() in ("no", "false", "0")
            or not suites
            or "uris" not in fields
        ):
            continue
        uris = " ".join(map(_copied, fields["uris"].split()))
        fields |= {"types": "deb", "components": "main", "suites": " ".join(suites), "uris": uris}
        stanzas.append("".join(f"{name.title()}: {value.strip()}\n" for name, value in fields.items()))
    return "\n".join(stanzas)


def _fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line[:1].isspace() and name:  # a key written into the file itself (Signed-By) spans many lines
            fields[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value
    return fields
