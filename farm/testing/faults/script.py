"""The script of what goes wrong at a fake exchange, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self, overload

from farm.testing.faults.chance import random_faults
from farm.testing.faults.fluent import FluentScript
from farm.testing.faults.kinds import Fault
from farm.testing.faults.text import fault_text, parse_script, seed_text

__all__ = ["FaultScript"]


class FaultScript(FluentScript, Sequence[Fault]):
    """An ordered list of faults. ``seed``: what it was chosen by, and what random bytes in it
    follow; None is as good as any.

    It is written as calls, ``FaultScript().drop("btcusdt@trade", at=5, count=3).reset(at=7.5)``,
    or as text, a line for each fault, which :meth:`parse` reads and ``str`` prints::

        # seed 17
        5.0 drop btcusdt@depth@100ms count=3
        7.5 reset
        9.0 refuse seconds=4
        12.25 corrupt btcusdt@trade how=gzip

    A slice is a script, as is a :meth:`subset`. While an exchange that follows it is open, nothing
    can be added.
    """

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int | str | None = None) -> None:
        self.seed = seed
        self._faults = list(faults)
        self._followed_by = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a script. Empty lines and comments (``#``) are passed over.

        Raises:
            ScriptError: a line is no fault; it names the line and the word.
        """
        seed, faults = parse_script(text)
        return cls(faults, seed=seed)

    @classmethod
    def random(
        cls,
        seed: int | str,
        streams: Sequence[str] | str,
        *,
        seconds: float = 60.0,
        count: int = 10,
        kinds: Iterable[str] | str | None = None,
        rest: bool = True,
        tls: bool = False,
        wall_clock: bool = False,
    ) -> Self:
        """`count` faults within `seconds`, chosen by `seed`: the same for the same arguments.

        Args:
            streams: the names to choose from, a text for one. Without a book's diffs among them
                there is no ``sequence_break``, without any there is no fault of frames.
            kinds: words of the kinds to choose from, a text for one, None for all that the rest
                admits.
            rest: REST requests may fail too.
            tls: the exchange serves TLS, whose handshakes may fail.
            wall_clock: the exchange is given the client's clock, which may jump.

        Raises:
            ValueError: a word in `kinds` is no kind, or no kind is left.
        """
        faults = random_faults(
            seed,
            [streams] if isinstance(streams, str) else streams,
            seconds=seconds,
            count=count,
            kinds=[kinds] if isinstance(kinds, str) else kinds,
            rest=rest,
            tls=tls,
            wall_clock=wall_clock,
        )
        return cls(faults, seed=seed)

    def add(self, fault: Fault) -> Self:
        """Adds a fault at the end, whenever it happens.

        Raises:
            ValueError: an exchange that follows the script is open.
        """
        if self._followed_by:
            raise ValueError(
                f"{fault_text(fault)!r} comes too late: fill the script before the exchange is "
                "opened, or bring a fault about by exchange.strike(fault)"
            )
        self._faults.append(fault)
        return self

    def begin(self) -> None:
        """An exchange that follows it has been opened."""
        self._followed_by += 1

    def end(self) -> None:
        """An exchange that followed it has been closed."""
        self._followed_by -= 1

    def subset(self, indices: Iterable[int]) -> Self:
        """A script of the faults at these places, in the order of `indices`."""
        return type(self)([self._faults[index] for index in indices], seed=self.seed)

    def __str__(self) -> str:
        lines = [] if self.seed is None else [seed_text(self.seed)]
        return "\n".join([*lines, *map(fault_text, self._faults)])

    def __repr__(self) -> str:
        return f"FaultScript.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FaultScript):
            return NotImplemented
        return (self.seed, self._faults) == (other.seed, list(other))

    __hash__ = None  # type: ignore[assignment]  # it can be added to

    def __len__(self) -> int:
        return len(self._faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    @overload
    def __getitem__(self, index: int) -> Fault: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Fault | Self:
        if isinstance(index, slice):
            return self.subset(range(len(self))[index])
        return self._faults[index]
