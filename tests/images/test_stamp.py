"""What a file says of its own making, in every format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import Format, Product

RECORDS = st.builds(
    Stamp,
    st.text("0123456789abcdef", min_size=16, max_size=16),
    st.sampled_from(["fp16", "bf16", "fp32"]),
    st.sampled_from([*(kind.value for kind in Product), stamp.SHEET]),
    st.integers(0, 2**60),
    st.integers(-(2**62), 2**62),
)


@given(made=RECORDS)
@pytest.mark.parametrize("format_", list(Format))
def test_record_is_read_back_whatever_bytes_follow_it(tmp_path_factory, format_, made):
    path = tmp_path_factory.mktemp("r") / "a"
    path.write_bytes(
        encode(np.zeros((3, 4, 3), np.uint8), format_, metadata=Metadata(stamp=made.text()))
    )
    assert stamp.read(path) == stamp.StampedFile(whole=True, stamp=made)


@pytest.mark.parametrize("format_", list(Format))
def test_record_is_found_beside_a_large_profile_and_exif(tmp_path, format_):
    made = Stamp("0" * 16, "fp32", "foreground", 123, 456)
    profile = bytes(36) + b"acsp" + np.random.RandomState(0).bytes(60_000)
    pixels = np.random.RandomState(1).randint(0, 256, (90, 80, 3)).astype(np.uint8)
    notes = Metadata(icc=profile, dpi=(300, 300), stamp=made.text())
    (tmp_path / "a").write_bytes(encode(pixels, format_, metadata=notes))
    assert stamp.read(tmp_path / "a") == stamp.StampedFile(whole=True, stamp=made)


@pytest.mark.parametrize("format_", list(Format))
def test_file_that_was_cut_off_anywhere_is_not_whole(tmp_path, format_):
    pixels = np.random.RandomState(1).randint(0, 256, (20, 20, 3)).astype(np.uint8)
    notes = Metadata(stamp=Stamp("f" * 16, "fp16", "mask", 1, 2).text())
    data = encode(pixels, format_, metadata=notes)
    for end in range(0, len(data), 7):
        (tmp_path / "a").write_bytes(data[:end])
        assert not stamp.read(tmp_path / "a").whole, end


@pytest.mark.parametrize("format_", list(Format))
def test_product_of_another_version_is_ours_and_out_of_date(tmp_path, format_):
    for text in (
        "birefcli:1 0123456789abcdef 12 -5;",
        "birefcli:2 0123456789abcdef fp32 1 2;",
        "birefcli:34 whatever comes;",
    ):
        data = encode(np.zeros((3, 4, 3), np.uint8), format_, metadata=Metadata(stamp=text))
        (tmp_path / "a").write_bytes(data)
        found = stamp.read(tmp_path / "a")
        assert found.stamp is not None
        assert found.stamp.fingerprint == ""


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG", b"RIFF", b"II*\0", b"\xff\xd8"])
def test_what_is_no_picture_is_not_whole(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert stamp.read(tmp_path / "a") == stamp.StampedFile(whole=False, stamp=None)
