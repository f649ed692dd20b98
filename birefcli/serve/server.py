"""The running service: it listens at once, loads its models, answers, and stops in order."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from birefcli.batch import patience
from birefcli.batch.interrupts import CODES, ends_at_once, leave
from birefcli.errors import DeviceError, ExitCode, UsageError
from birefcli.serve.app import make_app
from birefcli.serve.connections import Protocol
from birefcli.serve.engines import Engines, check_names, load_engines
from birefcli.serve.errors import in_words
from birefcli.serve.keys import Keys
from birefcli.serve.listening import ListenAddress, listening, shown
from birefcli.serve.metrics import Metrics
from birefcli.serve.service import Service, State
from birefcli.serve.settings import ServeOptions
from birefcli.system import process_settings
from birefcli.system.notify import notify
from birefcli.system.watchdog import Activity

Out = TypeVar("Out")
LAST_WORDS = 2.0  # seconds for requests that are given up to be answered and logged
ACCEPTED_AT_ONCE = 100  # connections; asyncio takes them all before it looks at the first
LOGGER = logging.getLogger(__name__)
KEEP_ALIVE = 75  # seconds of an idle connection; a proxy in front should give up before
DEVICE_TIMEOUT = 600.0
"""Seconds without any progress after which a device counts as lost."""


def serve(options: ServeOptions, place: ListenAddress, say: Callable[[str], object]) -> None:
    """Run the service until a signal ends it, and the process with it: exit code 0.

    ``say`` is given lines for whoever started it. Raises BirefcliError for what keeps it from
    running, and whatever else loading fails with.
    """
    check_names(options)
    keys = None if options.keys is None else Keys(Path(options.keys))
    process_settings.allow_open_files()
    with listening(place) as listener:
        asyncio.run(_Running(options, keys, listener, say).run())
    logging.shutdown()
    # Python would wait for threads that resolve a name, or are at work for clients that are gone.
    leave(ExitCode.OK)


class _Server(uvicorn.Server):
    """uvicorn's server; signals are ours, so that the exit code is."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Running:
    """A service from its start to its end."""

    def __init__(
        self,
        options: ServeOptions,
        keys: Keys | None,
        listener: socket.socket,
        say: Callable[[str], object],
    ) -> None:
        self._options, self._keys, self._listener, self._say = options, keys, listener, say
        self._metrics = Metrics()
        self._activity = Activity()
        self._service = Service(options, self._metrics, self._activity)
        self._failure: Exception | None = None
        self._signalled = False
        self._server = _Server(
            uvicorn.Config(
                make_app(self._service, keys),
                lifespan="off",
                http=Protocol,
                backlog=ACCEPTED_AT_ONCE,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips="127.0.0.1,::1",
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(options.grace)),
            )
        )

    async def run(self) -> None:
        """Listen, load, answer, stop. Raises what kept it from loading."""
        self._handle_signals()
        asyncio.get_running_loop().set_exception_handler(_log_trouble)
        loading = asyncio.create_task(self._load())
        with patience.watched(self._activity, DEVICE_TIMEOUT, lambda _: self._leave("it hangs")):
            await self._server.serve(sockets=[self._listener])
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        if tasks := self._server.server_state.tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS)
        await self._service.close()
        if self._failure is not None:
            raise self._failure
        self._say("birefcli: stopped")

    async def _load(self) -> None:
        """Load the models beside the first requests, which hear that it is not ready."""
        self._say(f"birefcli: listening on {shown(self._listener)}, loading")
        try:
            engines = await _in_thread(self._load_now)
        except Exception as error:  # whatever it is: a service without its models is none
            self._failure = error
            self._stop()
            return
        if self._service.state is not State.STARTING:
            return
        self._service.start(engines)
        predictor = next(iter(engines)).predictor
        who = "open to all" if self._keys is None else self._keys.counted
        self._say(
            f"birefcli: ready on {shown(self._listener)}: {', '.join(engines.names)} on"
            f" {predictor.placement.device} in {predictor.placement.precision.value}, {who}"
        )
        notify("READY=1")

    def _load_now(self) -> Engines:
        return load_engines(
            self._options, self._activity, self._metrics.batch_photos.observe, self._leave
        )

    def _handle_signals(self) -> None:
        for ending in (signal.SIGINT, signal.SIGTERM):
            _handle(ending, partial(self._on_signal, ending))
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is None:
            return
        if self._keys is not None:
            _handle(hangup, self._reload)
        elif signal.getsignal(hangup) is not signal.SIG_IGN:  # as nohup has it
            _handle(hangup, partial(self._on_signal, hangup))

    def _on_signal(self, number: int) -> None:
        """Stop in order; at a second Ctrl-C at once."""
        if not self._signalled:
            self._signalled = True
            within = f"within {self._options.grace:g} s"
            self._say(f"birefcli: stopping, {self._unanswered} to be answered {within}")
            self._stop()
        elif ends_at_once(number):
            self._say(f"birefcli: stopped at once, {self._unanswered} not answered")
            leave(CODES[number])

    @property
    def _unanswered(self) -> str:
        count = len(self._server.server_state.tasks)
        return f"{count} request{'' if count == 1 else 's'}"

    def _stop(self) -> None:
        """Take nothing more, and answer what is accepted."""
        self._service.state = State.DRAINING
        notify("STOPPING=1")
        self._server.should_exit = True

    def _reload(self) -> None:
        """Read the keys again."""
        assert self._keys is not None
        try:
            self._keys.reload()
        except UsageError as error:
            self._say(f"birefcli: {in_words(error.message)}; the keys stay as they were")
        else:
            self._say(f"birefcli: {self._keys.counted} read")

    def _leave(self, reason: str) -> None:
        """A device that does nothing any more cannot be waited for: others may begin anew."""
        self._say(f"birefcli: {DeviceError(f'the device is lost: {reason}')}")
        leave(ExitCode.MODEL)


async def _in_thread(call: Callable[[], Out]) -> Out:
    """What ``call`` gives, from a thread that the end of the process does not wait for."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    future: Future[Out] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop may be over
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="loading", daemon=True).start()
    await done.wait()
    return future.result()


def _log_trouble(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What fails in the loop and nowhere else, in a line: of sockets, mostly."""
    error = context.get("exception")
    LOGGER.warning("%s%s", context["message"], "" if error is None else f": {error}")


def _handle(number: int, call: Callable[[], object]) -> None:
    """Call it in the loop where that signal comes."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, call)
    except NotImplementedError:  # on Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(call))
