"""A stand-in for the Hugging Face Hub: one file, served over HTTP on this machine, with faults.

It answers as the Hub does for a large file: the request is redirected to another server that has
the bytes, and the redirect carries their SHA-256 as the linked ETag. As a script this is the
process that programs are forked from which fetch the file.
"""

import atexit
import hashlib
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from forks import Forks, serve, shared

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/tiny-net"
PYTHON = (sys.executable, "-W", "error")
TIMEOUT = 120.0  # seconds that a program may take


@dataclass
class FakeHub:
    """What is served, how it goes wrong, and what was asked for."""

    content: bytes
    sent: bytes | None = None
    """What the bytes' address serves instead of ``content``."""
    cut_after: int | None = None
    """Bytes sent in all before every connection breaks."""
    cut_once: bool = False
    """Whether only the first connection breaks."""
    status: int | None = None
    """Answer everything with this HTTP status."""
    etag: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(method, path, Range header) of each request for the file."""
    tokens: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Authorization header) of each request for the file."""
    pause: float = 0.0
    """Seconds between two sixteenths of the bytes."""
    delivered: int = 0
    """Bytes of the file that were sent."""
    url: str = ""
    """Of the Hub."""
    storage: str = ""
    """Of the server that the Hub redirects to, which must not see the Hub's token."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@contextmanager
def serving(content: bytes):
    """A running stand-in for a repository that holds ``content``."""
    hub = FakeHub(content)
    with _running(hub) as hub.url, _running(hub) as hub.storage:
        yield hub


@contextmanager
def _running(hub: FakeHub):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(hub: FakeHub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._note()
            if hub.status:
                return self._plain(hub.status, hub.headers)
            if "/resolve/" not in self.path:
                return self._plain(404)
            return self._plain(
                302,
                {
                    "Location": f"{hub.storage}/bytes/{hub.sha256}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{hub.etag or hub.sha256}"',
                    "X-Linked-Size": str(len(hub.content)),
                    **hub.headers,
                },
            )

        def do_GET(self):
            self._note()
            if "/resolve/" not in self.path and "/bytes/" not in self.path:
                return self._plain(404)
            if hub.status:
                return self._plain(hub.status, hub.headers)
            if "/resolve/" in self.path:
                return self._plain(302, {"Location": f"{hub.storage}/bytes/{hub.sha256}"})
            return self._bytes(hub.content if hub.sent is None else hub.sent)

        def _note(self):
            if "/resolve/" in self.path or "/bytes/" in self.path:
                hub.asked.append((self.command, self.path, self.headers["Range"]))
                hub.tokens.append((self.path, self.headers["Authorization"]))

        def _plain(self, status, headers=None):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _bytes(self, content):
            if hub.cut_after is not None and hub.delivered >= hub.cut_after:
                self.close_connection = True
                return
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            start = int(asked[1]) if asked and hub.ranges else 0
            self.send_response(206 if start else 200)
            if start:
                last = f"{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", f"bytes {start}-{last}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            if hub.cut_after is not None:
                body = body[: hub.cut_after - hub.delivered]
                self.close_connection = True
                if hub.cut_once:
                    hub.cut_after = None
            step = max(1, len(content) // 16)
            for begin in range(0, len(body), step):
                piece = body[begin : begin + step]
                hub.delivered += len(piece)
                with suppress(OSError):  # who asked was killed
                    self.wfile.write(piece)
                time.sleep(hub.pause)

        def log_message(self, *args):
            pass

    return Handler


def environment(folder: Path, url: str, **more: str) -> dict[str, str]:
    """Environment of a child process: caches in ``folder``, nothing of the caller's Hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE_"))}
    return {
        **kept,
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "xdg"),
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": url,
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        **more,
    }


def script(hub: FakeHub, body: str) -> list[str]:
    """Command line of a Python program that runs ``body`` with ``tiny`` among the known models.

    The real models weigh hundreds of megabytes; ``tiny`` is the stand-in's file under the same
    rules. Waits between attempts are skipped, errors end the program as they do in the command.
    """
    model = {
        "name": "tiny",
        "repo": REPO,
        "revision": "main",
        "size_bytes": len(hub.content),
        "sha256": hub.sha256,
        "backbone": "swin_tiny",
        "size": (64, 32),
        "precision": "fp32",
        "purpose": "tests",
    }
    program = f"""
        import json, sys, time
        time.sleep = lambda seconds: None
        from birefcli.models import cache, checksum, download, hub, zoo
        from birefcli.errors import BirefcliError
        from birefcli.options import PatchOrder
        fields = json.loads({json.dumps(json.dumps(model))})
        fields["size"] = tuple(fields["size"])
        tiny = zoo.Model(patch_order=PatchOrder.COLUMNS, **fields)
        zoo.ZOO["tiny"] = tiny
        try:
    """
    tail = """
        except BirefcliError as error:
            print(f"birefcli: {error}", file=sys.stderr)
            sys.exit(int(error.exit_code))
    """
    lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    source = "\n".join([textwrap.dedent(program).strip(), lines, textwrap.dedent(tail).strip()])
    return [*PYTHON, "-c", source]


def run(
    hub: FakeHub,
    folder: Path,
    body: str,
    *,
    forked: bool = True,
    torch: bool = False,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run ``body`` (see :func:`script`) to its end, against the stand-in.

    Not ``forked`` where it is tested what a program imports. ``torch``: whether it imports that.
    """
    words, env = script(hub, body), environment(folder, more.pop("url", hub.url), **more)
    forks = (shared() if torch else programs()) if forked else None
    if forks is None:
        pipes = {"capture_output": True, "text": True, "check": False}
        return subprocess.run(words, env=env, timeout=TIMEOUT, **pipes)
    program = forks.start([], env, Path.cwd(), first=f"{words[-1]}\nsys.exit()")
    with program.stdout, program.stderr:
        out, err = program.communicate(TIMEOUT)
    return subprocess.CompletedProcess(words, program.wait(), out.decode(), err.decode())


class Programs(Forks):
    """Programs that are forked from a process which has what huggingface_hub imports.

    That itself each imports anew: it reads variables then.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [*PYTHON, __file__, str(theirs.fileno())]
        root = str(Path(__file__).parents[1])
        with theirs:
            self.process = subprocess.Popen(
                words,
                env={**os.environ, "PYTHONPATH": root},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.socket = ours


@cache
def programs() -> Programs | None:
    """Those of this process, where the system has what they take."""
    if not hasattr(os, "pidfd_open") or not hasattr(socket, "SOCK_SEQPACKET"):
        return None
    made = Programs()
    atexit.register(made.close)
    return made


def import_all_but_the_hub() -> None:
    """Import what programs use, and forget the modules of huggingface_hub."""
    for name in ("cli.models", "models.cache", "models.checksum", "models.download", "models.hub"):
        importlib.import_module(f"birefcli.{name}")
    for name in ("file_download", "utils", "errors", "constants"):
        importlib.import_module(f"huggingface_hub.{name}")
    for name in ("httpcore2", "httpcore"):  # of a first request, by versions of the library
        with suppress(ImportError):
            importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


def models(*args: str) -> str:
    """Body for :func:`run` that is ``birefcli models ARGS``."""
    return f"from birefcli.cli.models import app\napp({list(args)!r}, standalone_mode=True)"


if __name__ == "__main__":
    import_all_but_the_hub()
    with socket.socket(fileno=int(sys.argv[1])) as there:
        serve(there)
