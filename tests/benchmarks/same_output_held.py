"""Runs that are held up by a pipe and ended by signals, for ``same_output.py``.

The one argument is a folder. While the first run waits, another is refused.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def begin(words: list[str], pipe: Path) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a run and wait until it reads from the pipe: the process, and the pipe's other end."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None:
        with contextlib.suppress(OSError):  # nobody reads yet
            return process, os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    raise SystemExit(f"ended by itself: {process.communicate()[0]!r}")


def main() -> None:
    """Print how each run ends."""
    for ending in (signal.SIGINT, signal.SIGHUP):  # what & and nohup let a run ignore
        signal.signal(ending, signal.SIG_DFL)
    out = Path(sys.argv[1])
    pipe = out / "pipe.jpg"
    os.mkfifo(pipe)
    words = [sys.executable, "-m", "birefcli", "matte", str(pipe), "-o", str(out / "made")]
    words += ["--model", "mini", "--device", "cpu", "--size", "64"]
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, None):
        process, writer = begin(words, pipe)
        if end is signal.SIGINT:
            other = subprocess.run(words, capture_output=True, check=False)
            print("another", other.returncode, other.stdout, other.stderr)
        if end is None:
            os.write(writer, Path("few/hole.png").read_bytes())
            os.close(writer)
        else:
            process.send_signal(end)
        said = process.communicate(timeout=120)[0]
        if end is not None:
            os.close(writer)
        print(end and end.name, process.returncode, said)


if __name__ == "__main__":
    main()
