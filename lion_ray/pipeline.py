"""The command-line entry point: `python -m lion_ray.pipeline study.yaml` runs a study or continues it.

Signals are handled before torch and Ray are imported, so this module is small and `lion_ray.sweep.driver` does the
work. The exit status is 0 if all is done, 1 if an experiment failed or Ray did not start, 2 for a wrong study file, 3
for a failed storage, 130 if interrupted, 141 if the output is closed, and 143 if stopped. Ray turns the exit status of
a submitted job into 0 or 1, so the last line of its log is `exit status N`. `lion-ray run` calls `main` too.
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
    """Parse the command line, run the study, and return the exit status. A user's mistakes are printed as one line.

    Args:
        arguments: the command line without the program's name; None takes that of this process.
    """
    status = FAILED  # stays if an error of lion_ray itself is raised, with its traceback
    try:
        status = _run(arguments)
    except SystemExit as ended:  # argparse: wrong arguments, or --help
        status = BAD_INPUT if ended.code else 0
        raise
    finally:
        job.name_exit_status(status)
    return status


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    import argparse

    options = argparse.ArgumentParser(prog="python -m lion_ray.pipeline", description="Run a study, or go on with it.")
    options.add_argument("study", help="a study file, or the name of a shipped one such as quickstart.yaml")
    options.add_argument("--set", action="append", default=[], metavar="KEY.SUB=VALUE", help="override a key")
    options.add_argument("--dry-run", action="store_true", help="print the plan and start nothing")
    options.add_argument("--verify", action="store_true", help="read every artifact and compare it with its digest")
    return options


def _run(arguments: Sequence[str] | None) -> int:
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
