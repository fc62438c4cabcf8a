"""The main door: `python -m lion_ray.pipeline study.yaml` turns a study file into tickets, metrics and a table.

It is small, so that signals are minded before anything heavy is imported; `driver` does the work. Exit status: 0 all
done, 1 an experiment failed or Ray did not start, 2 the study file is wrong, 3 the storage failed, 130 interrupted, 141
nobody reads the output, 143 stopped. Ray turns what a submitted job returns into 0 or 1, so there the last line of the
log is `exit status N`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lion_ray import console, job

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

FAILED, BAD_INPUT, BAD_STORAGE, INTERRUPTED = 1, 2, 3, console.INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run, and turn what a user can mend into one line and an exit status."""
    status = FAILED  # of an error that is ours: its traceback tells
    try:
        status = _answer(arguments)
    except SystemExit as ended:  # argparse: wrong arguments, or --help
        status = BAD_INPUT if ended.code else 0
        raise
    finally:
        job.name_exit_status(status)
    return status


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    import argparse

    made = argparse.ArgumentParser(prog="python -m lion_ray.pipeline", description="Run a study, or go on with it.")
    made.add_argument("study", help="a study file, or the name of a shipped one such as quickstart.yaml")
    made.add_argument("--set", action="append", default=[], metavar="KEY.SUB=VALUE", help="override a key")
    made.add_argument("--dry-run", action="store_true", help="print the plan and start nothing")
    made.add_argument("--verify", action="store_true", help="read every artifact and compare it with its digest")
    return made


def _answer(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    from lion_ray.config import StudyError
    from lion_ray.console import plain_warnings
    from lion_ray.store import redacted
    from lion_ray.sweep import driver

    try:
        with plain_warnings():
            return driver.run(options.study, overrides=options.set, dry_run=options.dry_run, verify=options.verify)
    except StudyError as error:
        print(redacted(error), file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"storage: {' '.join(redacted(error).split())}", file=sys.stderr)
        return BAD_STORAGE
    except job.StartError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(console.interrupted(resumes=True), file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    console.prepare(resumes=True)
    console.leave(main())
