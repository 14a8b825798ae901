"""The page of the simulator says what the simulator has: models, faults, keys of the fleet file and of a schedule."""

import re
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from firmware_sim.dialects import MQTT_DIALECTS
from firmware_sim.faults.kinds import KINDS
from firmware_sim.faults.spec import FaultSpec
from firmware_sim.fleet import Fleet
from firmware_sim.models import MODBUS_MODELS
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "simulator.md").read_text("utf-8")


def _rows(heading: str) -> list[list[str]]:
    section = re.split(r"^#+ ", PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][1:]


def _keys(model: type[BaseModel], trail: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in inner if issubclass(kind, BaseModel) and kind is not FaultSpec), None)
        if section is not None:
            yield from _keys(section, f"{trail}{name}.")
        elif field.default is PydanticUndefined:
            yield trail + name, "required"
        else:
            default = field.default
            number = isinstance(default, float)
            yield trail + name, "none" if default is None else f"{default:g}" if number else str(default).lower()


def test_every_model_is_on_the_page_and_no_other() -> None:
    for start, models in (("Modbus models:", MODBUS_MODELS), ("MQTT models:", MQTT_DIALECTS)):
        assert re.findall(r"`([a-z0-9-]+)`", PAGE.split(start, 1)[1].split("\n\n", 1)[0]) == sorted(models)


def test_every_key_of_a_fleet_is_on_the_page_with_its_default() -> None:
    listed = {}
    for keys, default, _ in _rows("The fleet file"):
        listed |= dict.fromkeys(re.findall(r"`([a-z0-9_.]+)`", keys), default)
    assert listed == dict(_keys(Fleet, ""))


def test_every_fault_is_on_the_page_with_what_it_takes() -> None:
    listed = {kind.strip("`"): (scope, says, own) for kind, scope, says, own in _rows("Faults")}
    assert list(listed) == list(KINDS)
    for name, kind in KINDS.items():
        scope, says, own = listed[name]
        assert (scope, says) == (kind.scope, kind.says)
        assert [*re.findall(r"`(\w+)`", own.split("`how`")[0])] == list(kind.takes)
        assert ", ".join(kind.how) in own


def test_every_key_of_a_schedule_is_on_the_page() -> None:
    own = {name for kind in KINDS.values() for name in kind.takes} | {"kind", "how"}
    assert {row[0].strip("`") for row in _rows("By schedule")} == set(FaultSpec.model_fields) - own
