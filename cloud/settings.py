"""What the environment says: where the databases are, else the local ones, and whose pages may ask the API."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.errors import InputError

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


class SettingsError(InputError):
    """The databases cannot be told; the message says which variable to set."""


def faults(error: ValidationError) -> str:
    """Each variable of the environment that makes no sense, and why."""
    return "; ".join(f"SEGS_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors())


class Settings(BaseSettings):
    """What the environment says of the two databases."""

    model_config = SettingsConfigDict(env_prefix="SEGS_", env_ignore_empty=True)

    domain_dsn: str | None = None
    telemetry_dsn: str | None = None
    cors_origins: str = ""

    @property
    def origins(self) -> tuple[str, ...]:
        """Of SEGS_CORS_ORIGINS, separated by commas: whose pages may ask the API. None by default; raises
        SettingsError."""
        found = tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())
        for origin in found:
            if not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"SEGS_CORS_ORIGINS: {origin!r} is no origin; write each as https://app.example.org, without a path"
                )
        return found

    @property
    def domain(self) -> str:
        """libpq URL of the domain database, the local one where none is given; raises SettingsError."""
        return self.domain_dsn or _local()["domain"]

    @property
    def telemetry(self) -> str:
        """libpq URL of the telemetry database, the local one where none is given; raises SettingsError."""
        return self.telemetry_dsn or _local()["telemetry"]


@cache
def _local() -> dict[str, str]:
    """Asks the local package, in a process of its own: the cloud also runs without it, and never imports it."""
    advice = "set SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN"
    package = find_spec("local")
    checkout = package is not None and package.origin and (Path(package.origin).parents[1] / "pyproject.toml").is_file()
    if package is None or not (checkout or os.environ.get("SEGS_HOME")):
        # A production host that forgot its settings must not be given a database that nobody else knows of.
        raise SettingsError(f"no database is named: {advice}, or SEGS_HOME for a database on this machine")
    command = [sys.executable, "-m", "local", "dsn", "--json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode != 0:
        raise SettingsError(
            f"no database is named, and a local one could not be started ({' '.join(command[1:])} ended with "
            f"{answer.returncode}): {advice}"
        )
    found: dict[str, str] = json.loads(answer.stdout)
    return found
