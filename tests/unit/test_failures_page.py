"""The codes in docstrings mean something to whoever reads the tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
CODE = re.compile(r"\b[ECD]\d{1,2}\b")


def test_every_code_that_a_test_names_is_on_the_page() -> None:
    listed = set(re.findall(r"^- ([ECD]\d{1,2}):", (TESTS / "FAILURES.md").read_text(), re.MULTILINE))
    named = {code for file in TESTS.rglob("test_*.py") for code in CODE.findall(file.read_text())}
    assert named - listed == set()


def test_every_way_in_which_meters_fail_a_gateway_has_its_test() -> None:
    named = {code for file in TESTS.rglob("test_*.py") for code in CODE.findall(file.read_text())}
    assert {f"E{number}" for number in range(1, 16)} <= named
