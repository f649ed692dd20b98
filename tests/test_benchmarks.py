"""Benchmarks that tests can run: what they say when they cannot measure."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TIMEOUT

NETWORK = Path(__file__).parent / "benchmarks" / "network.py"


@pytest.mark.skipif(sys.platform == "win32", reason="processes end by signals here")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ModuleNotFoundError(\"No module named 'kornia'\")", "exited with 1: "),
        pytest.param(
            f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})",
            "was ended by SIGKILL: ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_network_of_the_authors_that_dies_is_told_in_one_line(tmp_path, code, told):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "birefnet.py").write_text(
        f"import os\nos.write(2, b'its last word\\n')\n{code}\n"
    )
    result = subprocess.run(
        [sys.executable, NETWORK, "--author", tmp_path, "--size", "64"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    word = "ModuleNotFoundError: No module named 'kornia'" if "raise" in code else "its last word"
    assert line == f"the author's process {told}{word}"
