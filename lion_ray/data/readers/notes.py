"""Lines for the user on how a source was read: which files make which split, by which rule, and what was not used.

Nothing in a source is left out, merged or guessed without such a line. `lion-ray data verify` and the plan of a study
print them. The readers and `lion_ray.data.source` call these functions.
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


class TrackedFiles(Mapping[str, File]):
    """The files of a source by path. It records which files a reader has taken.

    Args:
        files: the files that readers see, by path.
        left_out: paths that readers do not see, by the reason.
        empty: folders without files.
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
        return path in self._files  # a membership test does not mark the file as taken

    def items(self) -> ItemsView[str, File]:
        """All paths and files. This does not mark them as taken."""
        return self._files.items()

    @property
    def others(self) -> list[str]:
        """The paths that no reader has taken."""
        return [path for path in self._files if path not in self._taken]

    def unused(self) -> list[str]:
        """One line for each reason why files were not used."""
        reasons = {**self._left_out, "neither read nor named by what was read": self.others}
        lines = [f"not used: {count_and_names(paths)}: {reason}" for reason, paths in reasons.items() if paths]
        return [
            *lines,
            *([f"not used: {count_and_names(self._empty, 'folder')}: nothing is in it"] if self._empty else []),
        ]


def count_and_names(names: Sequence[str], thing: str = "file") -> str:
    """Count and names, such as `2 files (a.txt, b.txt)`; at most `SHOWN` names."""
    more = ", ..." if len(names) > SHOWN else ""
    plural = ("es" if thing.endswith("s") else "s") * (len(names) != 1)
    return f"{len(names)} {thing}{plural} ({', '.join(names[:SHOWN])}{more})"


def classes_note(classes: Sequence[str], rule: str) -> str:
    """One line with the classes and the rule that gave them, such as `by the names of the folders`."""
    more = ", ..." if len(classes) > NAMED_CLASSES else ""
    return f"classes {rule}: {len(classes)} ({', '.join(classes[:NAMED_CLASSES])}{more})"


def similar_class_notes(classes: Sequence[str]) -> list[str]:
    """A line if class names differ only in case, blanks or Unicode form, because they may be one class."""
    forms: dict[str, list[str]] = {}
    for name in classes:
        forms.setdefault("".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    twins = [" and ".join(map(ascii, names)) for names in forms.values() if len(names) > 1]
    difference = "are alike but for capitals, blanks or the encoding of letters; they count as different"
    return [f"classes: {', '.join(twins)} {difference}"] if twins else []


def splits_note(splits: Mapping[str, Iterable[str]], rule: str, thing: str = "file") -> str:
    """One line that says where each split was found.

    Args:
        splits: the names of the files or images of each split; `pool` alone if no split is named.
        rule: the rule that gave the splits, such as `by the names of the files`.
        thing: what the names are, in the singular.
    """
    if set(splits) == {POOL}:
        return f"splits: none is named; {count_and_names(list(splits[POOL]), thing)} are one pool, which a study cuts"
    found = "; ".join(f"{split} {count_and_names(list(splits[split]), thing)}" for split in SPLITS if split in splits)
    return f"splits {rule}: {found}"


def incomplete_shard_notes(splits: Mapping[str, Iterable[str]]) -> list[str]:
    """One line for each split with fewer shards than their names say, such as `-00000-of-00005`."""
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
