"""How a source was read, in lines for people: which files are which split, by which rule, and what was not used.

Nothing that lies in a source is left out, merged or guessed without such a line. `data verify` prints them, and so does
the plan of a study.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence

from lion_ray.data.files import File
from lion_ray.data.pool import POOL
from lion_ray.data.select.splits import SPLITS

SHOWN = 3
NAMED_CLASSES = 10
_OF = re.compile(r"-(?P<number>[0-9]+)-of-(?P<of>[0-9]+)")


class Listing(Mapping[str, File]):
    """The files of a source by path, which remembers those that a reader has taken.

    Args:
        left_out: paths that no reader gets to see, by the reason.
        empty: folders that hold nothing.
    """

    def __init__(
        self, files: Mapping[str, File], left_out: Mapping[str, Sequence[str]], empty: Sequence[str] = ()
    ) -> None:
        self._files, self._left_out, self._empty, self._taken = files, left_out, empty, set[str]()

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

    def items(self) -> ItemsView[str, File]:
        """All of it, which takes nothing either."""
        return self._files.items()

    @property
    def others(self) -> list[str]:
        """The paths that a reader could see and has not taken."""
        return [path for path in self._files if path not in self._taken]

    def unused(self) -> list[str]:
        """A line for each reason for which files were not used."""
        reasons = {**self._left_out, "neither read nor named by what was read": self.others}
        lines = [f"not used: {some(paths)}: {reason}" for reason, paths in reasons.items() if paths]
        return [*lines, *([f"not used: {some(self._empty, 'folder')}: nothing is in it"] if self._empty else [])]


def some(names: Sequence[str], thing: str = "file") -> str:
    """`2 files (a.txt, b.txt)`; of many the first."""
    more = ", ..." if len(names) > SHOWN else ""
    plural = ("es" if thing.endswith("s") else "s") * (len(names) != 1)
    return f"{len(names)} {thing}{plural} ({', '.join(names[:SHOWN])}{more})"


def classes_told(classes: Sequence[str], rule: str) -> str:
    """One line that says what told the classes, such as `by the names of the folders`."""
    more = ", ..." if len(classes) > NAMED_CLASSES else ""
    return f"classes {rule}: {len(classes)} ({', '.join(classes[:NAMED_CLASSES])}{more})"


def alike(classes: Sequence[str]) -> list[str]:
    """A note where names of classes differ by capitals, blanks or how letters are encoded: perhaps they are one."""
    forms: dict[str, list[str]] = {}
    for name in classes:
        forms.setdefault("".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    twins = [" and ".join(map(ascii, names)) for names in forms.values() if len(names) > 1]
    told = "are alike but for capitals, blanks or the encoding of letters; they count as different"
    return [f"classes: {', '.join(twins)} {told}"] if twins else []


def splits_told(splits: Mapping[str, Iterable[str]], rule: str, thing: str = "file") -> str:
    """One line that says where each split was found.

    Args:
        splits: the names of what holds each split; `pool` alone if none is named.
        rule: what told the splits apart, such as `by the names of the files`.
    """
    if set(splits) == {POOL}:
        return f"splits: none is named; {some(list(splits[POOL]), thing)} are one pool, which a study cuts"
    told = "; ".join(f"{split} {some(list(splits[split]), thing)}" for split in SPLITS if split in splits)
    return f"splits {rule}: {told}"


def incomplete(splits: Mapping[str, Iterable[str]]) -> list[str]:
    """A line for each split of which names say that there are more shards (`-00000-of-00005`) than lie here."""
    lines = []
    for split, paths in splits.items():
        numbers: dict[str, set[str]] = {}
        for path in paths:
            if match := _OF.search(path):
                numbers.setdefault(f"{path[: match.start()]}-*-of-{match['of']}", set()).add(match["number"])
        lines += [
            f"shards of {split}: {len(here)} of {int(name.rpartition('-')[2])} are here ({name})"
            for name, here in numbers.items()
            if len(here) < int(name.rpartition("-")[2])
        ]
    return lines
