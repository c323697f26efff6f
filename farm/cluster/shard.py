"""A shard: the same line as everywhere, in a process of its own, commanded by its parent.

::

    python -m farm.cluster.shard LINK LIFELINE

Both are descriptors that it inherited: one end of a socketpair, and the read end of a pipe that
ends with the parent. All else, addresses and settings, comes over the link.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import attrs
import trio

from farm.actors.supervisor import LifecycleEvents
from farm.books.base import BookSync
from farm.cluster.affinity import pin_to_cpu
from farm.cluster.budgets import RemoteBudgets
from farm.cluster.commands import Commands
from farm.cluster.lifeline import watch_lifeline
from farm.cluster.link import FrameKind, Link
from farm.cluster.logs import log_to_parent
from farm.cluster.messages import (
    Assign,
    Bye,
    Drain,
    FromShard,
    Grant,
    MirrorBook,
    Readers,
    Ready,
    Told,
    ToShard,
    decode_to_shard,
    encode,
)
from farm.cluster.outlet import Outlet
from farm.cluster.reporting import Reporting
from farm.errors import LinkError, ShardError
from farm.groups import raise_sole_leaf
from farm.pipeline import Environment, Pipeline

__all__ = ["main", "run_shard"]

log = logging.getLogger("farm.cluster")

CONTROL_ROOM = 100_000
"""Messages that wait for the parent; more would be a parent that reads nothing for minutes."""

LAST_SECONDS = 1.0
"""Seconds for which a shard lets what it has flow out whose parent is gone, or that has to go."""

BYE_SECONDS = 5.0
"""Seconds for the last word, once all is done."""


async def run_shard(
    stream: trio.abc.Stream,
    *,
    environment: Environment | None = None,
    parent_lost: trio.Event | None = None,
) -> None:
    """Be a shard, until the parent at the other end of `stream` says so or is gone; `parent_lost`
    is another way to hear of that.

    What the shard fails by comes out when the parent has been told.
    """
    link = Link(stream)
    outgoing, waiting = trio.open_memory_channel[FromShard](CONTROL_ROOM)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_write, link, waiting)
        outgoing.send_nowait(Ready(os.getpid()))
        if first := await link.receive():
            messages = [decode_to_shard(payload) for _, payload in first]
            assignment = messages.pop(0)
            if not isinstance(assignment, Assign):
                raise LinkError(f"an assignment comes first, not {assignment!r}")
            shard = _Shard(link, assignment, environment or Environment(), outgoing)
            for message in messages:
                shard.take(message)
            failure = await shard.run(trio.Event() if parent_lost is None else parent_lost)
        outgoing.close()
        nursery.cancel_scope.deadline = trio.current_time() + BYE_SECONDS
    if failure is not None:
        raise failure


async def _write(link: Link, waiting: trio.MemoryReceiveChannel[FromShard]) -> None:
    """Send messages until there are no more, or nobody is there to read them."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for message in waiting:
            await link.send([(FrameKind.MESSAGE, encode(message))])


class _Shard:
    """A shard that was assigned."""

    def __init__(
        self,
        link: Link,
        assignment: Assign,
        environment: Environment,
        outgoing: trio.MemorySendChannel[FromShard],
    ) -> None:
        self._link = link
        self._send: Callable[[FromShard], None] = outgoing.send_nowait
        self._budgets = RemoteBudgets(self._send)
        self._outlet = Outlet(self._book_of, assignment.link_bytes)
        self._commands = Commands(self._send, self._outlet.leave)
        self._pipeline = Pipeline(
            assignment.settings,
            drive=self._commands.drive,
            environment=attrs.evolve(
                environment,
                make_budget=self._budgets.make,
                seed=environment.seed if assignment.seed is None else assignment.seed,
            ),
        )
        self._pipeline.hub.listen(self._outlet.deliver)
        self._reporting = Reporting(
            self._pipeline,
            self._outlet,
            self._send,
            every=assignment.heartbeat_seconds,
            memory_limit=assignment.memory_limit,
            on_limit=self._give_up,
        )
        self._is_orphan = False
        self._failure: Exception | None = None
        self._work = trio.CancelScope()
        if assignment.cpu is not None:
            pin_to_cpu(assignment.cpu)

    def take(self, message: ToShard) -> None:
        """Do what the parent says."""
        match message:
            case Readers():
                self._outlet.read_by(message.readers)
            case MirrorBook():
                self._outlet.mirror(message.line, message.feed)
            case Grant():
                self._budgets.granted(message)
            case Drain():
                self._commands.drain()
            case Assign():
                raise LinkError("this shard has its assignment already")
            case _:
                self._commands.put(message)

    async def run(self, parent_lost: trio.Event) -> Exception | None:
        """Run the pipeline to its end, send what is left of it, and say so; what it failed by."""
        try:
            with self._work:
                await self._work_on(parent_lost)
        except Exception as error:
            log.exception("the shard failed")
            self._failure = error
        failure = self._failure
        if not self._is_orphan:
            said = "" if failure is None else f"{type(failure).__name__}: {failure}"
            report = self._reporting.report()
            self._send(Bye(self._outlet.bundles, self._outlet.events, report, said))
        return failure

    async def _work_on(self, parent_lost: trio.Event) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self._await_loss, parent_lost)
                with self._pipeline.events() as events:
                    nursery.start_soon(self._tell, events)
                    await self._run_pipeline()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise_sole_leaf(group)

    async def _await_loss(self, parent_lost: trio.Event) -> None:
        await parent_lost.wait()
        self._be_orphan()

    async def _run_pipeline(self) -> None:
        """Run it to its end, and have all that it gave sent; then raise what it failed by."""
        failure: Exception | None = None
        async with trio.open_nursery() as sending:
            sending.start_soon(self._send_out)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._reporting.run)
                    await self._pipeline.run()
                    nursery.cancel_scope.cancel()
            except Exception as error:  # noqa: BLE001 (raised again below)
                failure = error
                sending.cancel_scope.deadline = trio.current_time() + BYE_SECONDS
            self._outlet.mailbox.close()
        if failure is not None:
            raise failure

    async def _send_out(self) -> None:
        with suppress(trio.BrokenResourceError):  # whoever reads the link hears of it
            await self._outlet.run(self._link)

    async def _read(self) -> None:
        while frames := await self._link.receive():
            for kind, payload in frames:
                if kind is not FrameKind.MESSAGE:
                    raise LinkError(f"a parent sends messages alone, not {kind.name}")
                self.take(decode_to_shard(payload))
        self._be_orphan()

    def _give_up(self, reason: str) -> None:
        """End, as a failure, when what was received is on disk, if that is soon."""
        log.error("%s", reason)
        self._failure = ShardError(reason)
        self._pipeline.stop()
        self._work.deadline = trio.current_time() + LAST_SECONDS

    def _be_orphan(self) -> None:
        """The parent is gone: what was received goes to disk, quickly, and then this ends."""
        if not self._is_orphan:
            self._is_orphan = True
            log.error("the parent is gone")
            self._pipeline.stop()
            self._work.deadline = trio.current_time() + LAST_SECONDS

    async def _tell(self, events: LifecycleEvents) -> None:
        async for event in events:
            error = "" if event.error is None else f"{type(event.error).__name__}: {event.error}"
            self._send(Told(event.actor, event.what.value, event.run, error, event.delay))

    def _book_of(self, feed: str) -> BookSync | None:
        for line in self._pipeline.lines:
            if not line.held and (book := line.keeper.book_of(feed)) is not None:
                return book
        return None


def main(argv: Sequence[str] | None = None) -> None:
    """The process: see above."""
    given = sys.argv[1:] if argv is None else argv
    if len(given) != 2 or not all(word.isdecimal() for word in given):
        sys.exit("farm.cluster.shard is started by a farm in many processes, and by nobody else")
    link_fd, lifeline_fd = map(int, given)
    # Whoever ends a farm may signal all its processes: shards end when their parent has drained
    # them, or is gone.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    log_to_parent()
    try:
        trio.run(_main, link_fd, lifeline_fd)
    except Exception as error:
        log.critical("the shard failed", exc_info=error)
        sys.exit(1)


async def _main(link_fd: int, lifeline_fd: int) -> None:
    parent_lost, token = trio.Event(), trio.lowlevel.current_trio_token()
    watch_lifeline(lifeline_fd, lambda: token.run_sync_soon(parent_lost.set))
    end = trio.socket.from_stdlib_socket(socket.socket(fileno=link_fd))
    try:
        await run_shard(trio.SocketStream(end), parent_lost=parent_lost)
    except BaseExceptionGroup as group:
        raise_sole_leaf(group)


if __name__ == "__main__":
    main()
