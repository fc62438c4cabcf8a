"""Two splits as one, for a final run that trains on train and val: wherever their pixels are kept, none is copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lion_ray.data.dataset import Pixels, Rows, Split
from lion_ray.data.pool import frozen


@dataclass(frozen=True, kw_only=True)
class JoinedSplit(Split):
    """The rows of the first of `parts`, then those of the next."""

    parts: tuple[Split, ...]

    @classmethod
    def of(cls, *parts: Split) -> JoinedSplit:
        """`parts` in this order."""
        return cls(parts=parts, labels=frozen(np.concatenate([part.labels for part in parts])))

    @property
    def images(self) -> Pixels:
        """See `Split.images`; a copy."""
        return frozen(np.concatenate([part.images for part in self.parts]))

    def gather(self, rows: Rows) -> Pixels:
        """See `Split.gather`."""
        pixels, places, first = [], [], 0
        for part in self.parts:
            here = np.flatnonzero((rows >= first) & (rows < first + len(part)))
            if len(here):
                pixels.append(part.gather(rows[here] - first))
                places.append(here)
            first += len(part)
        return np.concatenate(pixels)[np.argsort(np.concatenate(places))]

    def chunks(self, rows: Rows, size: int, *, num_threads: int) -> Iterator[Pixels]:
        """See `Split.chunks`."""
        for first in range(0, len(rows), size):
            yield self.gather(rows[first : first + size])

    def prepare(self) -> None:
        """See `Split.prepare`."""
        for part in self.parts:
            part.prepare()
