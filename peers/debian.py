"""libmodbus and mbpoll as Debian 13 packages them, in the data folder: the machine itself stays as it is."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.servers.apt import AptRoot
from local.servers.errors import ServerError
from local.servers.home import locked, segs_home
from local.servers.tree import unpack
from peers.errors import PeerUnavailable

_PACKAGES = ("libmodbus5", "libmodbus-dev", "mbpoll")
_STAMP = "complete.json"


@dataclass(frozen=True, slots=True)
class Tree:
    """An unpacked tree: its programs run by wrappers in `bin_dir`, others built against it by `command`."""

    root: Path

    @property
    def bin_dir(self) -> Path:
        return self.root / "usr/bin"

    @property
    def loader(self) -> Path:
        return next(self.root.glob("usr/lib/*/ld-linux-*.so.*"))

    @property
    def libraries(self) -> Path:
        return self.loader.parent

    def command(self, program: Path) -> list[str]:
        """How to run `program` with the libraries of this tree."""
        return [str(self.loader), "--library-path", str(self.libraries), str(program)]


def fetched(home: Path | None = None) -> Tree:
    """The tree in the cache of `home`, fetched if it is not there whole. Raises PeerUnavailable."""
    cache = (home or segs_home()) / "cache"
    try:
        with locked(cache / "peers.lock"):
            apt = AptRoot(root=cache / "apt-peers")
            root = cache / f"peers-debian13-{apt.architecture}"
            if not (root / _STAMP).is_file():
                _fetch(apt, cache, root)
            return Tree(root)
    except ServerError as error:
        raise PeerUnavailable(f"libmodbus cannot be fetched: {error}") from error


def _fetch(apt: AptRoot, cache: Path, root: Path) -> None:
    for leftover in [*cache.glob("unpacking-peers-*"), root]:
        shutil.rmtree(leftover, ignore_errors=True)
    archives = apt.download(_PACKAGES)
    partial = Path(tempfile.mkdtemp(prefix="unpacking-peers-", dir=cache)) / "root"
    try:
        unpack(archives, partial)
        (partial / _STAMP).write_text(json.dumps({"archives": sorted(archive.name for archive in archives)}))
        partial.rename(root)
    finally:
        shutil.rmtree(partial.parent, ignore_errors=True)
