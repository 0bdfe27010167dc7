"""Run code in a child process and decide about each of its file operations, at the system call.

Linux hands every system call of the child that touches a file to this process before it is carried
out (seccomp user notification, Linux 5.5 or later, x86-64). So a fault comes where a real one
comes, also within libraries that are not written in Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# System calls by number: the name, and where their paths stand among the arguments. "F" is an open
# file, "P" a path, "AP" a path that may be relative to an open folder, "-" neither.
_CALLS: Final = {
    0: ("read", "F"),
    1: ("write", "F"),
    2: ("open", "P"),
    3: ("close", "F"),
    17: ("pread", "F"),
    18: ("pwrite", "F"),
    20: ("writev", "F"),
    26: ("msync", "-"),
    40: ("sendfile", "F"),
    74: ("fsync", "F"),
    75: ("fdatasync", "F"),
    76: ("truncate", "P"),
    77: ("ftruncate", "F"),
    82: ("rename", "PP"),
    83: ("mkdir", "P"),
    84: ("rmdir", "P"),
    85: ("creat", "P"),
    86: ("link", "PP"),
    87: ("unlink", "P"),
    88: ("symlink", "-P"),
    90: ("chmod", "P"),
    91: ("fchmod", "F"),
    217: ("getdents", "F"),
    257: ("open", "AP"),
    258: ("mkdir", "AP"),
    263: ("unlink", "AP"),
    264: ("rename", "APAP"),
    265: ("link", "APAP"),
    268: ("chmod", "AP"),
    285: ("fallocate", "F"),
    296: ("writev", "F"),
    316: ("rename", "APAP"),
    326: ("copy", "F-F"),
}
READING: Final = frozenset({"read", "pread", "getdents", "open to read"})
# Those for which a disk needs room: a full one, or a quota, makes the others fail in no way.
FILLING: Final = frozenset(
    {
        *("write", "pwrite", "writev", "sendfile", "fsync", "fdatasync", "ftruncate", "close"),
        *("rename", "mkdir", "creat", "link", "symlink", "fallocate", "copy", "open to write"),
    }
)

_X86_64 = 0xC000003E
_NEW_LISTENER, _SECCOMP, _NO_NEW_PRIVILEGES = 8, 317, 38
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # ioctl
_GO_ON = 1  # flag of an answer: the system call is carried out
_AT_CWD = -100


@dataclass(frozen=True)
class Operation:
    """A file operation that is about to be carried out."""

    name: str
    paths: tuple[str, ...]
    task: int  # whose open files `descriptor` counts
    descriptor: int | None

    @property
    def is_reading(self) -> bool:
        return self.name in READING

    @property
    def is_filling(self) -> bool:
        return self.name in FILLING


KILL: Final = -1
Decide = Callable[[Operation], int]  # 0: go on; an errno: fail with it; KILL


def run_intercepted(body: Callable[[], None], folder: Path, decide: Decide) -> int:
    """Run `body` in a forked child; `decide` is asked before each file operation below `folder`.

    Returns:
        The exit code of the child: 0, 1 where `body` raised (it is printed), or minus a signal.
    """
    ours, theirs = socket.socketpair()

    def announced() -> None:
        ours.close()
        listener = _install()
        socket.send_fds(theirs, [b"x"], [listener])
        body()

    child = _fork(announced)
    theirs.close()
    _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    try:
        _serve(listener, child, os.fspath(folder), decide)
    finally:
        os.close(listener)
    return _exit_code(child)


def run_forked(body: Callable[[], None]) -> int:
    """Run `body` in a forked child, undisturbed; return its exit code as `run_intercepted` does."""
    return _exit_code(_fork(body))


def _fork(body: Callable[[], None]) -> int:
    """Run `body` in a child, which ends with it; return the child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        body()
        code = 0
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _serve(listener: int, child: int, folder: str, decide: Decide) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        events = poll.poll()
        if not any(event & select.POLLIN for _, event in events):
            return  # nobody is left
        notice = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # it was killed meanwhile
                continue
            raise
        number, task, _, call, _, _, *arguments = struct.unpack("=QIIiIQ6Q", notice)
        operation = _operation(task, call, arguments, folder)
        decision = 0 if operation is None else decide(operation)
        if decision == KILL:
            os.kill(child, signal.SIGKILL)
            continue
        answer = struct.pack("=QqiI", number, 0, -decision, 0 if decision else _GO_ON)
        with contextlib.suppress(FileNotFoundError):  # it was killed meanwhile
            fcntl.ioctl(listener, _SEND, bytearray(answer), True)


def _operation(task: int, call: int, arguments: list[int], folder: str) -> Operation | None:
    """What a task is about to do; None where it is about nothing below the folder."""
    name, kinds = _CALLS[call]
    paths, descriptor, base = [], None, _AT_CWD
    for kind, value in zip(kinds, arguments, strict=False):
        if kind == "F":
            descriptor = descriptor if descriptor is not None else value
            paths.append(_opened(task, value))
        elif kind == "A":
            base = ctypes.c_int32(value & 0xFFFFFFFF).value
        elif kind == "P":
            path = _text(task, value)
            if not path.startswith("/"):
                above = f"/proc/{task}/cwd" if base == _AT_CWD else f"/proc/{task}/fd/{base}"
                path = os.path.join(_read_link(above), path)
            paths.append(path)
    if not any(path == folder or path.startswith(folder + "/") for path in paths):
        return None
    if name == "open":
        flags = arguments[kinds.index("P") + 1]
        name = "open to write" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open to read"
    if name == "close" and not _is_written(task, arguments[0]):
        return None
    return Operation(name, tuple(paths), task, descriptor)


def _opened(task: int, descriptor: int) -> str:
    return _read_link(f"/proc/{task}/fd/{descriptor}")


def _is_written(task: int, descriptor: int) -> bool:
    """Whether an open file is open to be written."""
    try:
        info = Path(f"/proc/{task}/fdinfo/{descriptor}").read_text()
    except OSError:
        return False
    return bool(int(info.split()[3], 8) & (os.O_WRONLY | os.O_RDWR))


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # a closed one
        return ""


def _text(task: int, address: int) -> str:
    """The text at an address of a task's memory, up to its first zero byte."""
    memory = os.open(f"/proc/{task}/mem", os.O_RDONLY)
    try:
        data = b""
        while b"\0" not in data and len(data) < 8192:
            at = address + len(data)
            data += os.pread(memory, 4096 - at % 4096, at)
    finally:
        os.close(memory)
    return os.fsdecode(data.partition(b"\0")[0])


# --- the child's side -----------------------------------------------------------------------


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _install() -> int:
    """Have the listed system calls of this process announced; return who listens to them."""
    load, equal, end = 0x20, 0x15, 0x06
    calls = sorted(_CALLS)
    steps = [(load, 0, 0, 4), (equal, 1, 0, _X86_64), (end, 0, 0, _ALLOW), (load, 0, 0, 0)]
    steps += [(equal, len(calls) - i, 0, call) for i, call in enumerate(calls)]
    steps += [(end, 0, 0, _ALLOW), (end, 0, 0, _NOTIFY)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    program = _Program(len(steps), code)
    listener = libc.syscall(_SECCOMP, 1, _NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)
