"""``birefcli serve``: from the words of the command line to a running service."""

import importlib
import logging
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, NoReturn

import typer

from birefcli import values
from birefcli.batch import interrupts
from birefcli.cli import serve_options, shared_options
from birefcli.cli.stderr import say
from birefcli.errors import ExitCode, Message, Option, UsageError
from birefcli.models import zoo
from birefcli.options import Edges, ModelOptions, PatchOrder, Precision, check_device
from birefcli.serve.settings import ServeOptions
from birefcli.system import cpu
from birefcli.system.paths import with_home

if TYPE_CHECKING:
    from birefcli.serve.listening import ListenAddress

EXTRA = ("starlette", "uvicorn", "python_multipart", "httpx2", "httpcore2", "prometheus_client")
"""Packages of the extra ``serve``."""


def serve(
    model: serve_options.Models = None,
    alias: serve_options.Alias = None,
    size: shared_options.Size = None,
    patch_order: shared_options.Order = PatchOrder.AUTO,
    edges: shared_options.EdgesHow = Edges.AUTO,
    offline: shared_options.Offline = False,
    host: serve_options.Host = "127.0.0.1",
    port: serve_options.Port = 8000,
    socket: serve_options.Socket = None,
    fd: serve_options.Descriptor = None,
    check: serve_options.Check = False,
    keys: serve_options.KeysFile = None,
    open_: serve_options.Open = False,
    urls: serve_options.Urls = None,
    cors: serve_options.Cors = None,
    max_body: serve_options.MaxBody = 50.0,
    max_megapixels: serve_options.MaxMegapixels = 50.0,
    queue: serve_options.Queue = 64,
    timeout: serve_options.Timeout = 60.0,
    grace: serve_options.Grace = 30.0,
    max_memory: shared_options.MaxMemory = "auto",
    device: shared_options.Device = "auto",
    precision: shared_options.Numbers = Precision.AUTO,
    batch: shared_options.Batch = "auto",
    threads: shared_options.Threads = "auto",
    compiled: shared_options.Compiled = True,
    log: serve_options.Log = serve_options.LogFormat.TEXT,
    page: serve_options.Page = True,
    metrics: serve_options.MetricsPage = True,
    debug: shared_options.Debug = False,
) -> None:
    """Serve mattes over HTTP, to curl, OpenAI's clients and rembg's.

    birefcli serve --model mini

    It listens on this machine alone unless `--host` names another address, which needs `--keys` or
    `--open`.
    """
    place = _import("birefcli.serve.listening").ListenAddress(
        host, port, None if socket is None else Path(socket), fd
    )
    if check:
        _check(place)
    if not place.is_local and keys is None and not open_:
        raise UsageError(
            Message(
                "whoever reaches it could use it: give ", Option("keys", "FILE"), ", or ",
                Option("open"), " if that is meant",
            ),
            option="host" if fd is None else "fd",
            value=host if fd is None else fd,
        )  # fmt: skip
    check_device(device)
    options = ServeOptions(
        models=tuple(map(with_home, values.listed("model", model))) or (zoo.DEFAULT,),
        model=ModelOptions(
            name="",
            size=values.size(size),
            patch_order=patch_order,
            offline=offline,
            device=device,
            precision=precision,
            compile=compiled,
            edges=edges,
        ),
        batch=values.automatic("batch", batch),
        threads=values.automatic("threads", threads) or cpu.count(),
        max_pixels=values.pixels("max_megapixels", max_megapixels),
        max_memory=values.memory("max_memory", max_memory),
        max_body=values.megabytes("max_body", max_body),
        queue=queue,
        timeout=timeout,
        grace=grace,
        urls=",".join(values.listed("urls", urls)) or "public",
        aliases=dict(map(_alias, values.listed("alias", alias))),
        keys=keys,
        cors=tuple(map(_origin, values.listed("cors", cors))),
        host_names=(host.lower(),) if place.is_loopback and not open_ else None,
        page=page,
        metrics=metrics,
    )
    _leave_if_stopped()
    server = _import("birefcli.serve.server")
    as_json = log is serve_options.LogFormat.JSON
    _log_to_stderr(as_json=as_json)
    server.serve(options, place, logging.getLogger("birefcli").info if as_json else say)


def _leave_if_stopped() -> None:
    """Let a signal that comes before it listens end it as one does later: nobody is answered."""

    def stop(number: int, frame: FrameType | None) -> None:
        os.write(2, b"birefcli: stopped\n")
        interrupts.leave(ExitCode.OK)

    for number in interrupts.not_ignored():
        signal.signal(number, stop)


def _check(place: "ListenAddress") -> NoReturn:
    """Exit with what a running service says of itself."""
    if place.fd is not None:
        raise UsageError("a check asks an address or a unix socket", option="fd", value=place.fd)
    trouble = _import("birefcli.serve.check").trouble(place)
    if trouble is None:
        raise typer.Exit(ExitCode.OK)
    say(f"birefcli: {trouble}")
    raise typer.Exit(ExitCode.SOME_FAILED)


def _import(name: str) -> ModuleType:
    """A module of the service, which needs an extra. Raises UsageError without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise UsageError(
            f"serve needs the package {error.name}: pip install 'birefcli[serve]'"
        ) from None


def _alias(text: str) -> tuple[str, str]:
    name, is_there, model = (part.strip() for part in text.partition("="))
    if not (name and is_there and model):
        raise UsageError("give NAME=MODEL", option="alias", value=text)
    return name, model


def _origin(text: str) -> str:
    """An origin as browsers write it."""
    plain = text.strip().lower().removesuffix("/")
    if plain != "*" and not re.fullmatch(r"https?://[^/\s]+", plain):
        wrong = "give an origin like https://shop.example.com, or *"
        raise UsageError(wrong, option="cors", value=text)
    return plain


def _log_to_stderr(*, as_json: bool) -> None:
    """Requests, and what libraries warn of, a line each."""
    request_log = _import("birefcli.serve.request_log")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(request_log.JsonFormatter() if as_json else request_log.TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("birefcli").setLevel(logging.INFO)
