"""`data.on_bad_image: skip`: a dataset without the images that cannot be decoded.

`lion_ray.data.source` calls `without_bad_images` before it plans splits, so that the counts hold. The digest is that of
the remaining images, so removing the bad images by hand gives the same digest. Every image is decoded once for this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lion_ray.data.decode.decoding import rgb
from lion_ray.data.fingerprint import Labels
from lion_ray.data.item import BadData, EncodedImage, UnreadableFile, map_ordered
from lion_ray.data.pool import FoundSet, Pool, read_only
from lion_ray.data.readers.labels import warn


@dataclass(frozen=True, kw_only=True)
class KeptPool:
    """The images of `pool` at the indices `kept` (ascending), renumbered from 0."""

    pool: Pool
    kept: npt.NDArray[np.int64]
    labels: Labels

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """See `Pool.items`."""
        items = self.pool.items(self.kept[np.asarray(indices, dtype=np.int64)].tolist())
        for index, item in zip(indices, items, strict=True):
            yield replace(item, index=index)


def without_bad_images(found: FoundSet, key: str) -> FoundSet:
    """`found` without its bad images. A warning that begins with `key` counts them.

    Raises:
        BadData: a file cannot be read (an outage must not change the data), or a pool has no good image.
    """
    faults = {name: _faults(pool) for name, pool in found.pools.items()}
    skipped = {name: len(problems) for name, problems in faults.items() if problems}
    if not skipped:
        return found
    for name, num in skipped.items():
        size, first = len(found.pools[name].labels), next(iter(faults[name].values()))
        if num == size:
            raise BadData(f"none of the {size} images of {name} can be decoded; first {first}")
        warn(f"{key}: skipped {num} of {size} images of {name} that cannot be decoded; first {first}")
    pools = {name: _kept(pool, faults[name]) for name, pool in found.pools.items()}
    return replace(found, pools=pools, skipped=skipped, known=None)


def _faults(pool: Pool) -> dict[int, str]:
    """The error message of every bad image, by its index."""
    items = pool.items(range(len(pool.labels)))
    return {item.index: fault for item, fault in map_ordered(items, _fault) if fault is not None}


def _fault(item: EncodedImage) -> str | None:
    try:
        rgb(item.read(), item.where)
    except UnreadableFile:
        raise
    except BadData as error:
        return str(error)
    return None


def _kept(pool: Pool, faults: Mapping[int, str]) -> Pool:
    if not faults:
        return pool
    kept = np.delete(np.arange(len(pool.labels), dtype=np.int64), list(faults))
    return KeptPool(pool=pool, kept=read_only(kept), labels=read_only(pool.labels[kept]))
