"""Commands run in the tests' own process: a fresh one spends most of a second on its imports."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest


def segs_cloud(
    *arguments: str, environment: Mapping[str, str] | None = None, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """`segs-cloud` with `environment` on top of ours, and `typed` on its standard input."""
    from cloud.cli import main

    command, status = ["segs-cloud", *arguments], 0
    with pytest.MonkeyPatch.context() as at, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        for name, value in (environment or {}).items():
            at.setenv(name, value)
        at.setattr(sys, "argv", command)
        at.setattr(sys, "stdin", StringIO(typed))
        # Logging is the whole process's.
        at.setattr("cloud.cli.configure", lambda: None)
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())
