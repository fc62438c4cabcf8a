"""Image folders: `train/<class>/img.png`, `val/...` and `test/...`, or `<class>/img.png` as one pool.

Each class is a folder. Classes and images are in sorted order. `lion_ray.data.readers` registers this reader as
`folder`, and `packages` calls `read_url`.
"""

from __future__ import annotations

from collections.abc import Iterable

from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL, FilePool, FoundSet, as_labels
from lion_ray.data.readers.junk import is_text
from lion_ray.data.readers.listing import IMAGES, Files, check_train, listing, split_error
from lion_ray.data.readers.notes import classes_note, splits_note
from lion_ray.data.readers.split_names import check_words, split_in, split_word, words_of


def is_image(path: str) -> bool:
    """Whether `path` has an ending of an image file."""
    return path.lower().endswith(IMAGES)


def read(files: Files) -> FoundSet:
    """Read the dataset of the folders in a listing.

    Raises:
        BadData: there are no images, a file is at a wrong depth, there is no train split, or train lacks a class.
    """
    splits = _by_split(files)
    classes = tuple(sorted({path.split("/")[-2] for paths in splits.values() for path in paths}))
    for split, paths in splits.items():
        _check_classes(split, paths, splits.get("train", paths))
    notes = (splits_note(splits, "by the first folder", "image"), classes_note(classes, "by the names of the folders"))
    return FoundSet(
        classes=classes,
        pools={split: _pool(files, paths, classes) for split, paths in splits.items()},
        notes=notes,
    )


def read_url(url: str) -> FoundSet:
    """Read the dataset of the folders below `url`."""
    return read(listing(url))


def _by_split(files: Files) -> dict[str, list[str]]:
    """The image paths of each split; `pool` is the only key if no first folder names a split."""
    images = list(filter(is_image, files))
    named = _named(images)
    check_words((split, word) for first, split in named.items() for word in words_of(first) if split_word(word))
    if 0 < len(named) < len(_firsts(images)) and all(path.count("/") == 1 for path in images):
        first = next(iter(named))
        raise BadData(
            f"{first} is a split's name, but images lie in it and in other folders: rename it if it is a class"
        )
    depth = 3 if named else 2
    splits: dict[str, list[str]] = {}
    for path in files:
        parts = path.split("/")
        if not is_image(path) and (len(parts) == 1 or is_text(path)):
            continue  # a README beside the folders, notes beside the images: counted as not used
        if named and parts[0] not in named:
            raise split_error(path)
        if len(parts) != depth or not is_image(path):
            where = "train/<class>/<image>" if named else "<class>/<image>"
            if is_image(path) and len(parts) < depth:
                raise BadData(f"{path} lies in no class's folder: {where} is expected")
            raise BadData(f"{path} is not {where} with an image's ending ({', '.join(IMAGES)})")
        splits.setdefault(named.get(parts[0], POOL), []).append(path)
    if not splits:
        raise BadData("there are no images")
    check_train(set(splits) - {POOL})
    return splits


def _named(images: list[str]) -> dict[str, str]:
    """The split of each first folder. Its name is a split's, or it lies above class folders and contains one."""
    firsts = _firsts(images)
    named = {first: split for first in firsts if (split := split_word(first))}
    if named or not images or any(path.count("/") != 2 for path in images):
        return named
    return {first: split for first, path in firsts.items() if (split := split_in(first, path))}


def _firsts(images: list[str]) -> dict[str, str]:
    """The first folders of all paths, each with one of its images."""
    return {path.partition("/")[0]: path for path in images if "/" in path}


def _check_classes(split: str, paths: Iterable[str], train: Iterable[str]) -> None:
    known = {path.split("/")[-2] for path in train}
    for path in paths:
        if path.split("/")[-2] not in known:
            raise BadData(f"{path}: class {path.split('/')[-2]!r} of {split} has no image in train")


def _pool(files: Files, paths: list[str], classes: tuple[str, ...]) -> FilePool:
    number = {name: label for label, name in enumerate(classes)}
    return FilePool(
        files=tuple(files[path] for path in paths),
        names=tuple(paths),
        labels=as_labels([number[path.split("/")[-2]] for path in paths]),
    )
