"""What a gateway must install: what its code imports, and nothing else. It has to fit a 512 MB board."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Distributions whose module has another name; tzdata is read by zoneinfo, and imported by nobody.
MODULES = {"pyserial": "serial", "prometheus-client": "prometheus_client"}
DATA_ONLY = {"tzdata"}
# Part of pydantic, which pins the very version; its error types are documented under this name.
PART_OF_ANOTHER = {"pydantic_core"}
OURS = {"contract", "edge"}


def required(extra: str | None = None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in lines}


def imported(package: str) -> Iterator[str]:
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


def test_the_gateway_requires_what_it_imports_and_no_more() -> None:
    found = {name for package in OURS for name in imported(package)} - OURS - set(sys.stdlib_module_names)
    declared = {MODULES.get(name, name) for name in required() - DATA_ONLY}
    assert found - PART_OF_ANOTHER - {"uvloop"} == declared
    assert required("fast") == {"uvloop"}
