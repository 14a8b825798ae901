"""Where the databases are: SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN, else this machine's own."""

import importlib.util
import json
import subprocess
import sys
from functools import cached_property

from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is missing; the message says which and what to do."""


class Settings(BaseSettings):
    """From the environment. A DSN is a libpq URL; one that is not set is the local database's, started if need be."""

    model_config = SettingsConfigDict(env_prefix="SEGS_", frozen=True)

    domain_dsn: str | None = None
    telemetry_dsn: str | None = None

    @property
    def domain(self) -> str:
        """The domain database's DSN. Raises SettingsError."""
        return self.domain_dsn or self._local["domain"]

    @property
    def telemetry(self) -> str:
        """The telemetry database's DSN. Raises SettingsError."""
        return self.telemetry_dsn or self._local["telemetry"]

    @cached_property
    def _local(self) -> dict[str, str]:
        missing = "SEGS_DOMAIN_DSN and SEGS_TELEMETRY_DSN say where the databases are; set them"
        if importlib.util.find_spec("local") is None:
            raise SettingsError(f"{missing}, or install segs[local] for databases on this machine")
        command = [sys.executable, "-m", "local", "dsn", "--json"]
        found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if found.returncode:
            raise SettingsError(f"{missing}; the local databases did not start (see above)")
        dsns: dict[str, str] = json.loads(found.stdout)
        return dsns
