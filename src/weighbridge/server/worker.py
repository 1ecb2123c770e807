"""A worker: the process in which one request after another is weighed, `python -m weighbridge.server.worker`.

It reads questions from its standard input and writes answers to its standard output, each a length of 8 bytes and as
many bytes. It is held from three sides: the parent kills it after the deadline; the system gives it so much memory
and no more; and Python asks `_lock`'s guard before it opens a file, connects or starts a program. Only what belongs to the
installation is opened, to be read, and the folder that the worker was given.
"""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from typing import BinaryIO

from .answering import BROKEN, LENGTH, answer


def main(folder: str, memory_bytes: str) -> None:
    """Answers until there are no more questions."""
    questions, answers = _streams()
    os.chdir(folder)
    _limit(int(memory_bytes))
    _lock(folder)
    while (question := _received(questions)) is not None:
        found = answer(json.loads(question))
        last = found.status == BROKEN or _most_bytes() > int(memory_bytes) // 2
        _send(answers, json.dumps([found.status, found.kind, last]).encode())
        _send(answers, found.content)


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """Where questions come from and answers go; what a network prints goes to stderr instead."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return questions, answers


def _received(stream: BinaryIO) -> bytes | None:
    length = stream.read(LENGTH)
    return stream.read(int.from_bytes(length)) if len(length) == LENGTH else None


def _send(stream: BinaryIO, content: bytes) -> None:
    stream.write(len(content).to_bytes(LENGTH))
    stream.write(content)
    stream.flush()


def _most_bytes() -> int:
    """The most memory that the process had; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _limit(memory_bytes: int) -> None:
    """Data of this size, files of 64 MiB, no core; where the system has such limits."""
    if sys.platform == "win32":
        return
    import resource

    for limit, value in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_FSIZE, 2**26),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))


def _lock(folder: str) -> None:
    """From here on, nothing is opened but what the installation has, and the folder."""
    own = os.path.realpath(folder)
    configuration = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    readable = {
        os.path.realpath(path)
        for path in (
            sys.prefix, sys.base_prefix, *filter(None, sys.path), os.path.dirname(os.__file__),
            os.path.join(configuration, "weighbridge"), "/proc", "/sys", "/dev", "/usr/lib", "/usr/share",
        )
    }  # fmt: skip

    @lru_cache(maxsize=4096)
    def within(path: str, roots: frozenset[str]) -> bool:
        real = os.path.realpath(path)
        return any(real == root or real.startswith(root + os.sep) for root in roots)

    reading, writing = frozenset({*readable, own}), frozenset({own, os.devnull})

    def guard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str | bytes | os.PathLike):
                return  # what is open already
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not within(os.fsdecode(path), writing if writes else reading):
                raise PermissionError(f"the server does not open {os.fsdecode(path)!r}")
        elif event in _CHANGES:
            for path in arguments:
                if isinstance(path, str | bytes | os.PathLike) and not within(
                    os.fsdecode(path), writing
                ):
                    raise PermissionError(f"the server does not change {os.fsdecode(path)!r}")
        elif event in _REFUSED:
            raise PermissionError(f"the server does not do {event}")

    # Everything that the guard needs is there before it is asked.
    within(own, writing)
    sys.addaudithook(guard)


_CHANGES = frozenset({
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "shutil.rmtree",
})  # fmt: skip
"""What happens to paths, which are to be in the worker's folder."""

_REFUSED = frozenset({
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.spawn",
    "socket.connect", "socket.bind", "socket.getaddrinfo",
})  # fmt: skip
"""What Python tells of before it does it, and a worker has no use for."""

if __name__ == "__main__":
    main(*sys.argv[1:])
