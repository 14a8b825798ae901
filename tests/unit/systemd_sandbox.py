"""Runs a command under the kernel-enforced lines of a unit: its system calls, address families and W^X memory.

`python systemd_sandbox.py UNIT COMMAND ...`. What namespaces and cgroups do (ProtectSystem and the like) needs systemd
itself and is not here. Exit status 77: this machine can't (no libseccomp, no systemd-analyze, kernel before 6.3).
"""

import ctypes
import errno
import functools
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from ctypes.util import find_library
from pathlib import Path
from typing import NoReturn

CANNOT = 77
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
_CMP_EQ, _CMP_GT = 4, 6


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def settings(unit: Path) -> list[tuple[str, str]]:
    """Key and value of every line of `unit` that is neither comment nor section head, in order."""
    lines = (line.strip() for line in unit.read_text("utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and line[0] not in "#;[")
    return [(key, value) for key, _, value in pairs]


def allowed_calls(unit: Path) -> set[str]:
    """Names of the system calls that `unit` leaves, its groups resolved by systemd-analyze; `~` takes away."""
    allowed: set[str] = set()
    for key, value in settings(unit):
        if key != "SystemCallFilter":
            continue
        names = {call for word in value.lstrip("~").split() for call in _group(word)}
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def confine(unit: Path) -> None:
    """Puts this process under `unit`; it and its children cannot leave again."""
    library = find_library("seccomp")
    libc = ctypes.CDLL(None, use_errno=True)
    if library is None:
        _cannot("libseccomp is not installed")
    seccomp = ctypes.CDLL(library)
    calls, present = allowed_calls(unit), dict(settings(unit))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        _cannot("no_new_privs is refused")
    if present["MemoryDenyWriteExecute"] == "yes" and libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
        _cannot("the kernel is older than 6.3 and has no PR_SET_MDWE")
    families = [int(getattr(socket, name)) for name in present["RestrictAddressFamilies"].split()]
    _load(seccomp, default=_ALLOW, rules=_family_rules(seccomp, families))
    numbers = (_number(seccomp, name) for name in calls)
    _load(seccomp, default=_ERRNO | errno.EPERM, rules=((_ALLOW, n, []) for n in numbers if n is not None))


Rule = tuple[int, int, list[_Comparison]]


def _family_rules(seccomp: ctypes.CDLL, families: list[int]) -> Iterable[Rule]:
    call, refuse = _number(seccomp, "socket"), _ERRNO | errno.EAFNOSUPPORT
    assert call is not None
    for family in range(max(families)):
        if family not in families:
            yield refuse, call, [_Comparison(0, _CMP_EQ, family, 0)]
    yield refuse, call, [_Comparison(0, _CMP_GT, max(families), 0)]


def _load(seccomp: ctypes.CDLL, *, default: int, rules: Iterable[Rule]) -> None:
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(default)))
    for action, call, comparisons in rules:
        array = (_Comparison * len(comparisons))(*comparisons)
        status = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(action), call, len(comparisons), array)
        if status:
            raise OSError(-status, f"seccomp rule for system call {call}")
    status = seccomp.seccomp_load(context)
    if status:
        raise OSError(-status, "seccomp_load")
    seccomp.seccomp_release(context)


def _number(seccomp: ctypes.CDLL, name: str) -> int | None:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    return None if number < 0 else int(number)


@functools.cache
def _group(word: str) -> frozenset[str]:
    if not word.startswith("@"):
        return frozenset({word})
    try:
        text = subprocess.run(
            ["systemd-analyze", "syscall-filter", word], check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        _cannot("systemd-analyze is not installed")
    words = (line.strip() for line in text.splitlines()[1:])
    return frozenset(call for w in words if w and not w.startswith("#") for call in _group(w))


def _cannot(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    raise SystemExit(CANNOT)


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
