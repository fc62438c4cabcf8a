"""The modifiers of a dataset entry: which training images stay, and what their labels become.

`source` calls `sampled`. Order: splits are cut (`splits.plan`), then of train alone `shots` or `imbalance` choose
per class, then `subset` takes some of what is left, then `label_noise` changes labels. Everything is drawn by the
order of sha256("purpose/seed/index"), which no version of numpy can change and in which a smaller draw is part of a
larger one; `index` counts in the pool as its source has it, so a draw does not depend on the set's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from lion_ray.config import DatasetConfig
from lion_ray.data.fingerprint import Labels
from lion_ray.data.pool import as_labels, frozen
from lion_ray.data.select.splits import TooFew

Indices = npt.NDArray[np.int64]


def sampled(config: DatasetConfig, indices: Indices, labels: Labels, classes: Sequence[str]) -> tuple[Indices, Labels]:
    """What the modifiers leave of a training split, in its order.

    Args:
        indices: of the split's images in their pool, shape (N,).
        labels: theirs, shape (N,).

    Raises:
        TooFew: a class, or the split, has fewer images than asked for.
    """
    if config.shots is not None:
        kept = few_shot(indices, labels, config.shots, config.seed, classes)
    elif config.imbalance is not None:
        kept = long_tailed(indices, labels, config.imbalance.ratio, config.seed, classes)
    else:
        kept = np.arange(len(indices))
    if config.subset is not None:
        kept = kept[subset(indices[kept], config.subset, config.seed)]
    indices, labels = indices[kept], labels[kept]
    if config.label_noise is not None and len(classes) > 1:
        labels = noisy(indices, labels, len(classes), config.label_noise.rate, config.seed)
    return indices, frozen(labels)


def few_shot(indices: Indices, labels: Labels, shots: int, seed: int, classes: Sequence[str]) -> Indices:
    """Places in `indices` of `shots` images per class, ascending.

    Raises:
        TooFew: a class has fewer.
    """
    for label, number in enumerate(np.bincount(labels, minlength=len(classes)).tolist()):
        if number < shots:
            raise TooFew("shots", f"{shots} is more than the {number} training images of class {classes[label]!r}")
    return _first_of_each(indices, labels, [shots] * len(classes), f"shots/{seed}")


def long_tailed(indices: Indices, labels: Labels, ratio: float, seed: int, classes: Sequence[str]) -> Indices:
    """Places in `indices` of the images that CIFAR-LT's rule leaves, ascending.

    Class i of C keeps int(n_max · (1/ratio)^(i/(C-1))), n_max being the largest class (Cao et al., NeurIPS 2019); one
    that has fewer keeps what it has.

    Raises:
        TooFew: a class would be left without images.
    """
    largest, last = int(np.bincount(labels).max()), max(1, len(classes) - 1)
    wanted = [int(largest * (1 / ratio) ** (label / last)) for label in range(len(classes))]
    if wanted[-1] == 0:
        name = classes[wanted.index(0)]
        raise TooFew("imbalance.ratio", f"{ratio:g} leaves class {name!r} nothing of {largest} images")
    return _first_of_each(indices, labels, wanted, f"imbalance/{seed}")


def subset(indices: Indices, num: int, seed: int) -> Indices:
    """Places in `indices` of `num` images, ascending.

    Raises:
        TooFew: there are fewer.
    """
    if num > len(indices):
        raise TooFew("subset", f"{num} is more than the {len(indices)} training images")
    return np.sort(_order(indices, f"subset/{seed}")[:num])


def noisy(indices: Indices, labels: Labels, num_classes: int, rate: float, seed: int) -> Labels:
    """Labels of which round(rate · N), halves up, are others: each of the other C-1 classes is as likely."""
    number = int(Fraction(str(rate)) * len(indices) + Fraction(1, 2))
    changed = labels.copy()
    for place in _order(indices, f"label_noise/{seed}")[:number].tolist():
        shift = 1 + _draw(f"label_noise_to/{seed}", int(indices[place])) % (num_classes - 1)
        changed[place] = (labels[place] + shift) % num_classes
    return as_labels(changed)


def _first_of_each(indices: Indices, labels: Labels, wanted: Sequence[int], purpose: str) -> Indices:
    """Places of the first `wanted[label]` of every class by the purpose's order, ascending."""
    order = _order(indices, purpose)
    kept = [order[labels[order] == label][:number] for label, number in enumerate(wanted)]
    return np.sort(np.concatenate(kept))


def _order(indices: Indices, purpose: str) -> Indices:
    """Places in `indices` in the order of the purpose's hashes."""
    hashes = [_hash(purpose, index) for index in indices.tolist()]
    return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)


def _draw(purpose: str, index: int) -> int:
    return int.from_bytes(_hash(purpose, index), "big")


def _hash(purpose: str, index: int) -> bytes:
    return hashlib.sha256(f"{purpose}/{index}".encode()).digest()
