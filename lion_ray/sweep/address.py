"""`RAY_ADDRESS`: which cluster is joined, and whether it answers: Ray itself waits 14 minutes for a dead one."""

from __future__ import annotations

import os
import socket
import time
from urllib.parse import urlsplit

from lion_ray.config import StudyError

VARIABLE = "RAY_ADDRESS"
PATIENCE_SECONDS = 30.0  # a head that is just starting
PAUSE_SECONDS = 1.0


def cluster_address() -> str | None:
    """The address of the cluster to join; None where a Ray is to be started in this process.

    Raises:
        StudyError: it is the address of a dashboard, which takes jobs and no drivers.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if address.lower().startswith(("http://", "https://")):
        raise StudyError(
            VARIABLE,
            address,
            "is where jobs are submitted: `ray job submit -- python -m lion_ray.pipeline ...`; to run the driver here, "
            "name the cluster's own address, such as HOST:6379, or unset it",
        )
    return None if address in ("", "local") else address


def wait_for_answer(address: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Until somebody listens at `address`; says at once when nobody does. Other spellings are Ray's business.

    Raises:
        StudyError: nobody does within `seconds`.
    """
    host, port = _host_and_port(address)
    if not host or port is None:
        return
    deadline, is_said = time.monotonic() + seconds, False
    while (reason := _refusal(host, port)) is not None:
        if time.monotonic() + PAUSE_SECONDS > deadline:
            raise StudyError(VARIABLE, address, f"no Ray cluster answers there ({reason}), tried for {seconds:.0f} s")
        if not is_said:
            is_said = True
            print(f"{VARIABLE}: {address} does not answer ({reason}), trying for {seconds:.0f} s", flush=True)
        time.sleep(PAUSE_SECONDS)


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        return parts.hostname, parts.port
    except ValueError as error:
        raise StudyError(VARIABLE, address, f"is no HOST:PORT ({error})") from error


def _refusal(host: str, port: int) -> str | None:
    """Why nobody can be reached there; None if somebody listens."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return None
    except OSError as error:
        return error.strerror or str(error)
