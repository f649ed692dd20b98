"""Files that are opened only where they are regular ones."""

import os
import socket
from pathlib import Path

import pytest

from birefcli.system.regular_file import open_regular

pytestmark = pytest.mark.skipif(os.name != "posix", reason="named pipes and devices of POSIX")


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\r\n")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "b"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"one\r\n"


def test_a_pipe_a_device_a_socket_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as heard:
        heard.bind(str(tmp_path / "socket"))
        for name, kind in (
            *(("pipe", "a named pipe"), ("zero", "a device"), ("socket", "a socket")),
            (".", "a folder"),
        ):
            with pytest.raises(OSError, match=f"is {kind}, not a") as caught:
                open_regular(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "a")
