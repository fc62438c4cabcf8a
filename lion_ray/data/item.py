"""One encoded image, and the ordered thread pool that everything over many images runs on.

`decoding` and `fingerprint` call `ordered`: Pillow, zlib, SHA-256 and file reads all release the GIL.
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
"""Items per task: tiny images would otherwise spend their time in the queue."""
QUICK = 2e-4
"""Seconds per item below which a second thread costs more than it brings: both wait for Python's lock."""
HICCUP = 5e-3
"""Seconds that the first items may take longer: a busy machine is no slow item."""


class BadData(ValueError):
    """A fault in the data, in one line that names file and row; what a terminal cannot show of a name is escaped."""

    def __init__(self, text: str) -> None:
        super().__init__("".join(map(_shown, text)))


class Unreadable(BadData):
    """A file that is not there or does not answer: nothing is known of the image itself, so it is never skipped."""


@dataclass(frozen=True, kw_only=True)
class EncodedImage:
    """`load` reads the encoded file (bytes) or the stored pixels (array); `where` is for messages."""

    index: int
    where: str
    load: Callable[[], Encoded]

    def read(self) -> Encoded:
        """`load`, with its failure told by name.

        Raises:
            BadData: the bytes cannot be read (`Unreadable`), or are not there to be read.
        """
        try:
            return self.load()
        except OSError as error:
            raise Unreadable(f"{self.where}: cannot be read ({error.strerror or error})") from error
        except BadData:
            raise
        except Exception as error:
            raise BadData(f"{self.where}: cannot be read ({reason(error)})") from error


@contextmanager
def read_as(kind: str, path: str, advice: str = "") -> Iterator[None]:
    """The border to code that parses what others have written: whatever it raises inside is the fault of `path`.

    No list of a library's exceptions has ever been complete; so each reader opens, and iterates over, a file inside
    one of these.

    Args:
        kind: what the file was taken for, such as `Parquet`.
        advice: what else to say.
    """
    try:
        yield
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"{path}: cannot be read as {kind} ({reason(error)}){advice}") from error


def reason(error: BaseException) -> str:
    """An exception in a few words."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(told.split()) or type(error).__name__


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()


def default_threads() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered(
    items: Iterable[Job], work: Callable[[Job], Result], num_threads: int | None = None
) -> Iterator[tuple[Job, Result]]:
    """`work` on every item (or whatever goes with one), in order.

    A bounded number is in flight, so memory does not grow with the set. The first failing item in order raises,
    however many threads there are. As long as items are `QUICK` on the mean they are worked on here; then the threads
    take over.
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
