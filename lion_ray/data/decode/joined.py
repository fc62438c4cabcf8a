"""Several splits as one. A final run trains on train and val together.

The pixels are not copied, wherever they are kept. `lion_ray.experiments.protocol` and `lion_ray.trial.trainer` use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lion_ray.data.dataset import Pixels, Rows, Split
from lion_ray.data.pool import read_only


@dataclass(frozen=True, kw_only=True)
class JoinedSplit(Split):
    """The rows of all `parts`, one part after the other."""

    parts: tuple[Split, ...]

    @classmethod
    def of(cls, *parts: Split) -> JoinedSplit:
        """Join `parts` in this order."""
        return cls(parts=parts, labels=read_only(np.concatenate([part.labels for part in parts])))

    @property
    def images(self) -> Pixels:
        """See `Split.images`. This is a copy."""
        return read_only(np.concatenate([part.images for part in self.parts]))

    def gather(self, rows: Rows) -> Pixels:
        """See `Split.gather`."""
        pixels, places, first = [], [], 0
        for part in self.parts:
            own_rows = np.flatnonzero((rows >= first) & (rows < first + len(part)))
            if len(own_rows):
                pixels.append(part.gather(rows[own_rows] - first))
                places.append(own_rows)
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
