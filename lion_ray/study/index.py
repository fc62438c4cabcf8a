"""What was read and verified once, so that planning does not read a study's artifacts each time.

    index/<experiment>.json    the rows of one experiment, and a fingerprint of its files' sizes and etags or times
    shards/<sha256>.json.z     what many of these held, in one file; an entry in `index/` is newer and counts instead

All of it is derived: an entry counts only while the listing of the experiment's folder says what it said then; whatever
is lost, cut or altered is derived again from the artifacts, with all digests. Of studies with more than `LISTED_FILES`
files only unfinished experiments are listed, for a listing takes a second per 3,000 files; `verify` reads everything.
Git's index tells changed files in the same way.
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
LOOSE_ENTRIES = 200  # so many are read one by one; more are brought together in shards
SHARD_ENTRIES = 500
SHARD_BYTES = 2**30  # unpacked; one holds some ten MB

IsFinished = Callable[[str, FoundRounds], bool]


def survey(
    store: Store, names: Sequence[str], *, is_finished: IsFinished, verify: bool = False, keep: bool = True
) -> dict[str, FoundRounds]:
    """What the store holds of the experiments called `names`; what is damaged is absent, with a warning.

    Args:
        is_finished: whether nothing is left to be done of an experiment, given what is known of it.
        verify: read all artifacts with their digests, whatever the listing says.
        keep: write down what was verified.
    """
    loose, shards = _loose(store, names), _shards(store)
    known = {} if verify else _entries(names, shards, loose)
    now = _listings(store, names, known, is_finished)
    stale = [name for name, files in now.items() if fingerprint(files) != known.get(name, FoundRounds()).listing]
    derived = dict(zip(stale, map_in_threads(lambda name: read_found(store, name, now[name]), stale), strict=True))
    for name in stale:
        _say_what_is_gone(store, name, known.get(name, FoundRounds()), derived[name])
    found = {**{name: FoundRounds() for name in names}, **known, **derived}
    if keep:
        map_in_threads(lambda name: store.write(layout.index_entry(name), _packed(found[name])), stale)
        if len(loose) + len(stale) > LOOSE_ENTRIES:
            compact(store, {**shards, **found})
    return found


def indexed(store: Store, files: Files) -> dict[str, RoundRecord]:
    """By key, the rounds and controls that the index holds of experiments whose files are still those it was made of.

    Args:
        files: a listing of the whole store.
    """
    by_name = _by_experiment(files)
    loose, shards = _loose(store, list(by_name)), _shards(store)
    known = _entries(list(by_name), shards, loose)
    return {
        layout.round_of(name, row.round, control_of(row.ticket)): row
        for name, found in known.items()
        if found.listing == fingerprint(by_name[name])
        for row in (*found.rounds, *found.controls)
    }


def renew(store: Store, name: str) -> None:
    """Read one experiment with all digests and write its entry, so that a later plan need not."""
    store.write(layout.index_entry(name), _packed(read_found(store, name, store.listing(layout.experiment(name)))))


def compact(store: Store, found: Mapping[str, FoundRounds]) -> None:
    """Bring all entries together in shards; they go when all else is done, for they overrule what a kill leaves."""
    loose, before = store.listing(layout.INDEX), set(store.listing(layout.SHARDS))
    names = [name for name in found if found[name].num_files]
    shards = {}
    for first in range(0, len(names), SHARD_ENTRIES):
        entries = {name: _fields(found[name]) for name in names[first : first + SHARD_ENTRIES]}
        payload = zlib.compress(json.dumps(entries, sort_keys=True).encode(), 1)
        shards[layout.index_shard(digest(payload))] = payload
    map_in_threads(lambda path: store.write(path, shards[path]), shards)
    store.remove_files(before - shards.keys())
    store.remove_files(path for path in map(layout.index_entry, names) if path in loose)


def _loose(store: Store, names: Sequence[str]) -> dict[str, FoundRounds | None]:
    """The entries in `index/`; None for a damaged one."""
    listed = store.listing(layout.INDEX)
    loose = [name for name in names if layout.index_entry(name) in listed]
    return dict(
        zip(loose, map_in_threads(lambda name: _parsed(store.read(layout.index_entry(name))), loose), strict=True)
    )


def _entries(
    names: Sequence[str], shards: Mapping[str, FoundRounds], loose: Mapping[str, FoundRounds | None]
) -> dict[str, FoundRounds]:
    """What counts of both."""
    entries = {name: loose[name] if name in loose else shards.get(name) for name in names}
    return {name: entry for name, entry in entries.items() if entry is not None}


def _shards(store: Store) -> dict[str, FoundRounds]:
    """What all shards hold; a damaged one holds nothing."""
    paths = list(store.listing(layout.SHARDS))
    found: dict[str, FoundRounds] = {}
    for path, payload in zip(paths, map_in_threads(store.read, paths), strict=True):
        if payload is not None and path == layout.index_shard(digest(payload)):
            found |= _unpacked(payload)
    return found


def _unpacked(payload: bytes) -> dict[str, FoundRounds]:
    """The entries of a shard; none if it holds anything else, or more than a shard does."""
    opened = zlib.decompressobj()
    try:
        text = opened.decompress(payload, SHARD_BYTES)
        return {name: _found(fields) for name, fields in json.loads(text).items()} if opened.eof else {}
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _listings(
    store: Store, names: Sequence[str], known: Mapping[str, FoundRounds], is_finished: IsFinished
) -> dict[str, Files]:
    """The files of each experiment: of all if they are few, otherwise of those that are not finished."""
    if sum(found.num_files for found in known.values()) > LISTED_FILES:
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


def _say_what_is_gone(store: Store, name: str, before: FoundRounds, now: FoundRounds) -> None:
    parts: dict[str, tuple[int, int]] = {"its start": (before.has_start, now.has_start)}
    parts |= {"some of its rounds": (len(before.rounds), len(now.rounds))}
    parts |= {"some of its controls": (len(before.controls), len(now.controls))}
    gone = [part for part, (then, left) in parts.items() if left < then]
    if gone:
        text = f"{store.url}/{layout.experiment(name)}: {' and '.join(gone)} counts as absent"
        warnings.warn(text, DamagedArtifactWarning, stacklevel=2)


def _fields(found: FoundRounds) -> dict[str, Any]:
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return fields | {name: [record.as_json() for record in fields[name]] for name in ("rounds", "controls")}


def _found(fields: Mapping[str, Any]) -> FoundRounds:
    return FoundRounds(
        rounds=tuple(checked(fields["rounds"])),
        controls=tuple(checked(fields["controls"])),
        has_start=bool(fields["has_start"]),
        num_files=int(fields["num_files"]),
        listing=str(fields["listing"]),
    )


def _packed(found: FoundRounds) -> bytes:
    text = json.dumps(_fields(found), sort_keys=True)
    return f"{digest(text.encode())}\n{text}".encode()


def _parsed(payload: bytes | None) -> FoundRounds | None:
    """None if it is damaged: it is made again."""
    expected, _, text = (payload or b"").partition(b"\n")
    if expected.decode(errors="replace") != digest(text):
        return None
    try:
        return _found(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
