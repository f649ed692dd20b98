"""Named pipes whose writer comes late, says nothing, or never comes."""

import os
import threading
import time
from pathlib import Path

import pytest

from birefcli.system.pipes import NoWriterError, open_pipe

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def write(path: Path, parts: tuple[bytes, ...], pause: float) -> threading.Thread:
    """Open a pipe for writing after a pause, and write parts with pauses between them."""

    def work() -> None:
        time.sleep(pause)
        with path.open("wb", buffering=0) as file:
            for part in parts:
                time.sleep(pause)
                file.write(part)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("parts", [(b"",), (b"all",), (b"a", b"b", b"c" * 100_000)])
@pytest.mark.parametrize("pause", [0, 0.3])
def test_whoever_has_opened_it_may_take_as_long_as_it_likes(pipe, parts, pause):
    thread = write(pipe, parts, pause)
    file, start = open_pipe(pipe, 60)
    with file:
        assert start + file.read() == b"".join(parts)
    thread.join()


def test_a_pipe_to_which_nobody_writes_is_given_up(pipe):
    with pytest.raises(NoWriterError, match="nobody writes") as caught:
        open_pipe(pipe, 0.2)
    assert caught.value.filename == str(pipe)


def test_a_run_gives_up_a_pipe_and_does_the_rest(command, pipe, photos, tmp_path):
    words = ("matte", photos / "a.jpg", pipe, "-o", tmp_path / "out", "--photo-timeout", "1")
    result = command(*words)
    assert result.returncode == 1
    assert f"{pipe}: nobody writes to this named pipe" in result.stderr.decode()
    assert (tmp_path / "out/a.png").exists()
