"""A background thread for uploads, so that training does not wait for the storage.

Work runs one piece at a time and in the order of submission. An error of a piece is raised at the next call.
`lion_ray.trial.stored_rounds`, `lion_ray.sweep.run` and `lion_ray.data.build.building` submit their writes here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs work in one background thread.

    At most one piece of work is under way. `submit` waits for the piece before it, so at most two payloads are in
    memory at the same time.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __reduce__(self) -> tuple[type[BackgroundWriter], tuple[()]]:
        return BackgroundWriter, ()  # Tune pickles the values that it is given; a copy starts with no work

    def submit(self, work: Callable[[], object]) -> None:
        """Wait for the piece of work before, then start `work` in the background.

        Raises:
            BaseException: the error of the piece before, if it failed.
        """
        self.flush()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Wait until all submitted work is done.

        Raises:
            BaseException: the error of the last piece of work, if it failed.
        """
        if self._thread is not None:
            self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 (`flush` raises it in the thread that submitted the work)
            self._error = error
