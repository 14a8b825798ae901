"""The servers of one machine: PostgreSQL with TimescaleDB, and Mosquitto; found or fetched, started, stopped."""

from local.servers.errors import (
    FetchError,
    NotFoundError,
    PortTakenError,
    ServerError,
    StartError,
    StopError,
)
from local.servers.home import segs_home
from local.servers.installation import Installation, locate_mosquitto, locate_postgres
from local.servers.mosquitto import MosquittoBroker
from local.servers.ports import free_port
from local.servers.postgres import PostgresServer

__all__ = [
    "FetchError",
    "Installation",
    "MosquittoBroker",
    "NotFoundError",
    "PortTakenError",
    "PostgresServer",
    "ServerError",
    "StartError",
    "StopError",
    "free_port",
    "locate_mosquitto",
    "locate_postgres",
    "segs_home",
]
