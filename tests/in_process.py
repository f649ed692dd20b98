"""Run ``birefcli`` in the process that tests: no start, no import, and a warm network.

What a command says, writes and ends with is the same as in a process of its own, and comes in a
tenth of the time. What is left out is a process's: signals, descriptors 1 and 2 themselves, what
Python or a library reads from the environment as it starts.
"""

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from birefcli.__main__ import main
from birefcli.models import stored
from birefcli.system import allocator
from birefcli.system.object_store import store_of


def run(
    words: list[str], env: Mapping[str, str], cwd: Path, stdin: bytes
) -> "subprocess.CompletedProcess[bytes]":
    """As :func:`subprocess.run` runs it with captured output."""
    out, err = io.BytesIO(), io.BytesIO()
    with (
        pytest.MonkeyPatch.context() as patched,
        patch.dict(os.environ, env, clear=True),
        patch.dict(stored._current, clear=True),
        warnings.catch_warnings(),
    ):
        patched.chdir(cwd)
        patched.setattr(sys, "argv", ["birefcli", *words])
        patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        patched.setattr(sys, "stdout", _text(out))
        patched.setattr(sys, "stderr", _text(err))
        patched.setattr(allocator, "keep_freed_memory", lambda: False)
        store_of.cache_clear()
        with pytest.raises(SystemExit) as left:
            main()
        store_of.cache_clear()
        code = left.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def _text(into: io.BytesIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(into, "utf-8", "backslashreplace", write_through=True)
