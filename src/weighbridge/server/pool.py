"""The pool: a few workers, each a process that answers one request at a time.

A worker that takes longer than the deadline is killed; one that dies, that came near its memory, or that has answered
many requests is replaced. The request that it happened to is told so, and the next one gets another worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

from ..analyses.weighing import Json
from ..errors import WeighError
from ..units import memory
from .answering import LENGTH, Answer, complaint

RETIRES = 1_000
"""Requests that a worker answers before it is replaced: what a library keeps does not add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What requests may take: workers at a time, seconds and bytes of each, and how many may wait."""

    workers: int = 2
    seconds: float = 60.0
    memory_bytes: int = 4 * 2**30
    waiting: int = 200

    def __post_init__(self) -> None:
        for name in ("workers", "seconds", "memory_bytes", "waiting"):
            if getattr(self, name) <= 0:
                raise WeighError(f"{name} is {getattr(self, name)}; expected more than none")


@final
class Worker:
    """A process, started when it is first asked something and again when it is gone."""

    def __init__(self, folder: str, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._answered = 0

    async def ask(self, question: Mapping[str, Json]) -> Answer:
        """The answer, or what came in between."""
        page = question["kind"] == "page"
        whole = False
        try:
            async with asyncio.timeout(self._limits.seconds):
                found, last = await self._exchange(question)
            whole = True
        except TimeoutError:
            slow = WeighError(
                f"weighing it takes longer than the {self._limits.seconds:g} s that the server allows",
                "weigh it by the command, which has no limit, or weigh serve --deadline",
            )
            return complaint(slow, page=page)
        except (asyncio.IncompleteReadError, OSError):
            died = WeighError(
                f"the process that weighed it ended; it may take {memory(self._limits.memory_bytes)} of memory",
                "weigh it by the command, which has no limit, or weigh serve --memory",
            )
            return complaint(died, page=page)
        finally:
            if not whole:
                await self.stop()
        self._answered += 1
        if last or self._answered >= RETIRES:
            await self.stop()
        return found

    async def _exchange(self, question: Mapping[str, Json]) -> tuple[Answer, bool]:
        """The answer, and whether the worker has had its fill."""
        if self._process is None or self._process.returncode is not None:
            self._process = await self._started()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        content = json.dumps(question).encode()
        process.stdin.write(len(content).to_bytes(LENGTH) + content)
        await process.stdin.drain()
        status, kind, last = json.loads(await _received(process.stdout))
        return Answer(status, kind, await _received(process.stdout)), last

    async def _started(self) -> asyncio.subprocess.Process:
        self._answered = 0
        package = str(Path(__file__).parents[2])
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "weighbridge.server.worker", self._folder, str(self._limits.memory_bytes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if os.environ.get("WEIGH_DEBUG") else asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
                "HF_HUB_OFFLINE": "1", "HF_HOME": self._folder, "TMPDIR": self._folder,
                "OMP_NUM_THREADS": "1",
            },
        )  # fmt: skip

    async def stop(self) -> None:
        """Ends the process, if there is one; it has nothing to put away."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _received(stream: asyncio.StreamReader) -> bytes:
    return await stream.readexactly(int.from_bytes(await stream.readexactly(LENGTH)))


@final
class Pool:
    """The workers, and who is waiting for one. Used inside one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folders = [TemporaryDirectory(prefix="weigh-") for _ in range(limits.workers)]
        self._workers = [Worker(folder.name, limits) for folder in self._folders]
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._waiting = 0

    async def ask(self, question: Mapping[str, Json]) -> Answer:
        """The answer of the first worker that is free."""
        if self._waiting >= self._limits.waiting:
            many = WeighError(
                f"{self._waiting} requests are waiting already", "ask again in a while"
            )
            return complaint(many, status=429, page=question["kind"] == "page")
        self._waiting += 1
        try:
            worker = await self._idle.get()
        finally:
            self._waiting -= 1
        try:
            return await worker.ask(question)
        finally:
            self._idle.put_nowait(worker)

    async def stop(self) -> None:
        """Ends every process and removes the folders."""
        for worker in self._workers:
            await worker.stop()
        for folder in self._folders:
            folder.cleanup()
