"""An index of the rounds that were read and verified once, so that a plan does not read every artifact each time.

    index/<experiment>.json    the records of one experiment, and a fingerprint of its files' sizes and etags or times
    shards/<sha256>.json.z     the entries of many experiments in one file; an entry in `index/` is newer and overrides

The index is derived data. An entry counts only while the listing of the experiment's folder has the same fingerprint;
an entry that is lost, cut or altered is derived again from the artifacts with all digests. In a study with more than
`LISTED_FILES` files only unfinished experiments are listed, because a listing takes a second per 3,000 files. Git's
index detects changed files in the same way. `lion_ray.study.plan`, `lion_ray.report.listing` and `lion_ray.sweep.run`
call this module.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lion_ray.lottery import control_of
from lion_ray.store import DamagedArtifactWarning, ListedFile, Store, digest, layout, map_in_threads
from lion_ray.study.record import RoundRecord, checked
from lion_ray.study.rounds import Files, FoundRounds, fingerprint, read_found

LISTED_FILES = 20_000
LOOSE_ENTRIES = 200  # up to this number entries are read one by one; more are packed into shards
SHARD_ENTRIES = 500
SHARD_BYTES = 2**30  # the limit of an unpacked shard; a usual one holds some ten MB

IsFinished = Callable[[str, FoundRounds], bool]


def survey(
    store: Store, names: Sequence[str], *, is_finished: IsFinished, verify: bool = False, keep: bool = True
) -> dict[str, FoundRounds]:
    """The finished rounds of experiments. A damaged round counts as absent, with a warning.

    Args:
        store: the study's store.
        names: the names of the experiments.
        is_finished: receives an experiment's name and its known rounds, and returns whether nothing is left to be done.
        verify: read all artifacts with their digests, even those whose listing has not changed.
        keep: store the entries of the experiments that were read.

    Returns:
        The rounds of every experiment by its name; empty rounds for an experiment that has not begun.
    """
    loose, shards = _loose(store, names), _shards(store)
    known = {} if verify else _entries(names, shards, loose)
    now = _listings(store, names, known, is_finished)
    stale = [name for name, files in now.items() if fingerprint(files) != known.get(name, FoundRounds()).listing]
    derived = dict(zip(stale, map_in_threads(lambda name: read_found(store, name, now[name]), stale), strict=True))
    for name in stale:
        _warn_of_lost_rounds(store, name, known.get(name, FoundRounds()), derived[name])
    rounds_by_name = {**{name: FoundRounds() for name in names}, **known, **derived}
    if keep:
        map_in_threads(lambda name: store.write(layout.index_entry(name), _packed(rounds_by_name[name])), stale)
        if len(loose) + len(stale) > LOOSE_ENTRIES:
            compact(store, {**shards, **rounds_by_name})
    return rounds_by_name


def indexed(store: Store, files: Files) -> dict[str, RoundRecord]:
    """The rounds and controls that the index holds, by their artifact's key; entries of changed files are left out.

    Args:
        store: the study's store.
        files: a listing of the whole store.
    """
    by_name = _by_experiment(files)
    loose, shards = _loose(store, list(by_name)), _shards(store)
    known = _entries(list(by_name), shards, loose)
    return {
        layout.round_of(name, row.round, control_of(row.ticket)): row
        for name, stored in known.items()
        if stored.listing == fingerprint(by_name[name])
        for row in (*stored.rounds, *stored.controls)
    }


def renew(store: Store, name: str) -> None:
    """Read one experiment with all digests and store its entry, so that a later plan need not read it again."""
    store.write(layout.index_entry(name), _packed(read_found(store, name, store.listing(layout.experiment(name)))))


def compact(store: Store, rounds_by_name: Mapping[str, FoundRounds]) -> None:
    """Pack all entries into shards and remove the single ones.

    The single entries are removed last: they override the shards, so a kill in between loses nothing.

    Args:
        store: the study's store.
        rounds_by_name: the rounds of every experiment by its name.
    """
    loose, before = store.listing(layout.INDEX), set(store.listing(layout.SHARDS))
    names = [name for name in rounds_by_name if rounds_by_name[name].num_files]
    shards = {}
    for first in range(0, len(names), SHARD_ENTRIES):
        entries = {name: _fields(rounds_by_name[name]) for name in names[first : first + SHARD_ENTRIES]}
        payload = zlib.compress(json.dumps(entries, sort_keys=True).encode(), 1)
        shards[layout.index_shard(digest(payload))] = payload
    map_in_threads(lambda path: store.write(path, shards[path]), shards)
    store.remove_files(before - shards.keys())
    store.remove_files(path for path in map(layout.index_entry, names) if path in loose)


def _loose(store: Store, names: Sequence[str]) -> dict[str, FoundRounds | None]:
    """The single entries in `index/`; None stands for a damaged one."""
    listed = store.listing(layout.INDEX)
    loose = [name for name in names if layout.index_entry(name) in listed]
    return dict(
        zip(loose, map_in_threads(lambda name: _parsed(store.read(layout.index_entry(name))), loose), strict=True)
    )


def _entries(
    names: Sequence[str], shards: Mapping[str, FoundRounds], loose: Mapping[str, FoundRounds | None]
) -> dict[str, FoundRounds]:
    """The entries that count: a single entry overrides a shard's."""
    entries = {name: loose[name] if name in loose else shards.get(name) for name in names}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _shards(store: Store) -> dict[str, FoundRounds]:
    """The entries of all shards. A damaged shard holds none."""
    paths = list(store.listing(layout.SHARDS))
    by_name: dict[str, FoundRounds] = {}
    for path, payload in zip(paths, map_in_threads(store.read, paths), strict=True):
        if payload is not None and path == layout.index_shard(digest(payload)):
            by_name |= _unpacked(payload)
    return by_name


def _unpacked(payload: bytes) -> dict[str, FoundRounds]:
    """The entries of a shard; none if it is damaged or unpacks to more than `SHARD_BYTES`."""
    opened = zlib.decompressobj()
    try:
        text = opened.decompress(payload, SHARD_BYTES)
        return {name: _from_fields(fields) for name, fields in json.loads(text).items()} if opened.eof else {}
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _listings(
    store: Store, names: Sequence[str], known: Mapping[str, FoundRounds], is_finished: IsFinished
) -> dict[str, Files]:
    """The files of every experiment if there are few files, otherwise those of the unfinished experiments."""
    if sum(stored.num_files for stored in known.values()) > LISTED_FILES:
        unfinished = [name for name in names if name not in known or not is_finished(name, known[name])]
        listings = map_in_threads(lambda name: store.listing(layout.experiment(name)), unfinished)
        return dict(zip(unfinished, listings, strict=True))
    by_name = _by_experiment(store.listing(layout.EXPERIMENTS))
    return {name: by_name.get(name, {}) for name in names}


def _by_experiment(files: Files) -> dict[str, Files]:
    by_name: dict[str, dict[str, ListedFile]] = defaultdict(dict)
    for path, listed in files.items():
        if path.startswith(f"{layout.EXPERIMENTS}/"):
            by_name[path.split("/", 2)[1]][path] = listed
    return dict(by_name)


def _warn_of_lost_rounds(store: Store, name: str, before: FoundRounds, now: FoundRounds) -> None:
    counts: dict[str, tuple[int, int]] = {"its start": (before.has_start, now.has_start)}
    counts |= {"some of its rounds": (len(before.rounds), len(now.rounds))}
    counts |= {"some of its controls": (len(before.controls), len(now.controls))}
    lost = [part for part, (num_before, num_now) in counts.items() if num_now < num_before]
    if lost:
        text = f"{store.url}/{layout.experiment(name)}: {' and '.join(lost)} counts as absent"
        warnings.warn(text, DamagedArtifactWarning, stacklevel=2)


def _fields(stored: FoundRounds) -> dict[str, object]:
    fields: dict[str, object] = {field.name: getattr(stored, field.name) for field in dataclasses.fields(stored)}
    fields["rounds"] = [record.as_json() for record in stored.rounds]
    fields["controls"] = [record.as_json() for record in stored.controls]
    return fields


def _from_fields(fields: Mapping[str, Any]) -> FoundRounds:
    return FoundRounds(
        rounds=tuple(checked(fields["rounds"])),
        controls=tuple(checked(fields["controls"])),
        has_start=bool(fields["has_start"]),
        num_files=int(fields["num_files"]),
        listing=str(fields["listing"]),
    )


def _packed(stored: FoundRounds) -> bytes:
    text = json.dumps(_fields(stored), sort_keys=True)
    return f"{digest(text.encode())}\n{text}".encode()


def _parsed(payload: bytes | None) -> FoundRounds | None:
    """The entry in a file's bytes. It is None if the file is absent or damaged, and the entry is derived again."""
    expected, _, text = (payload or b"").partition(b"\n")
    if expected.decode(errors="replace") != digest(text):
        return None
    try:
        return _from_fields(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
