"""Every command, configuration, statement and output on the pages is true. D18: documentation of another program."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.docs.pages import COVERED, ROOT, RUN_HERE, Block, UnknownKind, blocks, shows
from tests.docs.reader import Reader
from tests.docs.shell import Shell

# One worker follows the pages, in order, on one stack.
pytestmark = pytest.mark.xdist_group("docs")


def _page(page: str) -> list[Block]:
    return list(blocks(page, (ROOT / page).read_text("utf-8")))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN_HERE)
def test_a_page_does_what_it_says(page: str, reader: Reader) -> None:
    reader.follow(_page(page))


def test_every_page_is_followed_here_or_elsewhere() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # Arithmetic worked by hand, which the tests of tariffs hold the rating against.
    pages = {page for page in listed.stdout.split() if not page.startswith("tests/cases/")}
    assert pages <= {*RUN_HERE, *COVERED}


@pytest.mark.parametrize("page", [*RUN_HERE, *COVERED])
def test_links_and_pictures_are_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{page}: {target}: {file.name} has no such heading"


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_picture_can_be_read_in_the_dark_and_by_ear() -> None:
    picture = ROOT / "docs" / "way-of-a-reading.svg"
    tree = ElementTree.parse(picture)
    svg = "{http://www.w3.org/2000/svg}"
    assert tree.find(f"{svg}title") is not None
    assert tree.find(f"{svg}desc") is not None
    assert "prefers-color-scheme: dark" in picture.read_text("utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "```\nls\n```",
        "```sh\nls\n```",
        "```sh run make\nls\n```",
        "```sh elsewhere=because\nls\n```",
        "```python run\n1\n```",
        "~~~sh run\nls\n~~~",
        "- a list\n  ```sh run\n  ls\n  ```",
        "```sh run\nls",
    ],
)
def test_a_block_of_no_known_kind_is_refused(text: str) -> None:
    with pytest.raises(UnknownKind, match=r"page\.md:"):
        list(blocks("page.md", text))


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```sh run\nfalse\necho on\n```", "exit status 1"),
        ("```sh run\necho lost: 3\n```\n```text output\nlost: 0\n```", "the page shows"),
        ("```sh make\nmake coffee\n```", "coffee"),
        ("```json receipt\n{}\n```", "page.md:1"),
        ("```json packed\n[]\n```", "page.md:1"),
        ("```json problem\n{}\n```", "page.md:1"),
    ],
)
def test_a_page_that_is_not_true_is_found(page: str, complaint: str, tmp_path: Path) -> None:
    with Shell(folder=tmp_path, notes=tmp_path, environment={"PATH": "/usr/bin:/bin"}) as shell:
        untrue = Reader(shell=shell, instead=[], home=tmp_path)
        with pytest.raises(AssertionError, match=complaint):
            untrue.follow(list(blocks("page.md", page)))


def test_what_one_block_leaves_the_next_one_finds(tmp_path: Path) -> None:
    page = "```sh run\nmkdir here && cd here && export WORD=kept\n```\n```sh run\necho $WORD ${PWD##*/}\n```\n"
    with Shell(folder=tmp_path, notes=tmp_path, environment={"PATH": "/usr/bin:/bin"}) as shell:
        Reader(shell=shell, instead=[], home=tmp_path).follow(
            list(blocks("page.md", f"{page}```text output\nkept here\n```"))
        )


def test_outputs_are_equal_but_for_ids_times_and_numbers() -> None:
    assert shows("synced: 40 readings, 2 s ago", "synced: 1234 readings, 7 s ago")
    assert shows("one\n…\nlast 0", "one\ntwo\nthree\nlast 0")
    assert not shows("missing 0", "missing 3")
    assert not shows("one\ntwo", "one")
