"""Run ``birefcli`` in a process that was forked from one which has imported torch already.

The import takes two seconds, and hundreds of tests run a command. Arguments, environment, folder,
pipes and exit are the command's alone; what Python decides when it starts (the seed of hashes, the
encoding) is the same for all, and so are the modules of birefcli as they are once imported: none
reads a variable by that. What Python does last, taking all modules of torch apart,
takes most of a second and is left out. As a script this is the process to be forked from.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("torch", "numpy", "cv2", "PIL.Image", "rich.progress", "typer")
ALSO = (
    *("pydantic.type_adapter", "pydantic.types", "typer._adapters", "typer.rich_utils"),
    *("rich.markdown", "rich.traceback", "numpy.typing", "PIL.ImageCms", "PIL.ImageSequence"),
    *("PIL.GifImagePlugin", "simplejpeg", "isal.isal_zlib", "safetensors.torch", "torchvision"),
)
"""What some commands import, or libraries of some versions. It need not be there; nor may it bring
huggingface_hub, which reads variables when it is imported. The same holds for modules of ours."""
NOT_OURS = ("birefcli.__main__", "birefcli.batch.workers.ray")
"""Modules that are not imported before: what is run, and those that import Ray."""
BEFORE = ("OMP_", "OPENCV_", "PYTHON", "LD_", "LC_", "LANG", "MKL_")
"""Variables that Python or a library reads before a forked process could set them."""
UNSET = {"OMP_WAIT_POLICY": "PASSIVE", "OPENCV_LOG_LEVEL": "SILENT"}
"""What the command sets of them before it imports torch and OpenCV, where the user has not."""
HUGE, MADV_COLLAPSE = 1 << 21, 25  # bytes; linux/mman.h, since Linux 6.1
LARGEST = 100_000  # bytes of a request: one packet


class Forked:
    """A running process of the command, as :class:`subprocess.Popen` has it."""

    def __init__(self, stdout: int, stderr: int, told: io.FileIO) -> None:
        self.stdout = open(stdout, "rb", buffering=0)  # noqa: SIM115
        self.stderr = open(stderr, "rb", buffering=0)  # noqa: SIM115
        self._told = told
        self.returncode: int | None = None
        self._said: tuple[bytes, bytes] | None = None
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """Its exit code, if it has ended; that of a signal is negative."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("birefcli", timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it says from now on, once it has ended."""
        if self._said is None:
            with ThreadPoolExecutor(2) as pool:
                said = [pool.submit(_read, stream) for stream in (self.stdout, self.stderr)]
                try:
                    self.wait(timeout)
                except subprocess.TimeoutExpired:
                    os.killpg(self.pid, signal.SIGKILL)  # the streams end, and the threads
                    raise
            self._said = (said[0].result(), said[1].result())
        return self._said


class Forks:
    """Processes of the command."""

    def __init__(self) -> None:
        ours_alone = ("BIREFCLI_", "HF_", "OMP_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(ours_alone)}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno())]
            self.process = subprocess.Popen(
                words, env=self.environment, pass_fds=[theirs.fileno()], start_new_session=True
            )
        self.socket = ours

    def can_set(self, env: Mapping[str, str]) -> bool:
        """Whether a forked process can have these variables."""
        asked, ours = {**UNSET, **env}, {**UNSET, **self.environment}
        names = {name for name in (*asked, *ours) if name.startswith(BEFORE)}
        return all(asked.get(name) == ours.get(name) for name in names)

    def start(
        self,
        words: list[str],
        env: Mapping[str, str],
        cwd: Path,
        stdin: int | None = None,
        first: str = "",
    ) -> Forked:
        """Start ``python -m birefcli`` with pipes to read what it says.

        ``first`` is code that the process runs before.
        """
        if stdin is None:
            with Path(os.devnull).open("rb") as nothing:
                return self.start(words, env, cwd, nothing.fileno(), first)
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        try:
            told = self.told(words, env, cwd, [stdin, to_out, to_err], first)
        finally:
            os.close(to_out)
            os.close(to_err)
        return Forked(out, err, told)

    def told(
        self,
        words: list[str],
        env: Mapping[str, str],
        cwd: Path | str,
        streams: list[int],
        first: str = "",
    ) -> io.FileIO:
        """Start ``python -m birefcli`` with these streams; its number is told, then its code."""
        told, to_told = os.pipe()
        request = json.dumps([words, dict(env), str(cwd), first]).encode()
        assert len(request) <= LARGEST
        try:
            socket.send_fds(self.socket, [request], [*streams, to_told])
        finally:
            os.close(to_told)
        return open(told, "rb", buffering=0)  # noqa: PTH123 - no path

    def run(
        self, words: list[str], env: Mapping[str, str], cwd: Path, stdin: bytes, timeout: float
    ) -> "subprocess.CompletedProcess[bytes]":
        """As :func:`subprocess.run` runs it, with captured output."""
        given, to_write = os.pipe()
        try:
            process = self.start(words, env, cwd, given)
        finally:
            os.close(given)
        writing = threading.Thread(target=_write, args=(to_write, stdin))
        writing.start()
        try:
            out, err = process.communicate(timeout)
        finally:
            writing.join()
            process.stdout.close()
            process.stderr.close()
        return subprocess.CompletedProcess(words, process.wait(), out, err)

    def close(self) -> None:
        """End the process that forks."""
        self.socket.close()
        self.process.wait()


@cache
def shared() -> Forks | None:
    """Those of this process, where the system has what they take."""
    if not hasattr(os, "pidfd_open") or not hasattr(socket, "SOCK_SEQPACKET"):
        return None
    made = Forks()
    atexit.register(made.close)
    return made


def _write(pipe: int, data: bytes) -> None:
    try:
        with os.fdopen(pipe, "wb") as file:
            file.write(data)
    except BrokenPipeError:  # as when a command does not read it
        pass


def _read(stream: io.FileIO) -> bytes:
    return b"" if stream.closed else stream.readall()


def serve(requests: socket.socket) -> None:
    """Fork a process for each request and tell its number, and its exit code when it has ended.

    It leaves by SystemExit, as commands do.
    """
    running: dict[int, tuple[int, int]] = {}  # by its descriptor: its number, where it is told
    while True:
        ready = select.select([requests, *running], [], [])[0]
        for handle in running.keys() & set(ready):
            pid, told = running.pop(handle)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                os.write(told, f"{code}\n".encode())
            os.close(told)
            os.close(handle)
        if requests not in ready:
            continue
        data, pipes, _, _ = socket.recv_fds(requests, LARGEST, 4)
        if not data:
            return
        *standard, told = pipes
        pid = os.fork()
        if pid == 0:
            requests.close()
            for end in (told, *running, *(other for _, other in running.values())):
                os.close(end)
            *asked, first = json.loads(data)
            _become(*asked, standard)
            try:
                exec(first, {})
                runpy.run_module("birefcli", run_name="__main__", alter_sys=True)
            except SystemExit as left:
                leave(left.code)
            leave(None)
        for pipe in standard:
            os.close(pipe)
        os.write(told, f"{pid}\n".encode())
        running[os.pidfd_open(pid)] = (pid, told)


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


def import_all() -> None:
    """Import the libraries, and birefcli's modules where what they need is there."""
    for library in LIBRARIES:
        importlib.import_module(library)
    for module in (*ALSO, *_ours()):
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def _ours() -> Iterator[str]:
    """Names of birefcli's modules."""
    package = find_spec("birefcli")
    assert package is not None
    for root in map(Path, package.submodule_search_locations or ()):
        for path in sorted(root.rglob("*.py")):
            inner = path.relative_to(root.parent).with_suffix("").parts
            name = ".".join(part for part in inner if part != "__init__")
            if not name.startswith(NOT_OURS):
                yield name


def keep_until_the_end() -> None:
    """Have no fork undo at its end what libraries have registered, as torch its operators.

    That would copy what all share, and take as long as a short command.
    """
    for registered in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        registered.atexit = False


def use_huge_pages() -> None:
    """Have the memory of this process in pages of 2 MB, which are quicker to share with a fork.

    Where the system cannot, it stays as it is.
    """
    advise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        area, access, _, _, file, *_ = line.split()
        start, end = (int(address, 16) for address in area.split("-"))
        first = -(-start // HUGE) * HUGE
        size = end // HUGE * HUGE - first
        if file == "0" and access.startswith("rw") and size > 0:
            advise(ctypes.c_void_p(first), ctypes.c_size_t(size), MADV_COLLAPSE)


def _become(words: list[str], env: dict[str, str], cwd: str, pipes: list[int]) -> None:
    os.setsid()
    for standard, pipe in enumerate(pipes):
        os.dup2(pipe, standard)
        os.close(pipe)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[0] = cwd  # as with -m
    sys.argv = ["birefcli", *words]
    tempfile.tempdir = None  # of the variables, and not of those of the process that forks
    gc.get_freeze_count = lambda: 1  # type: ignore[assignment]  # the count goes through all


if __name__ == "__main__":
    for variable, value in UNSET.items():
        os.environ.setdefault(variable, value)
    import_all()
    keep_until_the_end()
    use_huge_pages()
    gc.freeze()  # what is shared is not looked through, nor copied for that
    with socket.socket(fileno=int(sys.argv[1])) as there:
        serve(there)
