"""Commands that end at once end well: pyarrow's threads abort some processes at their exit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

READ = "import sys; from lion_ray.report.tables import read_table; print(read_table(open(sys.argv[1], 'rb').read()))"


def ends(code: str, argument: Path) -> list[int]:
    return [
        subprocess.run([sys.executable, "-c", code, str(argument)], capture_output=True, check=False).returncode
        for _ in range(3)  # it happened in half of the processes or more
    ]


def test_reading_a_table_leaves_nothing_that_aborts_the_process(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "a.parquet")
    assert ends(READ, tmp_path / "a.parquet") == [0, 0, 0]
