"""A disk that is full, or read-only."""

import errno
import subprocess
from pathlib import Path


def fill(ballast: Path) -> None:
    """Write into `ballast` until there is no room left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def remounted(folder: Path, mode: str) -> None:
    """Mount the disk at `folder` anew, "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)
