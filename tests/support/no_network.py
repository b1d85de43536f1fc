"""Runs a command that the kernel kills as soon as it reaches for the network.

    python no_network.py COMMAND...

A seccomp filter ends the process, with SIGSYS, at its first `connect` and its first socket for
datagrams, which any look-up of a name needs; its children and native threads inherit it. Listening
and accepting stay. It needs no root, but Linux on x86-64 or arm64: elsewhere exit code 77.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

NOT_POSSIBLE = 77
NUMBERS = {"x86_64": (0xC000003E, 41, 42), "aarch64": (0xC00000B7, 198, 203)}
"""Machine -> AUDIT_ARCH, and the numbers of the system calls socket and connect."""

_LOAD, _JUMP_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_NUMBER, _ARCH, _FAMILY, _TYPE = 0, 4, 16, 24  # offsets in struct seccomp_data
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("when_true", ctypes.c_ubyte),
        ("when_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def program(arch: int, socket: int, connect: int) -> list[tuple[int, int, int, int]]:
    """The filter: jumps are counted in instructions that are passed over."""
    return [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 0, 10, arch),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_EQUAL, 8, 0, connect),
        (_JUMP_EQUAL, 0, 6, socket),
        (_LOAD, 0, 0, _FAMILY),
        (_JUMP_EQUAL, 1, 0, 2),  # AF_INET
        (_JUMP_EQUAL, 0, 3, 10),  # AF_INET6
        (_LOAD, 0, 0, _TYPE),
        (_AND, 0, 0, 0xF),
        (_JUMP_EQUAL, 0, 1, 1),  # SOCK_STREAM
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]


def confine() -> bool:
    """Put this process behind the filter, if that is possible here."""
    numbers = NUMBERS.get(platform.machine())
    if numbers is None or sys.platform != "linux":
        return False
    code = program(*numbers)
    instructions = (_Instruction * len(code))(*(_Instruction(*each) for each in code))
    libc = ctypes.CDLL(None)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    made = _Program(len(code), instructions)
    return not libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(made), 0, 0)


if __name__ == "__main__":
    if not confine():
        sys.exit(NOT_POSSIBLE)
    os.execv(sys.argv[1], sys.argv[1:])
