"""A shard's process, as its parent has it: started, watched, its last words heard, and ended.

The parent holds one end of a socketpair (the link), the write end of a pipe (the lifeline, see
:mod:`farm.cluster.lifeline`) and the read end of another (the child's stderr and stdout, see
:mod:`farm.cluster.logs`). The child finds the first two as numbers on its command line.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs
import trio

from farm.cluster.interpreter import ONE_PROCESS, this_interpreter
from farm.cluster.logs import LogGatherer
from farm.errors import ShardError
from farm.threads import in_thread

__all__ = ["ShardProcess", "start_process"]

REAP_SECONDS = 5.0  # until the system has ended a process that was killed, unless its disk hangs
QUIET_SECONDS = 0.25  # after a line that was not logged: others of its block come sooner
_STDERR = 2
_READ_SIZE = 64 << 10
_READS_LEFT = 32  # of a process that is dead, or to be: a pipe holds 1 MiB at most

log = logging.getLogger("farm.cluster")


@attrs.define(eq=False)
class ShardProcess(trio.abc.AsyncResource):
    """A process that was started. Who started it calls :meth:`aclose`, or uses ``async with``.

    ``stream`` is our end of the link.
    """

    stream: trio.SocketStream
    _process: trio.Process
    _lifeline: int
    _output: _Output

    @property
    def name(self) -> str:
        """``shard 1``, for logs; may be set: a spare takes the name of whom it replaces."""
        return self._output.logs.name

    @name.setter
    def name(self, name: str) -> None:
        self._output.logs.name = name

    @property
    def pid(self) -> int:
        """Its number; that of nobody, or of another, once :meth:`wait` has returned."""
        return self._process.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines that it logged or printed, the oldest first, 20 at most."""
        return tuple(self._output.logs.last_lines)

    async def wait(self) -> str:
        """Wait until the process is gone; a reason in words, as short as ``exit code 0``, ``killed
        by SIGKILL`` or ``exit code 3: memory limit passed``. May be called by many, and again."""
        code = await self._process.wait()
        self._output.hear_out()
        return _reason(code, self._output.logs.last_words)

    def kill(self) -> None:
        """SIGKILL, which ends a stopped process, too. Does nothing where it is gone."""
        self._process.kill()

    async def aclose(self) -> None:
        """Kill it if it lives, reap it, hear it out, close every descriptor; under cancellation
        too. Can be called again."""
        self.kill()
        try:
            with trio.move_on_after(REAP_SECONDS, shield=True) as deadline:
                await self._process.wait()
            if deadline.cancelled_caught:
                log.warning("%s (pid %d) does not end, though killed", self.name, self.pid)
        finally:
            self._output.hear_out()
            self._output.close()
            _lifelines.close(self._lifeline)
            await self.stream.aclose()  # closes before it may be cancelled


async def start_process(
    name: str, nursery: trio.Nursery, *, command: Sequence[str] | None = None
) -> ShardProcess:
    """Start a shard's process; a task in `nursery` passes on what it logs until it is closed.

    `command` (for tests) takes the place of ``python -m farm.cluster.shard``. Two numbers are
    added to it: the descriptor of the child's end of the link (a connected, blocking Unix stream
    socket), and that of its lifeline. The process has a session of its own: a Ctrl-C on the
    terminal is meant for its parent.

    ShardError where this system, or this interpreter, can start none.
    """
    interpreter = await in_thread(this_interpreter)
    if command is None:
        command = [*interpreter.command, "-m", "farm.cluster.shard"]
    try:
        ours, process = await _spawn(command, interpreter.environment())
    except OSError as error:
        raise ShardError(f"{name} could not be started ({error}); {ONE_PROCESS}") from error
    _lifelines.hold(ours.lifeline)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours.link))
    output = _Output(ours.output, LogGatherer(name))
    started = ShardProcess(stream, process, ours.lifeline, output)
    try:
        nursery.start_soon(output.gather, name=f"logs of {name}")
    except RuntimeError:  # the nursery is closed
        await started.aclose()
        raise
    return started


@attrs.define
class _Lifelines:
    """Those that this process holds. A child that it forks is no parent of its shards, and may
    outlive it: there they are closed."""

    _held: set[int] = attrs.field(factory=set)

    def hold(self, fd: int) -> None:
        self._held.add(fd)

    def close(self, fd: int) -> None:
        """Let go of it; does nothing where that was done."""
        if fd in self._held:
            self._held.remove(fd)
            os.close(fd)

    def close_all(self) -> None:
        for fd in list(self._held):
            self.close(fd)


_lifelines = _Lifelines()
os.register_at_fork(after_in_child=_lifelines.close_all)


@attrs.frozen
class _Ends:
    """One side of what connects the two processes."""

    link: socket.socket
    lifeline: int
    output: int

    def close(self) -> None:
        self.link.close()
        os.close(self.lifeline)
        os.close(self.output)


def _open_ends() -> tuple[_Ends, _Ends]:
    """Ours and theirs. None is inherited but by who is told to."""
    with _standard_ones_taken(), ExitStack() as undo:
        our_link, their_link = socket.socketpair()
        undo.callback(our_link.close)
        undo.callback(their_link.close)
        their_lifeline, our_lifeline = os.pipe()
        undo.callback(os.close, their_lifeline)
        undo.callback(os.close, our_lifeline)
        our_output, their_output = os.pipe()
        undo.pop_all()
    os.set_blocking(our_output, False)
    return (
        _Ends(our_link, our_lifeline, our_output),
        _Ends(their_link, their_lifeline, their_output),
    )


@contextmanager
def _standard_ones_taken() -> Iterator[None]:
    """While this lasts no descriptor is opened as 0, 1 or 2, though this program has closed those
    (a daemon's are): the child's own stdin, stdout and stderr would take its place there, and what
    anybody prints here would come out of the link."""
    taken: list[int] = []
    try:
        while not taken or taken[-1] <= _STDERR:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in taken:
            os.close(fd)


async def _spawn(command: Sequence[str], environment: dict[str, str]) -> tuple[_Ends, trio.Process]:
    ours, theirs = _open_ends()
    inherited = (theirs.link.fileno(), theirs.lifeline)
    try:
        # Not PR_SET_PDEATHSIG: Trio spawns from a thread that ends, and the child with it.
        process = await trio.lowlevel.open_process(
            [*command, *map(str, inherited)],
            stdin=subprocess.DEVNULL,
            stdout=theirs.output,
            stderr=theirs.output,
            pass_fds=inherited,
            start_new_session=True,
            env=environment,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, process


def _reason(code: int, last_words: str) -> str:
    if code < 0:
        return f"killed by {_signal_name(-code)}"
    if not code and signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL:
        # A code that is lost looks like 0.
        lost = "its exit code is lost, or 0: this program deals with SIGCHLD itself"
        return f"{lost} ({last_words})" if last_words else lost
    return f"exit code {code}: {last_words}" if code and last_words else f"exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


@attrs.define(eq=False)
class _Output:
    """What a child writes to its stderr and stdout."""

    _fd: int | None
    logs: LogGatherer

    async def gather(self) -> None:
        """Pass it on, until all have closed the other end, or we this one."""
        while self._fd is not None:
            quiet = QUIET_SECONDS if self.logs.pending else math.inf
            with trio.move_on_after(quiet) as waited:
                try:
                    await trio.lowlevel.wait_readable(self._fd)
                except trio.ClosedResourceError:
                    return
            if waited.cancelled_caught:
                self.logs.pause()
            self._read()

    def hear_out(self) -> None:
        """Pass on what waits in the pipe, as the last that is to come."""
        for _ in range(_READS_LEFT):
            if not self._read():
                break
        self.logs.end()

    def close(self) -> None:
        """Let go of the pipe; :meth:`gather` ends."""
        if self._fd is not None:
            trio.lowlevel.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = None

    def _read(self) -> bool:
        """Pass on one piece; False where there is none."""
        if self._fd is None:
            return False
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self.logs.end()
            self.close()
            return False
        self.logs.feed(data)
        return True
