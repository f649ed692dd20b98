"""No path given to any option ends as a bug, waits, or is told in words for programmers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="its processes are forked")
SCRIPT = Path(__file__).parent / "bad_paths.py"


@pytest.mark.parametrize(
    ("lines", "at_least"),
    [
        ("sheet output,sheet output below", 25),
        pytest.param("", 600, marks=pytest.mark.slow),
    ],
)
def test_no_path_ends_as_a_bug(as_user, environment, lines, at_least):
    root = str(Path(__file__).parents[2])
    words = [*as_user, sys.executable, SCRIPT, lines]
    env = {**environment, "PYTHONPATH": root}
    result = subprocess.run(words, capture_output=True, check=False, env=env)
    said = result.stdout.decode()
    tried, wrong = said.splitlines()[-1].replace(" wrong", "").split(" tried, ")
    assert int(tried) >= at_least, said + result.stderr.decode()
    assert wrong == "0", said
