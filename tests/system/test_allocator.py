"""What the process keeps of the memory that it frees."""

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from birefcli.system import allocator


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
@pytest.mark.parametrize(("keeps", "faults"), [(True, False), (False, True)])
def test_a_large_block_that_was_freed_is_lent_again_without_the_system(keeps, faults):
    code = f"""
        import mmap, resource
        import numpy as np
        from birefcli.system import allocator
        if {keeps} and not allocator.keep_freed_memory():
            raise SystemExit("this C library cannot")
        def use():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            np.empty(200 << 20, np.uint8).fill(1)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        use()
        print(use())
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    shown = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, check=False, env=plain
    )
    if b"cannot" in shown.stderr:
        pytest.skip("this C library keeps nothing")
    pages = int(shown.stdout)
    assert (pages > 90) is faults  # of 2 MB, or many more of 4 kB


def test_the_users_own_settings_are_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert not allocator.keep_freed_memory()


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
