"""Run ``birefcli`` in a process that was forked from one which has imported torch already.

The import takes two seconds, and hundreds of tests run a command. Arguments, environment, folder,
pipes and exit are the command's alone, and all of birefcli is imported anew, from source that was
compiled once; what Python decides when it starts (the seed of hashes, the encoding) is the same for
all. What Python does last, taking all modules of torch apart, takes most of a second and is left
out. As a script this is the process to be forked from.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import NoReturn

LIBRARIES = ("torch", "numpy", "cv2", "PIL.Image", "rich.progress", "typer")
ALSO = (
    *("pydantic.type_adapter", "pydantic.types", "typer._adapters", "typer.rich_utils"),
    *("rich.markdown", "rich.traceback", "numpy.typing", "PIL.ImageCms", "PIL.ImageSequence"),
    *("PIL.GifImagePlugin", "simplejpeg", "isal.isal_zlib", "safetensors.torch", "torchvision"),
)
"""What some commands import, or libraries of some versions. It need not be there; nor may it bring
huggingface_hub, which reads variables when it is imported."""
BEFORE = ("OMP_", "PYTHON", "LD_", "LC_", "LANG", "MKL_", "TMPDIR")
"""Variables that Python or a library reads before a forked process could set them."""
LARGEST = 100_000  # bytes of a request: one packet


class Forks:
    """Processes of the command, one at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._begin()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno())]
            self.process = subprocess.Popen(
                words, env=self.environment, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self.socket = ours

    def run(
        self, words: list[str], env: Mapping[str, str], cwd: Path, stdin: bytes, timeout: float
    ) -> "subprocess.CompletedProcess[bytes]":
        """As :func:`subprocess.run` runs ``python -m birefcli``, with captured output."""
        pipes = [os.pipe() for _ in range(3)]
        (given, to_write), (out, to_out), (err, to_err) = pipes
        request = json.dumps([words, dict(env), str(cwd)]).encode()
        assert len(request) <= LARGEST
        socket.send_fds(self.socket, [request], [given, to_out, to_err])
        for end in (given, to_out, to_err):
            os.close(end)
        said: dict[int, bytes] = {}
        threads = [threading.Thread(target=_write, args=(to_write, stdin))]
        threads += [threading.Thread(target=_read, args=(end, said)) for end in (out, err)]
        for thread in threads:
            thread.start()
        self.socket.settimeout(timeout)
        try:
            code = int(self.socket.recv(LARGEST))
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.close()
            self._begin()
            raise subprocess.TimeoutExpired(words, timeout) from None
        finally:
            for thread in threads:
                thread.join()
        return subprocess.CompletedProcess(words, code, said[out], said[err])

    def close(self) -> None:
        """End the process that forks."""
        self.socket.close()
        self.process.wait()


def _write(pipe: int, data: bytes) -> None:
    try:
        with os.fdopen(pipe, "wb") as file:
            file.write(data)
    except BrokenPipeError:  # as when a command does not read it
        pass


def _read(pipe: int, said: dict[int, bytes]) -> None:
    with os.fdopen(pipe, "rb") as file:
        said[pipe] = file.read()


def serve(requests: socket.socket) -> None:
    """Fork a process for each request; it leaves by SystemExit, as commands do."""
    while True:
        data, pipes, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            requests.close()
            _become(*json.loads(data), pipes)
            try:
                runpy.run_module("birefcli", run_name="__main__", alter_sys=True)
            except SystemExit as left:
                leave(left.code)
            leave(None)
        for pipe in pipes:
            os.close(pipe)
        _, status = os.waitpid(pid, 0)
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def leave(code: object) -> NoReturn:
    """End as Python ends, but for taking its modules apart."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # waits for threads, and ends pools
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def compile_once() -> None:
    """Compile birefcli's modules for all processes that are forked from this one.

    Where Python writes no bytecode (PYTHONDONTWRITEBYTECODE), each would compile them anew.
    """
    plain = SourceFileLoader.get_code

    @cache
    def compiled(name: str, path: str) -> CodeType | None:
        return plain(SourceFileLoader(name, path), name)

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        ours = name.partition(".")[0] == "birefcli"
        return compiled(name, loader.path) if ours else plain(loader, name)

    package = find_spec("birefcli")
    assert package is not None
    for root in map(Path, package.submodule_search_locations or ()):
        for path in root.rglob("*.py"):
            inner = path.relative_to(root.parent).with_suffix("").parts
            name = ".".join(part for part in inner if part != "__init__")
            compiled(name, str(path))
    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def _become(words: list[str], env: dict[str, str], cwd: str, pipes: list[int]) -> None:
    for standard, pipe in enumerate(pipes):
        os.dup2(pipe, standard)
        os.close(pipe)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd  # as with -m
    sys.argv = ["birefcli", *words]
    gc.get_freeze_count = lambda: 1  # type: ignore[assignment]  # the count goes through all


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, before torch
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for library in LIBRARIES:
        importlib.import_module(library)
    for library in ALSO:
        with contextlib.suppress(Exception):
            importlib.import_module(library)
    compile_once()
    gc.freeze()  # what is shared is not looked through, nor copied for that
    with socket.socket(fileno=int(sys.argv[1])) as there:
        serve(there)
