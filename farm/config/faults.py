"""What is wrong with a configuration, gathered so that one run reports all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from farm.errors import ConfigError

__all__ = ["ConfigErrors", "Faults", "refusal"]


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration: ``errors``, never empty.

    ``str()`` gives one line for each; ``path`` and ``message`` are those of the first.
    """

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors[0].path, self.errors[0].message)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def refusal(message: str) -> ConfigErrors:
    """The error of a whole value; whoever holds the value adds its place (:meth:`Faults.at`)."""
    return ConfigErrors([ConfigError("", message)])


class Faults:
    """Gathers the faults of several places."""

    def __init__(self) -> None:
        self._errors: list[ConfigError] = []

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Gather the :class:`ConfigErrors` of the block, which works on the value at `place`."""
        try:
            yield
        except ConfigErrors as caught:
            for error in caught.errors:
                joint = "." if error.path and not error.path.startswith("[") else ""
                self._errors.append(ConfigError(f"{place}{joint}{error.path}", error.message))

    def add(self, errors: Iterable[ConfigError]) -> None:
        """Gather `errors`, whose paths are whole."""
        self._errors += errors

    def raise_any(self) -> None:
        """Raise what was gathered, if anything was."""
        if self._errors:
            raise ConfigErrors(self._errors)
