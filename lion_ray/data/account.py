"""How a source was read, in lines for people: which files are which split, by which rule, and what was not used.

Nothing that lies in a source is left out, merged or guessed without such a line. `data verify` prints them, and so does
the plan of a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from lion_ray.data.files import File
from lion_ray.data.pool import POOL

SHOWN = 3
Value = TypeVar("Value")


class Listing(Mapping[str, File]):
    """The files of a source by path, which remembers those that a reader has taken.

    Args:
        left_out: paths that no reader gets to see, by the reason.
    """

    def __init__(self, files: Mapping[str, File], left_out: Mapping[str, Sequence[str]]) -> None:
        self._files, self._left_out, self._taken = files, left_out, set[str]()

    def __getitem__(self, path: str) -> File:
        file = self._files[path]
        self._taken.add(path)
        return file

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: object) -> bool:
        return path in self._files  # to ask is not to take

    def unused(self) -> list[str]:
        """A line for each reason for which files were not used."""
        others = [path for path in self._files if path not in self._taken]
        lines = [f"not used: {some(paths)}: {reason}" for reason, paths in self._left_out.items() if paths]
        return [*lines, *([f"not used: {some(others)}: no reader of this set names them"] if others else [])]


def some(names: Sequence[str], thing: str = "file") -> str:
    """`2 files (a.txt, b.txt)`; of many the first."""
    more = ", ..." if len(names) > SHOWN else ""
    plural = ("es" if thing.endswith("s") else "s") * (len(names) != 1)
    return f"{len(names)} {thing}{plural} ({', '.join(names[:SHOWN])}{more})"


def splits_told(splits: Mapping[str, Iterable[str]], rule: str, thing: str = "file") -> str:
    """One line that says where each split was found.

    Args:
        splits: the names of what holds each split; `pool` alone if none is named.
        rule: what told the splits apart, such as `by the names of the files`.
    """
    if set(splits) == {POOL}:
        return f"splits: none is named; {some(list(splits[POOL]), thing)} are one pool, which a study cuts"
    told = "; ".join(f"{split} {some(list(names), thing)}" for split, names in splits.items())
    return f"splits {rule}: {told}"
