"""Images that are decoded anew on each pass, in the source's order, and work that is done ahead of who needs it.

For val and test splits beyond the memory budget, which are only ever read from start to end; `examples` runs `ahead`.
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
from lion_ray.data.pool import frozen

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class StreamedSplit(Split):
    """`encoded` images, ascending in their pool; a pass holds a few chunks of them in memory."""

    encoded: EncodedImages

    @property
    def images(self) -> Pixels:
        """See `Split.images`."""
        images = np.empty(self.encoded.shape, dtype=np.uint8)
        self.encoded.decode_into(images)
        return frozen(images)

    def gather(self, rows: Rows) -> Pixels:
        """See `Split.gather`; decodes them."""
        ascending, places = np.unique(rows, return_inverse=True)
        return np.stack(list(self.encoded.decoded(ascending)))[places]

    def chunks(self, rows: Rows, size: int, *, num_threads: int) -> Iterator[Pixels]:
        """See `Split.chunks`."""
        stream = self.encoded.decoded(rows, num_threads)
        while chunk := list(islice(stream, size)):
            yield np.stack(chunk)

    def prepare(self) -> None:
        """Nothing: each pass decodes."""


def ahead(values: Iterable[Value], *, depth: int = 2) -> Iterator[Value]:
    """`values` in their order, the next `depth` of them made in a thread while the caller works on this one."""
    stream = iter(values)
    with ThreadPoolExecutor(1, thread_name_prefix="lion-ray-ahead") as executor:
        pending = deque[Future[list[Value]]]()
        while True:
            while len(pending) < depth:
                pending.append(executor.submit(lambda: list(islice(stream, 1))))
            made = pending.popleft().result()
            if not made:
                return
            pending.append(executor.submit(lambda: list(islice(stream, 1))))
            yield made[0]
