"""Does with each block of a page what its kind says."""

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

import edge.config.load
import edge.profiles.catalog
import firmware_sim.fleet
from contract.batch import Batch
from contract.codec import JSON, decode, encode
from local.stack import Stack
from tests.docs.pages import ROOT, Block, shows
from tests.docs.shell import Shell

_PATIENCE_S = 120.0
_GOLDEN = ROOT / "tests" / "cases" / "contract-v1"


class Reader:
    """Follows one page. `instead` says what stands on this machine for the addresses of the page, `home` is the data
    folder of its local stack."""

    def __init__(self, *, shell: Shell, instead: Sequence[tuple[str, str]], home: Path) -> None:
        self._shell, self._instead, self._home = shell, instead, home

    def follow(self, page: Sequence[Block]) -> None:
        """Raises AssertionError at the first block that is not true, naming page and line."""
        for number, block in enumerate(page):
            after = page[number + 1] if number + 1 < len(page) else None
            shown = after.text if after is not None and after.kind == "text output" else None
            getattr(self, "_" + block.kind.replace(" ", "_"), self._nothing)(block, shown)

    def _nothing(self, block: Block, shown: str | None) -> None:
        """Output is compared with the block before it; the demo's display and other places have tests of their own."""

    def _sh_run(self, block: Block, shown: str | None) -> None:
        self._until_it_shows(block, self._here(block.text), shown)

    def _sh_background(self, block: Block, _: str | None) -> None:
        self._shell.start(self._here(block.text))

    def _sh_make(self, block: Block, _: str | None) -> None:
        for line in block.text.splitlines():
            command = shlex.split(line, comments=True)
            assert command[:1] == ["make"], f"{block}: {line!r} is no make command"
            status, printed = self._shell.run(shlex.join(["make", "-n", "-C", str(ROOT), *command[1:]]))
            assert status == 0, f"{block}: {line}\n{printed}"

    def _sql_telemetry(self, block: Block, shown: str | None) -> None:
        self._psql(block, "telemetry", shown)

    def _sql_domain(self, block: Block, shown: str | None) -> None:
        self._psql(block, "domain", shown)

    def _psql(self, block: Block, database: str, shown: str | None) -> None:
        dsn = Stack(home=self._home).databases.dsn(database)
        script = f"psql -X -q -v ON_ERROR_STOP=1 {shlex.quote(dsn)} <<'END_OF_SQL'\n{block.text}END_OF_SQL\n"
        self._until_it_shows(block, script, shown)

    def _until_it_shows(self, block: Block, script: str, shown: str | None) -> None:
        deadline_s = time.monotonic() + (_PATIENCE_S if "eventually" in block.words else 0)
        expected = int(block.words.get("exits", 0))
        while True:
            status, printed = self._shell.run(script)
            if status == expected and (shown is None or shows(self._here(shown), printed)):
                return
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.5)
        wanted = "" if shown is None else f"\nthe page shows\n{shown}"
        raise AssertionError(f"{block}: exit status {status}, printed\n{printed}{wanted}\n{self._shell.tails()}")

    def _toml_gateway(self, block: Block, _: str | None) -> None:
        text = self._here(block.text)
        edge.config.load.parse(text, str(block), self._shell.file("."))
        self._save(block, text)

    def _toml_fleet(self, block: Block, _: str | None) -> None:
        file = self._shell.file(block.words.get("save", "fleet.toml"))
        file.write_text(self._here(block.text), "utf-8")
        firmware_sim.fleet.load(file)

    def _toml_profile(self, block: Block, _: str | None) -> None:
        edge.profiles.catalog.parse(block.text, str(block))
        self._save(block, block.text)

    def _save(self, block: Block, text: str) -> None:
        if "save" in block.words:
            self._shell.file(block.words["save"]).write_text(text, "utf-8")

    def _json_batch(self, block: Block, _: str | None) -> None:
        shown: Batch = decode(block.text.encode(), JSON)
        assert encode(shown, JSON) == (_GOLDEN / "batch.json").read_bytes(), block

    def _json_packed(self, block: Block, _: str | None) -> None:
        packed = msgspec.msgpack.decode((_GOLDEN.parent / "contract-v2" / "batch.packed").read_bytes())
        assert json.loads(block.text) == json.loads(json.dumps(packed, default=bytes.hex)), block

    def _json_receipt(self, block: Block, _: str | None) -> None:
        assert json.loads(block.text) == json.loads((_GOLDEN / "receipt.json").read_text()), block

    def _json_problem(self, block: Block, _: str | None) -> None:
        members = json.loads(block.text)
        assert {"type", "status", "detail"} <= members.keys() <= {"type", "status", "detail", "where"}, block
        assert members["type"].startswith("urn:segs:problem:"), block

    def _here(self, text: str) -> str:
        for documented, actual in self._instead:
            text = text.replace(documented, actual)
        return text


def environment(home: Path, programs: Path) -> dict[str, str]:
    """What a reader has who has activated the virtual environment: our programs, psql, a wide terminal, a home."""
    inherited = {name: os.environ[name] for name in ("LANG", "SEGS_PG_BIN") if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ.get("PATH", "")])
    return inherited | {"PATH": path, "HOME": str(home), "SEGS_HOME": str(home), "COLUMNS": "120", "TZ": "UTC"}
