"""The gateway daemon: polls meters, keeps every reading in a local buffer, syncs batches to the cloud."""

from importlib.metadata import version

VERSION = version("segs")
