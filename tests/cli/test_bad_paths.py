"""No path given to any option ends as a bug, waits, or is told in words for programmers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TIMEOUT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="its processes are forked")
SCRIPT = Path(__file__).parent / "bad_paths.py"


TRY = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import bad_paths
sys.exit(bad_paths.main())
"""


def check(said: str, at_least: int) -> None:
    """Whether so many command lines were tried, and none ended otherwise than it should."""
    tried, wrong = said.splitlines()[-1].replace(" wrong", "").split(" tried, ")
    assert int(tried) >= at_least, said
    assert wrong == "0", said


def test_no_path_of_a_sheet_ends_as_a_bug(start):
    process = start("sheet output,sheet output below", first=TRY)
    said, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors.decode()
    check(said.decode(), 25)


@pytest.mark.slow
def test_no_path_ends_as_a_bug(as_user, environment):
    env = {**environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [*as_user, sys.executable, SCRIPT]
    result = subprocess.run(words, capture_output=True, check=False, env=env)
    assert result.returncode == 0, result.stderr.decode()
    check(result.stdout.decode(), 600)
