"""A TLS client stream that takes every complete record out of each read of its transport.

`trio.SSLStream` gives one record for each await, 11 µs each, and venues send about a record for
each message. Here a read of the transport is decrypted as a whole, at about 1 µs a record.

Certificate and host name are checked by the context; :mod:`farm.net.tls` sees to it that it does.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

import trio

from farm.net.reading import READ_BYTES, is_readable, reads_of

__all__ = ["TlsStream"]

RECORD_BYTES = 16 * 1024
"""The most that one record carries (RFC 8446, 5.1)."""

GOODBYE_SECONDS = 1.0
"""For `close_notify`, or the alert that says what was wrong: a peer that doesn't read must not
hold us."""


class TlsStream(trio.abc.Stream):
    """TLS over `transport`, which it owns; call :meth:`do_handshake` first.

    One task may read while others send: they take turns, each record leaves whole. A send that
    fails or is cancelled once bytes may have gone out ends the sending, for nothing could lawfully
    follow part of a record. What the peer sends can still be read then.

    Renegotiation, which TLS 1.2 has and venues don't use, is answered by whoever reads; a send
    that falls into one fails.
    """

    def __init__(
        self, transport: trio.abc.Stream, context: ssl.SSLContext, server_hostname: str
    ) -> None:
        """Raises ValueError for an impossible host name."""
        self._transport = transport
        self._read = reads_of(transport)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._send_lock = trio.StrictFIFOLock()
        self._plain = b""  # decrypted, and not asked for yet: at most what one read held
        self._reading = False
        self._ended = False  # nothing comes any more: close_notify, or the end of the transport
        self._failure: ssl.SSLError | None = None  # what was received can't be decrypted
        self._cut = False  # a send was cut short: nothing can be sent any more
        self._closed = False

    def version(self) -> str | None:
        """The version agreed upon, such as ``TLSv1.3``; None before the handshake."""
        return self._tls.version()

    def is_readable(self) -> bool:
        """Whether :meth:`receive_some` has something to say at once, or the transport has; of a
        connection that rests that means its end."""
        return self._knows_more() or is_readable(self._transport)

    async def do_handshake(self) -> None:
        """Shake hands; BrokenResourceError where that fails, its cause the error of `ssl`.

        The peer is told what was wrong.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._feed(await self._read())
            except ssl.SSLError as exc:
                await self._part()
                raise trio.BrokenResourceError("the TLS handshake failed") from exc
            else:
                await self._flush()
                self._decrypt()  # what came with the last of the handshake
                return

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What all complete records of a read hold, at most `max_bytes` and `READ_BYTES`; ``b""``
        at the end, whether or not the peer announced it.

        Each call waits for the transport, or is a checkpoint where the last one left something.
        Raises BrokenResourceError where the transport or a record is broken (what came before it is
        given out first), BusyResourceError for a second reader, ClosedResourceError.
        """
        if self._reading:
            raise trio.BusyResourceError("another task is reading from this stream")
        self._check_open()
        limit = READ_BYTES if max_bytes is None else min(max_bytes, READ_BYTES)
        if limit < 1:
            raise ValueError(f"max_bytes is {max_bytes}, and must be at least 1")
        self._reading = True
        try:
            return await self._receive(limit)
        finally:
            self._reading = False

    async def _receive(self, limit: int) -> bytes:
        if self._knows_more():
            await trio.lowlevel.checkpoint()
        # From a read to the return of what it held nothing waits, so a cancellation loses nothing.
        while not self._knows_more():
            if self._outgoing.pending:  # reading may have to answer
                await self._answer()
            self._feed(await self._read())
            self._decrypt()
        if self._failure is not None and not self._plain:
            await self._part()
            raise trio.BrokenResourceError(f"TLS: {self._failure}") from self._failure
        data, self._plain = self._plain[:limit], self._plain[limit:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; see the class for what a cancelled send does. Safe from several tasks."""
        self._check_open()
        async with self._send_lock:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._check_open()
            if self._cut:
                raise trio.BrokenResourceError("an earlier send was cut short in mid-record")
            plain = memoryview(data)
            at = 0
            while at < len(plain):
                at += self._encrypt(plain[at : at + RECORD_BYTES])
                if at >= len(plain) or self._outgoing.pending >= READ_BYTES:
                    await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """As the transport's, when it is one's turn to send."""
        self._check_open()
        async with self._send_lock:
            await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Say `close_notify` without waiting for the peer's, and close the transport.

        A reader that waits wakes with ClosedResourceError. Idempotent; cancelled, it closes all the
        same.
        """
        first, self._closed = not self._closed, True
        try:
            if first:
                with suppress(ssl.SSLError):  # it asks for the peer's, or has nothing to say
                    self._tls.unwrap()
                await self._part()
        finally:
            await self._transport.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was already closed")

    def _knows_more(self) -> bool:
        """Whether there is something to say without the transport: data, the end, or a failure."""
        return bool(self._plain) or self._ended or self._failure is not None

    def _feed(self, data: bytes | bytearray | memoryview) -> None:
        if len(data):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _decrypt(self) -> None:
        """Take out what every complete record holds; note the end and a failure."""
        read, parts = self._tls.read, [self._plain]
        append = parts.append
        try:
            part = read(RECORD_BYTES)
            if part and not self._incoming.pending and not self._tls.pending():
                self._plain += part  # a quiet line's one record: to ask for more costs an exception
                return
            while part:
                append(part)
                part = read(RECORD_BYTES)
            self._ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLSyscallError, ssl.SSLZeroReturnError):
            self._ended = True
        except ssl.SSLError as exc:
            self._failure = exc
        self._plain = b"".join(parts)

    def _encrypt(self, plain: memoryview) -> int:
        try:
            return self._tls.write(plain)
        except ssl.SSLError as exc:
            raise trio.BrokenResourceError(f"TLS: {exc}") from exc

    async def _answer(self) -> None:
        """Send what reading has put out, unless a sender is at it: then it sends that as well."""
        if not self._send_lock.locked():
            async with self._send_lock:
                await self._flush()

    async def _part(self) -> None:
        """Send the last that is to be said, if the peer takes it."""
        with (
            trio.move_on_after(GOODBYE_SECONDS),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            await self._answer()

    async def _flush(self) -> None:
        """Send what is encrypted, in whole records; for the holder of the lock."""
        while self._outgoing.pending and not self._cut:
            try:
                await self._transport.send_all(self._outgoing.read())
            except BaseException:
                self._cut = True
                raise
