"""D10: no default secret. Keys are files of the service's own; they rotate without a gap."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cloud.identity.errors import KeysError, SealError
from cloud.identity.keys import KeyFolder, create, open_folder, rotate

ANOTHER_USER = 54_321


def test_a_folder_of_keys_is_for_one_user_only(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o700
    assert {file.suffix for file in path.iterdir()} == {".pem", ".key"}
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}


def test_production_makes_no_keys(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(KeysError, match=r"run `segs-cloud keys create`"):
        open_folder(tmp_path / "keys", development=False, now=now)
    (tmp_path / "keys").mkdir(mode=0o700)
    with pytest.raises(KeysError, match=r"run `segs-cloud keys create`"):
        open_folder(tmp_path / "keys", development=False, now=now)

    assert list((tmp_path / "keys").iterdir()) == []


def test_development_makes_its_keys_once(tmp_path: Path, now: datetime) -> None:
    first = open_folder(tmp_path / "keys", development=True, now=now).current()
    second = open_folder(tmp_path / "keys", development=True, now=now + timedelta(days=1)).current()

    assert (second.signing.keys(), second.pepper, second.sealing) == (first.signing.keys(), first.pepper, first.sealing)


def test_services_that_start_together_agree_on_their_keys(tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from cloud.identity.keys import open_folder\n"
        "keys = open_folder(Path(sys.argv[1]), development=True, now=datetime.now(UTC)).current()\n"
        "print(sorted(keys.signing), keys.pepper.hex(), keys.sealing.hex())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "keys"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    told = {process.communicate(timeout=60)[0] for process in started}

    assert len(told) == 1
    assert len(list((tmp_path / "keys").iterdir())) == 3


def test_no_two_folders_have_anything_in_common(tmp_path: Path, now: datetime) -> None:
    keys = []
    for name in "ab":
        create(tmp_path / name, now=now)
        keys.append(KeyFolder(tmp_path / name).current())

    assert len({keys[0].pepper, keys[0].sealing, keys[1].pepper, keys[1].sealing}) == 4
    assert keys[0].signing.keys().isdisjoint(keys[1].signing.keys())


def test_keys_that_are_there_are_never_written_over(path: Path, now: datetime) -> None:
    before = {file.name: file.read_bytes() for file in path.iterdir()}

    with pytest.raises(KeysError, match="keys rotate"):
        create(path, now=now)

    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_create_that_was_killed_half_way_is_finished_by_the_next(tmp_path: Path, now: datetime) -> None:
    create(tmp_path / "whole", now=now)
    half = tmp_path / "half"
    half.mkdir(mode=0o700)
    pepper = half / "pepper.key"
    pepper.write_bytes((tmp_path / "whole" / "pepper.key").read_bytes())
    pepper.chmod(0o600)
    (half / ".sealing.key.0011aabb").write_bytes(b"abc")

    create(half, now=now)

    assert KeyFolder(half).current().pepper == KeyFolder(tmp_path / "whole").current().pepper


@pytest.mark.parametrize("name", ["pepper.key", "sealing.key"])
def test_a_lost_secret_is_never_replaced_unnoticed(path: Path, name: str, now: datetime) -> None:
    (path / name).unlink()

    for attempt in (
        lambda: open_folder(path, development=True, now=now),
        lambda: create(path, now=now),
        lambda: rotate(path, signs_from=now),
    ):
        with pytest.raises(KeysError):
            attempt()
    with pytest.raises(KeysError, match=f"{name} is missing"):
        KeyFolder(path).current()
    assert not (path / name).exists()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o601])
@pytest.mark.parametrize("kind", ["*.pem", "pepper.key", "sealing.key"])
def test_a_key_that_others_may_read_is_refused(path: Path, kind: str, mode: int) -> None:
    [file] = path.glob(kind)
    file.chmod(mode)

    with pytest.raises(KeysError, match=f"mode {mode:04o}: chmod 0600 {file}"):
        KeyFolder(path).current()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)

    with pytest.raises(KeysError, match="chmod 0700"):
        KeyFolder(path).current()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_that_another_user_can_change_is_refused(path: Path) -> None:
    os.chown(path / "pepper.key", ANOTHER_USER, -1)

    with pytest.raises(KeysError, match=f"belongs to user {ANOTHER_USER}"):
        KeyFolder(path).current()


RSA = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEICgAmFTBTXR1mkEUEjHRVrhnr3XMnlTZsJ3dfjZ8hFxr
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    "content", ["", "nonsense", RSA, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_ed25519_key_is_named(path: Path, content: str) -> None:
    """The third is a key of X25519, which cannot sign."""
    [file] = path.glob("*.pem")
    file.write_text(content)

    with pytest.raises(KeysError, match=f"{file} holds no Ed25519 private key"):
        KeyFolder(path).current()


@pytest.mark.parametrize("content", ["", "00" * 31, "zz" * 32, "00" * 32 + "\n\n"])
def test_a_secret_of_another_length_is_refused(path: Path, content: str) -> None:
    (path / "pepper.key").write_text(content)

    with pytest.raises(KeysError, match="64 hexadecimal digits"):
        KeyFolder(path).current()


@pytest.mark.parametrize("name", ["key.pem", "20261128T080800Z.pem", "20261328T080800Z-00112233.pem"])
def test_a_key_whose_name_says_no_time_is_refused(path: Path, name: str) -> None:
    [file] = path.glob("*.pem")
    file.rename(path / name)

    with pytest.raises(KeysError, match="no name of a key"):
        KeyFolder(path).current()


def test_the_latest_key_signs_from_its_time_on(folder: KeyFolder, now: datetime) -> None:
    [old] = folder.current().signing
    new = rotate(folder.path, signs_from=now + timedelta(minutes=10))

    keys = folder.current()
    assert keys.signing.keys() == {old, new}
    assert keys.signer(now + timedelta(minutes=9, seconds=59)) == old
    assert keys.signer(now + timedelta(minutes=10)) == new


def test_of_keys_of_one_second_the_last_one_made_signs(path: Path, now: datetime) -> None:
    made = [rotate(path, signs_from=now) for _ in range(20)]

    assert KeyFolder(path).current().signer(now) == made[-1]
    assert len(set(made)) == 20


def test_a_clock_before_every_key_still_signs(folder: KeyFolder, now: datetime) -> None:
    [old] = folder.current().signing
    rotate(folder.path, signs_from=now + timedelta(minutes=10))

    assert folder.current().signer(now - timedelta(days=9000)) == old


def test_a_key_taken_out_of_the_folder_is_gone_without_a_restart(folder: KeyFolder, now: datetime) -> None:
    [old] = folder.current().signing
    new = rotate(folder.path, signs_from=now)
    (folder.path / f"{old}.pem").unlink()
    assert folder.current().signing.keys() == {new}

    (folder.path / f"{new}.pem").unlink()
    for _ in range(2):
        with pytest.raises(KeysError, match="no signing key"):
            folder.current()


def test_a_folder_that_has_not_changed_for_long_is_not_listed_again_until_it_does(
    folder: KeyFolder, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is taken away counts for the next request, however quiet the folder was before."""
    [old] = folder.current().signing
    new = rotate(folder.path, signs_from=now)
    os.utime(folder.path, (1, 1))
    assert folder.current().signing.keys() == {old, new}
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda _: pytest.fail("the folder was listed"))
        assert folder.current().signing.keys() == {old, new}

    (folder.path / f"{old}.pem").unlink()
    assert folder.current().signing.keys() == {new}
    another = rotate(folder.path, signs_from=now)
    assert folder.current().signing.keys() == {new, another}


def test_a_sealed_secret_opens_in_its_own_place_only(folder: KeyFolder) -> None:
    keys = folder.current()
    sealed = keys.seal(b"JBSWY3DP", "totp of user 17")

    assert b"JBSWY3DP" not in sealed
    assert keys.unseal(sealed, "totp of user 17") == b"JBSWY3DP"
    assert keys.seal(b"JBSWY3DP", "totp of user 17") != sealed
    with pytest.raises(SealError):
        keys.unseal(sealed, "totp of user 18")


def test_a_sealed_secret_that_was_changed_does_not_open(folder: KeyFolder, tmp_path: Path, now: datetime) -> None:
    keys = folder.current()
    sealed = keys.seal(b"JBSWY3DP", "here")
    create(tmp_path / "other", now=now)

    for place in range(len(sealed)):
        with pytest.raises(SealError):
            keys.unseal(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], "here")
        with pytest.raises(SealError):
            keys.unseal(sealed[:place], "here")
    with pytest.raises(SealError):
        KeyFolder(tmp_path / "other").current().unseal(sealed, "here")


def test_what_is_derived_for_one_purpose_is_of_no_use_for_another(folder: KeyFolder) -> None:
    keys = folder.current()

    assert keys.derived("cursor") == keys.derived("cursor")
    assert len({keys.derived("cursor"), keys.derived("one-time code"), keys.pepper}) == 3
