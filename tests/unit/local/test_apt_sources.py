"""The machine's apt sources, turned towards Debian 13: the mirror stays, third parties are left out."""

import pytest

from local.servers.sources import translated


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://mirror.example/debian bookworm main contrib", "deb http://mirror.example/debian trixie main\n"),
        (
            "deb http://mirror.example/debian stable-updates main",
            "deb http://mirror.example/debian trixie-updates main\n",
        ),
        (
            "deb [arch=amd64 signed-by=/etc/key.gpg] https://mirror.example/security bookworm-security main # x",
            "deb [arch=amd64 signed-by=/etc/key.gpg] https://mirror.example/security trixie-security main\n",
        ),
        (
            "deb http://mirror.example/debian-security buster/updates main",
            "",
        ),
        ("deb file:/srv/debian bookworm main", "deb copy:/srv/debian trixie main\n"),
        ("deb cdrom:[Debian 12]/ bookworm main", ""),
        ("deb-src http://mirror.example/debian bookworm main", ""),
        ("# deb http://mirror.example/debian bookworm main", ""),
        ("deb http://third.example/apt bookworm-pgdg main", ""),
        ("deb http://third.example/linux/debian bookworm stable", ""),
        ("deb http://third.example/flat ./", ""),
        ("deb http://ubuntu.example/ubuntu noble main", ""),
    ],
)
def test_a_line_keeps_its_mirror_and_options_and_gets_the_newer_suite(line: str, expected: str) -> None:
    assert translated(line + "\n", deb822=False) == expected


def test_a_stanza_keeps_its_mirror_and_key_and_gets_the_newer_suites() -> None:
    text = """\
# a comment
Types: deb deb-src
# http://snapshot.example/archive
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://third.example/node
Suites: nodistro
Components: main
"""
    assert translated(text, deb822=True) == (
        "Types: deb\nUris: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_a_key_written_into_the_stanza_stays_whole() -> None:
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBFit\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:{key}\n"
    assert "Signed-By: -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBFit\n -----END" in translated(text, deb822=True)


def test_a_disabled_stanza_is_left_out() -> None:
    text = "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
    assert translated(text, deb822=True) == ""
