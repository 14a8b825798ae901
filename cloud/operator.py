"""Whoever works at the command line: what is changed is changed in their name."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cloud.registry_copy import copy_registry
from cloud.settings import Settings


def actor() -> str:
    """The operator as audit log and versions of intervals name them; the number of a user without a name."""
    try:
        return f"segs-cloud:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"segs-cloud:{os.getuid()}"


@contextmanager
def domain_transaction(settings: Settings) -> Iterator[psycopg.Connection]:
    """A transaction in the domain database, in the operator's name."""
    with psycopg.connect(settings.domain) as domain:
        domain.execute("SELECT set_config('segs.actor', %s, true)", [actor()])
        yield domain


def bring_in_step(settings: Settings) -> None:
    """Copies the registry to the telemetry database."""
    with psycopg.connect(settings.domain) as domain, psycopg.connect(settings.telemetry) as telemetry:
        copy_registry(domain, telemetry)


@contextmanager
def registration() -> Iterator[psycopg.Connection]:
    """A transaction in the domain database; after it, the telemetry database's registry is brought in step."""
    settings = Settings()
    with domain_transaction(settings) as domain:
        yield domain
    bring_in_step(settings)
