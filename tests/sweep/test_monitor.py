"""A driver whose mailbox is gone has lost its node: it says so and ends instead of waiting for ever."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import ray

from lion_ray.store import Store
from lion_ray.study import request
from lion_ray.sweep.events import ExperimentFailed
from lion_ray.sweep.mailbox import start_mailbox
from lion_ray.sweep.monitor import watch
from lion_ray.sweep.progress import Progress

WATCH = """
import io, threading, ray
from lion_ray.sweep.mailbox import start_mailbox
from lion_ray.sweep.progress import Progress
from lion_ray.sweep.monitor import watch
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
mailbox = start_mailbox()
progress = Progress(experiments=[], done={}, stream=io.StringIO())
threading.Thread(target=watch, args=(mailbox, progress, {}, [], threading.Event(), print), daemon=True).start()
ray.get(mailbox.take.remote())
ray.kill(mailbox)
threading.Event().wait()
"""


def test_a_driver_whose_board_is_gone_ends_with_one_line() -> None:
    ended = subprocess.run([sys.executable, "-c", WATCH], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == "Ray is gone from the driver's node: the same command goes on where this one ended\n"


@pytest.mark.usefixtures("embedded_ray")
def test_a_failure_is_in_the_store_while_the_sweep_goes_on(tmp_path: Path) -> None:
    mailbox, store, over = start_mailbox(), Store(str(tmp_path)), threading.Event()
    ray.get(mailbox.put.remote(ExperimentFailed(experiment="a", reason="out of memory")))
    over.set()
    watch(
        mailbox,
        Progress(experiments=[], done={}, stream=io.StringIO()),
        {},
        [],
        over,
        partial(request.record_failures, store),
    )
    assert request.recall_failures(store) == {"a": "out of memory"}
