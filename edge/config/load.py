"""Reads a configuration file and checks it whole: each value, and what values say together."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from edge.config.models import MODBUS_TLS_PORT, MQTT_TLS_PORT, Config, ModbusConfig, MqttConfig
from edge.errors import ConfigError
from edge.profiles import catalog
from edge.validation import describe

_NUMBERED = re.compile(r"/dev/tty(USB|ACM)\d+")
_BY_ID = Path("/dev/serial/by-id")
_TLS_PORTS = {"modbus": MODBUS_TLS_PORT, "mqtt": MQTT_TLS_PORT}
_PORTS = {"modbus": ModbusConfig.model_fields["port"].default, "mqtt": MqttConfig.model_fields["port"].default}


def load(path: Path) -> Config:
    """The configuration in `path`; its relative paths are relative to the file's folder.

    Raises ConfigError with every problem that is in the file, not only the first.
    """
    try:
        return parse(path.read_text("utf-8"), path.name, path.parent)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; name a readable file"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path.name}: byte {error.start}: not UTF-8; save the file as UTF-8"]) from error


def parse(text: str, name: str, folder: Path) -> Config:
    """The configuration in `text`; `name` stands in errors, `folder` is what relative paths start from."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{name}: not TOML: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{name}: not TOML: brackets in brackets without end"]) from error
    problems: list[str] = []
    config: Config | None = None
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += [f"{name}: {line}" for line in describe(error, Config)]
    problems += [f"{name}: {line}" for line in _contradictions(data, folder)]
    if config is None or problems:
        raise ConfigError(problems)
    config = _absolute(config, folder)
    problems = [f"{name}: {line}" for line in _own_profiles(config)]
    if problems:
        raise ConfigError(problems)
    return config


def warnings(config: Config, *, by_id: Path = _BY_ID) -> Iterator[str]:
    """What is allowed and will be regretted, with its trail; `by_id` has the links to serial ports that keep theirs."""
    for number, bus in enumerate(config.modbus):
        if bus.serial is not None and _NUMBERED.fullmatch(bus.serial):
            # Neither has to be there: a port may be unplugged, and a link outlive what it led to.
            port = os.path.realpath(bus.serial)
            stable = next((str(link) for link in sorted(by_id.glob("*")) if os.path.realpath(link) == port), None)
            todo = f"use {stable}" if stable else f"use its link in {by_id}, once it is plugged in"
            yield f"modbus[{number}].serial: {bus.serial}: such numbers are swapped at a restart; {todo}"


def _own_profiles(config: Config) -> Iterator[str]:
    """What is wrong with the profiles that are files of the operator's."""
    for number, bus in enumerate(config.modbus):
        for place, device in enumerate(bus.device):
            if catalog.is_path(device.profile):
                try:
                    catalog.modbus(device.profile)
                except ConfigError as error:
                    yield from (f"modbus[{number}].device[{place}].profile: {line}" for line in error.problems)


def _absolute(config: Config, folder: Path) -> Config:
    here = folder.resolve()
    gateway = config.gateway.model_copy(update={"data_dir": str(here / config.gateway.data_dir)})
    uplink = config.uplink.model_copy(update={"key_file": str(here / config.uplink.key_file)})
    mqtt = [
        broker.model_copy(
            update={
                "password_file": broker.password_file and str(here / broker.password_file),
                "tls": broker.tls and broker.tls.under(here),
            }
        )
        for broker in config.mqtt
    ]
    modbus = [
        bus.model_copy(
            update={
                "tls": bus.tls and bus.tls.under(here),
                "serial": bus.serial and str(here / bus.serial),
                "device": [
                    device.model_copy(update={"profile": str(here / device.profile)})
                    if catalog.is_path(device.profile)
                    else device
                    for device in bus.device
                ],
            }
        )
        for bus in config.modbus
    ]
    return config.model_copy(update={"gateway": gateway, "uplink": uplink, "mqtt": mqtt, "modbus": modbus})


def _contradictions(data: dict[str, object], folder: Path) -> Iterator[str]:
    """What single values cannot show: names, units, endpoints and topics given twice. Works on unchecked data, so that
    these are reported together with the rest."""
    if not data.get("modbus") and not data.get("mqtt"):
        yield "no meter configured; add a [[modbus]] or [[mqtt]] table with its devices"
    owners: dict[object, str] = {}
    clients: dict[object, str] = {}
    for kind in ("modbus", "mqtt"):
        endpoints: dict[object, str] = {}
        for bus_trail, bus in _tables(data.get(kind), kind):
            default = _PORTS[kind] if bus.get("tls") is None else _TLS_PORTS[kind]
            host, port, serial = bus.get("host"), bus.get("port", default), bus.get("serial")
            if isinstance(serial, str):
                # Two links to one port are one line.
                endpoint, found = os.path.realpath(folder / serial), serial
            else:
                endpoint, found = repr((host, port, bus.get("client_id"))), f"{host}:{port}"
            yield from _twice(endpoints, endpoint, bus_trail, found, "put its devices there")
            # The buffer knows deliveries again by their client, so two brokers may not have one in common either.
            client, todo = bus.get("client_id"), "give the client of every broker an id of its own"
            yield from _twice(clients, client, f"{bus_trail}.client_id", repr(client), todo)
            places: dict[object, str] = {}
            for trail, device in _tables(bus.get("device"), f"{bus_trail}.device"):
                key, place = device.get("id"), ("unit" if kind == "modbus" else "topic")
                yield from _twice(owners, key, f"{trail}.id", repr(key), "give every device an id of its own")
                value = device.get(place)
                todo = "two meters cannot answer to one" if kind == "modbus" else "a message belongs to one device"
                yield from _twice(places, value, f"{trail}.{place}", repr(value), todo)


def _tables(value: object, trail: str) -> Iterator[tuple[str, dict[str, object]]]:
    for number, table in enumerate(value if isinstance(value, list) else []):
        if isinstance(table, dict):
            yield f"{trail}[{number}]", table


def _twice(seen: dict[object, str], key: object, trail: str, found: str, todo: str) -> Iterator[str]:
    if key is None or isinstance(key, list | dict):
        return
    if key in seen:
        yield f"{trail}: {found}: already at {seen[key]}; {todo}"
    else:
        seen[key] = trail
