"""`EncodedImage`, the error `BadData`, and `map_ordered`, the thread pool for work on many images.

`decode.decoding`, `fingerprint`, `build.shards`, `select.skipping` and `verify.census` call `map_ordered`. Threads help
because Pillow, zlib, SHA-256 and file reads release the GIL.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Encoded = bytes | npt.NDArray[np.uint8]
Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNK = 32
"""Items per task. Without chunks small images would wait in the queue longer than they are worked on."""
QUICK = 2e-4
"""Seconds per item below which more threads do not help, because they wait for the GIL."""
HICCUP = 5e-3
"""Seconds by which the first items together may exceed `QUICK`, so that a busy machine does not start threads."""


class BadData(ValueError):
    """A fault in the data. Its message is one line that names file and row, with unprintable characters escaped."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(map(_escaped, text)))


class UnreadableFile(BadData):
    """A file that is missing or cannot be read. The image itself may be good, so it is never skipped as bad."""


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """One image of a pool that is not decoded yet.

    Attributes:
        index: the image's index in its pool.
        where: file and row, for messages.
        load: reads the encoded file (bytes) or the stored pixels (uint8 array).
    """

    index: int
    where: str
    load: Callable[[], Encoded]

    def read(self) -> Encoded:
        """Call `load`.

        Raises:
            BadData: the image cannot be read; an `UnreadableFile` if its file cannot be read.
        """
        try:
            return self.load()
        except OSError as error:
            raise UnreadableFile(f"{self.where}: cannot be read ({error.strerror or error})") from error
        except BadData:
            raise
        except Exception as error:
            raise BadData(f"{self.where}: cannot be read ({error_text(error)})") from error


@contextmanager
def read_as(kind: str, path: str, advice: str = "") -> Iterator[None]:
    """Convert every exception in the block to a `BadData` about the file `path`.

    Libraries raise many undocumented exceptions for damaged files. Each reader therefore opens and reads a file inside
    such a block.

    Args:
        kind: the format as which the file is read, such as `Parquet`.
        path: the file, for the message.
        advice: text that is appended to the message.
    """
    try:
        yield
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"{path}: cannot be read as {kind} ({error_text(error)}){advice}") from error


def error_text(error: BaseException) -> str:
    """The message of an exception on one line, or the name of its class if it has no message."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(message.split()) or type(error).__name__


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def default_threads() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    items: Iterable[Job], work: Callable[[Job], Result], num_threads: int | None = None
) -> Iterator[tuple[Job, Result]]:
    """Call `work` on every item and yield the pairs of item and result in order.

    The number of pending items is bounded, so memory does not grow with the dataset. The error of the first item that
    fails is raised, whatever the number of threads. Items are handled in this thread while they take less than `QUICK`
    seconds on average; then threads take over.

    Args:
        items: the items.
        work: the function to call; it must be safe to call from threads.
        num_threads: None uses all cores of this process.
    """
    stream, pending = iter(items), deque[Future[list[tuple[Job, Result]]]]()
    left = HICCUP
    for item in stream:
        began = time.perf_counter()
        result = work(item)
        left += QUICK - (time.perf_counter() - began)
        yield item, result
        if left < 0:
            break
    threads = num_threads or default_threads()
    with ThreadPoolExecutor(threads, thread_name_prefix="lion-ray-data") as executor:
        while chunk := list(islice(stream, CHUNK)):
            pending.append(executor.submit(_chunk, chunk, work))
            if len(pending) > 2 * threads:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _chunk(items: list[Job], work: Callable[[Job], Result]) -> list[tuple[Job, Result]]:
    return [(item, work(item)) for item in items]
