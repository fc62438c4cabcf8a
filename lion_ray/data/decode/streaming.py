"""`StreamedSplit` decodes its images on every pass, and `prefetch` computes values ahead of their use.

Val and test splits beyond the memory budget are streamed, because they are only read from start to end. `storage` makes
the splits; `lion_ray.training.batches` calls `prefetch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from lion_ray.data.dataset import Pixels, Rows, Split
from lion_ray.data.decode.encoded import EncodedImages
from lion_ray.data.pool import read_only

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class StreamedSplit(Split):
    """A split of `encoded` images, which ascend in their pool. A pass holds only a few chunks in memory."""

    encoded: EncodedImages

    @property
    def images(self) -> Pixels:
        """See `Split.images`."""
        images = np.empty(self.encoded.shape, dtype=np.uint8)
        self.encoded.decode_into(images)
        return read_only(images)

    def gather(self, rows: Rows) -> Pixels:
        """See `Split.gather`. Decodes the images."""
        ascending, places = np.unique(rows, return_inverse=True)
        return np.stack(list(self.encoded.decoded(ascending)))[places]

    def chunks(self, rows: Rows, size: int, *, num_threads: int) -> Iterator[Pixels]:
        """See `Split.chunks`."""
        stream = self.encoded.decoded(rows, num_threads)
        while chunk := list(islice(stream, size)):
            yield np.stack(chunk)

    def prepare(self) -> None:
        """Do nothing: every pass decodes."""


def prefetch(values: Iterable[Value], *, depth: int = 2) -> Iterator[Value]:
    """Yield `values` in order; a thread computes the next `depth` of them while the caller uses one."""
    stream = iter(values)
    with ThreadPoolExecutor(1, thread_name_prefix="lion-ray-ahead") as executor:
        pending = deque[Future[list[Value]]]()
        while True:
            while len(pending) < depth:
                pending.append(executor.submit(lambda: list(islice(stream, 1))))
            chunk = pending.popleft().result()
            if not chunk:
                return
            pending.append(executor.submit(lambda: list(islice(stream, 1))))
            yield chunk[0]
