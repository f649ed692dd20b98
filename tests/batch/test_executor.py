"""What does a batch: what is said of it before its first photo."""

from types import SimpleNamespace

import pytest

from birefcli.batch.executor import _far_from
from birefcli.options import Size


@pytest.mark.parametrize("size", [None, Size(384, 384), Size(1536, 1024), Size(1024, 1536)])
def test_a_size_near_the_networks_own_needs_no_note(size):
    assert _far_from(size, SimpleNamespace(name="mini", size=Size(384, 384))) is None


def test_a_size_far_above_the_networks_own_is_said_before_the_work():
    note = _far_from(Size(1568, 384), SimpleNamespace(name="mini", size=Size(384, 384)))
    assert str(note) == (
        "mini is made for 384x384; size=1568x384 takes far longer, and it may find nothing"
    )
