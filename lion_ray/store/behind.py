"""Writing behind the back of whoever trains: one piece of work at a time, in order, its error told at the next call."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Behind:
    """At most one piece of work is under way; a second one waits for it, so no more than two payloads are in memory."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __reduce__(self) -> tuple[type[Behind], tuple[()]]:
        return Behind, ()  # Tune saves copies of what it is given; they have nothing to do

    def do(self, work: Callable[[], object]) -> None:
        """Start `work` once what was started before is done. Raises what that raised."""
        self.flush()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Return when everything is done. Raises what it raised."""
        if self._thread is not None:
            self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (raised in the thread that trains)
            self._error = error
