"""Settings of the whole process."""

import gc
import os

import cv2
import numpy as np
import pytest

from birefcli.system import process_settings


@pytest.fixture
def damaged(tmp_path):
    """A 16-bit TIFF whose header is good and whose packed pixels are not."""
    noise = np.random.default_rng(0).integers(0, 65536, (90, 80, 3), np.uint16)
    deflate = [cv2.IMWRITE_TIFF_COMPRESSION, 8]
    data = bytearray(cv2.imencode(".tiff", noise, deflate)[1].tobytes())
    data[len(data) // 3 : len(data) // 3 + 400] = b"\xff" * 400
    path = tmp_path / "damaged.tiff"
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("level", [None, "WARNING"])
def test_damaged_photo_is_named_once_and_by_us_unless_opencvs_log_is_wanted(
    start, damaged, tmp_path, level
):
    more = {} if level is None else {"OPENCV_LOG_LEVEL": level}
    process = start("matte", damaged, "-o", tmp_path / "out", "--device", "cpu", **more)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"{damaged}: damaged image: its 16-bit pixels cannot be decoded" in said.decode()
    assert (b"readData" in said) is (level is not None)
    assert len(said.splitlines()) == 2 or level is not None


@pytest.mark.parametrize("own", [None, "DEBUG"])
def test_what_the_user_has_set_stays(monkeypatch, own):
    for name in ("OPENCV_LOG_LEVEL", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, own or "")
        if own is None:
            monkeypatch.delenv(name)
    process_settings.silence_opencv()
    process_settings.let_idle_threads_sleep()
    assert os.environ["OPENCV_LOG_LEVEL"] == (own or "SILENT")
    assert os.environ["OMP_WAIT_POLICY"] == (own or "PASSIVE")


def test_opencv_works_in_as_many_threads_as_asked_for():
    before = cv2.getNumThreads()
    try:
        process_settings.use_one_opencv_thread()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_looked_for_while_libraries_are_imported(monkeypatch, enabled):
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)  # as in a process of the command's
    before = gc.isenabled()
    gc.enable() if enabled else gc.disable()
    try:
        with process_settings.importing():
            assert not gc.isenabled()
            made = [[] for _ in range(100)]
        assert gc.isenabled() is enabled
        if enabled:
            assert any(one is made for one in gc.get_objects(generation=2))
        assert any(one is made for one in gc.get_objects()), "nothing stays frozen"
    finally:
        gc.enable() if before else gc.disable()
        gc.freeze()  # as conftest.py does
