"""A process that must end, with the exit code that it has earned, even if a library hangs while it is taken down."""

from __future__ import annotations

import ctypes
import faulthandler
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SIGEV_THREAD = 2
_TELL_S = 0.5
"""The stack is written this long before the end."""


class _Event(ctypes.Structure):
    """Linux's `struct sigevent`: what a timer does."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("reserved", ctypes.c_byte * 32),
    )


class _Times(ctypes.Structure):
    """`struct itimerspec`: once, after so long."""

    _fields_ = (("period", ctypes.c_long * 2), ("first", ctypes.c_long * 2))


@contextmanager
def ends_within(limit_s: float, code: int) -> Iterator[None]:
    """What happens inside takes `limit_s` at most [s]: then all stacks are told, and the process ends with `code`.

    The thread that hangs may hold the interpreter's lock, so no Python may be needed: a timer of the system calls the C
    library's `_exit(code)`. (`faulthandler` alone would do the same, but with exit code 1.)

    Raises:
        OSError: the system has no timer left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    event = _Event(code, 0, _SIGEV_THREAD, ctypes.cast(libc._exit, ctypes.c_void_p), None)
    timer, seconds = ctypes.c_void_p(), int(limit_s)
    first = (ctypes.c_long * 2)(seconds, int((limit_s - seconds) * 1e9))
    made = libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) == 0
    if not made or libc.timer_settime(timer, 0, ctypes.byref(_Times(first=first)), None) != 0:
        raise OSError(ctypes.get_errno(), "no timer for the end of the process")
    faulthandler.dump_traceback_later(max(limit_s - _TELL_S, 0.1))
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        libc.timer_delete(timer)
