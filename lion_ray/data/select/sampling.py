"""The modifiers of a dataset entry: which training images are kept, and how their labels change.

`lion_ray.data.source` calls `apply_modifiers` after `splits.plan` has cut the splits. Only train is changed: `shots` or
`imbalance` choose images per class, `subset` chooses among the rest, and `label_noise` changes labels. All draws follow
the order of sha256("purpose/seed/index"), which does not depend on the version of numpy, and in which a smaller draw is
part of a larger one. `index` is the index in the pool, so a draw does not depend on the dataset's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from lion_ray.config import DatasetConfig
from lion_ray.data.fingerprint import Labels
from lion_ray.data.pool import as_labels, read_only
from lion_ray.data.select.splits import TooFewImages

Indices = npt.NDArray[np.int64]


def apply_modifiers(
    config: DatasetConfig, indices: Indices, labels: Labels, classes: Sequence[str]
) -> tuple[Indices, Labels]:
    """Apply the modifiers of `config` to a training split.

    Args:
        config: the dataset entry with the modifiers.
        indices: (N,) indices of the split's images in their pool.
        labels: (N,) labels of these images.
        classes: class names, for messages.

    Returns:
        Indices and labels (M,) of the images that are kept, in the split's order.

    Raises:
        TooFewImages: a class or the split has fewer images than a modifier asks for.
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
    return indices, read_only(labels)


def few_shot(indices: Indices, labels: Labels, shots: int, seed: int, classes: Sequence[str]) -> Indices:
    """Draw `shots` images per class.

    Args:
        indices: (N,) indices in the pool.
        labels: (N,) labels.
        shots: images per class.
        seed: seed of the draw.
        classes: class names, for messages.

    Returns:
        Positions in `indices`, ascending.

    Raises:
        TooFewImages: a class has fewer images.
    """
    for label, number in enumerate(np.bincount(labels, minlength=len(classes)).tolist()):
        if number < shots:
            raise TooFewImages(
                "shots", f"{shots} is more than the {number} training images of class {classes[label]!r}"
            )
    return _first_of_each(indices, labels, [shots] * len(classes), f"shots/{seed}")


def long_tailed(indices: Indices, labels: Labels, ratio: float, seed: int, classes: Sequence[str]) -> Indices:
    """Draw a long-tailed subset by the rule of CIFAR-LT (Cao et al., NeurIPS 2019).

    Class i of C keeps int(n_max · (1/ratio)^(i/(C-1))) images, where n_max is the size of the largest class. A class
    with fewer images keeps all of them.

    Args:
        indices: (N,) indices in the pool.
        labels: (N,) labels.
        ratio: size of the largest class divided by the size of the smallest.
        seed: seed of the draw.
        classes: class names, for messages.

    Returns:
        Positions in `indices`, ascending.

    Raises:
        TooFewImages: a class would keep no images.
    """
    largest, last = int(np.bincount(labels).max()), max(1, len(classes) - 1)
    wanted = [int(largest * (1 / ratio) ** (label / last)) for label in range(len(classes))]
    if wanted[-1] == 0:
        name = classes[wanted.index(0)]
        raise TooFewImages("imbalance.ratio", f"{ratio:g} leaves class {name!r} nothing of {largest} images")
    return _first_of_each(indices, labels, wanted, f"imbalance/{seed}")


def subset(indices: Indices, num: int, seed: int) -> Indices:
    """Draw `num` images of any class.

    Args:
        indices: (N,) indices in the pool.
        num: images to draw.
        seed: seed of the draw.

    Returns:
        Positions in `indices`, ascending.

    Raises:
        TooFewImages: there are fewer images.
    """
    if num > len(indices):
        raise TooFewImages("subset", f"{num} is more than the {len(indices)} training images")
    return np.sort(_order(indices, f"subset/{seed}")[:num])


def noisy(indices: Indices, labels: Labels, num_classes: int, rate: float, seed: int) -> Labels:
    """Replace round(rate · N) labels (halves are rounded up) by one of the other C-1 classes, all equally likely.

    Args:
        indices: (N,) indices in the pool.
        labels: (N,) labels.
        num_classes: the number C of classes.
        rate: share of labels to change, in [0, 1].
        seed: seed of the draw.

    Returns:
        The new labels (N,), read-only.
    """
    number = int(Fraction(str(rate)) * len(indices) + Fraction(1, 2))
    changed = labels.copy()
    for place in _order(indices, f"label_noise/{seed}")[:number].tolist():
        shift = 1 + _draw(f"label_noise_to/{seed}", int(indices[place])) % (num_classes - 1)
        changed[place] = (labels[place] + shift) % num_classes
    return as_labels(changed)


def _first_of_each(indices: Indices, labels: Labels, wanted: Sequence[int], purpose: str) -> Indices:
    """Positions of the first `wanted[label]` images of each class in the order of the hashes; the result ascends."""
    order = _order(indices, purpose)
    kept = [order[labels[order] == label][:number] for label, number in enumerate(wanted)]
    return np.sort(np.concatenate(kept))


def _order(indices: Indices, purpose: str) -> Indices:
    """Positions in `indices`, sorted by the hashes for this purpose."""
    hashes = [_hash(purpose, index) for index in indices.tolist()]
    return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)


def _draw(purpose: str, index: int) -> int:
    return int.from_bytes(_hash(purpose, index), "big")


def _hash(purpose: str, index: int) -> bytes:
    return hashlib.sha256(f"{purpose}/{index}".encode()).digest()
