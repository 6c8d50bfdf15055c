"""The package's own tree of errors: each says what was wanted, what was found and what to do."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class MemDrivenError(Exception):
    """Base of every error that memdriven raises on purpose.

    Args:
        wanted: what the code needed.
        found: what it met instead.
        fix: what the reader can do about it.
    """

    def __init__(self, wanted: str, found: str, fix: str) -> None:
        # Names from a disk may hold halves of characters, which no terminal prints.
        self.wanted, self.found, self.fix = (
            part.encode("utf-8", "backslashreplace").decode() for part in (wanted, found, fix)
        )
        super().__init__(self.wanted, self.found, self.fix)

    def __str__(self) -> str:
        return f"wanted: {self.wanted}; found: {self.found}; what to do: {self.fix}"


class ConfigError(MemDrivenError):
    """A setting is out of range, unknown, or contradicts another."""


class CaptionError(MemDrivenError):
    """A caption is empty, too long, or holds no word that the model knows."""


class WordlessCaptionError(CaptionError):
    """A caption without a single word that the model knows, as while the first is being typed."""


class RetrievalError(MemDrivenError):
    """A strategy, neighbour id, weight or k that the memory bank cannot serve."""


class DataError(MemDrivenError):
    """A data set, image, archive or caption file cannot be read or written."""


class BankError(MemDrivenError):
    """A memory bank or feature store is missing, damaged, or made by another encoder."""


class CheckpointError(MemDrivenError):
    """A checkpoint or weight file is missing, truncated, or of another kind."""


class TrainingError(MemDrivenError):
    """Training cannot start or go on, e.g. a loss is no longer finite."""


class EvaluationError(MemDrivenError):
    """A measure cannot be computed from what was given."""


def require(holds: object, kind: type[MemDrivenError], wanted: str, found: object, fix: str) -> None:
    """Raise an error of `kind` unless a condition holds."""
    if not holds:
        raise kind(wanted, str(found), fix)


@contextlib.contextmanager
def explained(kind: type[MemDrivenError], wanted: str, fix: str, *caught: type[Exception]) -> Iterator[None]:
    """Raise an error of `kind` where the block ends in one of those caught; our own errors pass."""
    try:
        yield
    except MemDrivenError:
        raise
    except caught as error:
        found = f"{type(error).__name__}: {error}".removesuffix(": ")[:200]
        raise kind(wanted, found, fix) from error


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended a training, which has saved where it stands, or another command.

    Args:
        number: of the signal; commands end with the exit code 128 + number.
        message: what is kept, and how to go on.
    """

    def __init__(self, number: int, message: str) -> None:
        self.number, self.message = number, message
        super().__init__(message)


@contextlib.contextmanager
def signals_handled(handler: Callable[[int, object], object], *numbers: int) -> Iterator[None]:
    """Let signals go to a handler while the block runs, if that is the main thread."""
    numbers = numbers if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
