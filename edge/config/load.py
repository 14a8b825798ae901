"""Reads a configuration file and checks it whole: each value, and what values say together."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from edge.config.modbus import ModbusConfig, ModbusDeviceConfig
from edge.config.models import Config
from edge.config.mqtt import MqttConfig, MqttDeviceConfig
from edge.errors import ConfigError
from edge.profiles import catalog
from edge.validation import describe

_Device = TypeVar("_Device", ModbusDeviceConfig, MqttDeviceConfig)
_TLS_PORTS = {"modbus": ModbusConfig.tls_port, "mqtt": MqttConfig.tls_port}
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


def _own_profiles(config: Config) -> Iterator[str]:
    """What is wrong with the profiles that are files of the operator's, and with what is said beside them."""
    for number, bus in enumerate(config.modbus):
        for place, meter in enumerate(bus.device):
            if catalog.is_path(meter.profile):
                try:
                    catalog.modbus(meter.profile)
                except ConfigError as error:
                    yield from (f"modbus[{number}].device[{place}].profile: {line}" for line in error.problems)
    for number, broker in enumerate(config.mqtt):
        for place, device in enumerate(broker.device):
            if catalog.is_path(device.profile):
                trail = f"mqtt[{number}].device[{place}]"
                try:
                    catalog.mqtt(device.profile).check(device.payload_fields)
                except ConfigError as error:
                    yield from (f"{trail}.profile: {line}" for line in error.problems)
                except ValueError as error:
                    yield f"{trail}: {error}"


def _absolute(config: Config, folder: Path) -> Config:
    here = folder.resolve()
    gateway = config.gateway.model_copy(update={"data_dir": str(here / config.gateway.data_dir)})
    uplink = config.uplink.model_copy(update={"key_file": str(here / config.uplink.key_file)})
    # Without links: of one, nobody can say whether it is a mount.
    mount = config.buffer.mount and os.path.realpath(here / config.buffer.mount)
    buffer = config.buffer.model_copy(update={"mount": mount})
    mqtt = [
        broker.model_copy(
            update={
                "password_file": broker.password_file and str(here / broker.password_file),
                "tls": broker.tls and broker.tls.under(here),
                "device": [_with_absolute_profile(device, here) for device in broker.device],
            }
        )
        for broker in config.mqtt
    ]
    modbus = [
        bus.model_copy(
            update={
                "tls": bus.tls and bus.tls.under(here),
                "serial": bus.serial and str(here / bus.serial),
                "device": [_with_absolute_profile(device, here) for device in bus.device],
            }
        )
        for bus in config.modbus
    ]
    return config.model_copy(
        update={"gateway": gateway, "uplink": uplink, "buffer": buffer, "mqtt": mqtt, "modbus": modbus}
    )


def _with_absolute_profile(device: _Device, here: Path) -> _Device:
    return device.model_copy(update={"profile": str(here / device.profile)} if catalog.is_path(device.profile) else {})


def _contradictions(data: dict[str, object], folder: Path) -> Iterator[str]:
    """What single values cannot show: names, units, endpoints and topics given twice. Works on unchecked data, so that
    these are reported together with the rest."""
    if not data.get("modbus") and not data.get("mqtt"):
        yield "no meter configured; add a [[modbus]] or [[mqtt]] table with its devices"
    yield from _elsewhere(data, folder)
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


def _elsewhere(data: dict[str, object], folder: Path) -> Iterator[str]:
    """A mount that the data folder is not on, so that looking for it would tell nothing."""
    gateway, buffer = data.get("gateway"), data.get("buffer")
    data_dir = gateway.get("data_dir") if isinstance(gateway, dict) else None
    mount = buffer.get("mount") if isinstance(buffer, dict) else None
    if isinstance(data_dir, str) and isinstance(mount, str) and mount:
        below, above = (Path(os.path.realpath(folder / path)) for path in (data_dir, mount))
        if not below.is_relative_to(above):
            yield f"buffer.mount: {mount!r}: gateway.data_dir {data_dir!r} does not lie under it; put it there"


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
