"""Folders for buffers: in memory, where the disk's own time would be most of a test's."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, on the disk where there is no such."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=shared, prefix="segs-test-"))
    yield folder
    shutil.rmtree(folder)
