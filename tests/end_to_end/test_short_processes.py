"""Commands that end at once end well: pyarrow's threads abort some processes at their exit."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

READ = (
    "import sys; from lion_ray.report.tables import read_table; "
    "print(read_table(open(sys.argv[1], 'rb').read(), sys.argv[1], ['density']))"
)


def ends(code: str, argument: Path) -> list[int]:
    """Exit statuses of eight processes, four at a time: alone they ended well where one in ten of many did not."""

    def end(_: int) -> int:
        return subprocess.run([sys.executable, "-c", code, str(argument)], capture_output=True, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(end, range(8)))


def test_reading_a_table_leaves_nothing_that_aborts_the_process(tmp_path: Path) -> None:
    pq.write_table(pa.table({"density": [1.0, 0.5]}), tmp_path / "a.parquet")
    assert ends(READ, tmp_path / "a.parquet") == [0] * 8
