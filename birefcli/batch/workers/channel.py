"""A worker's connection to the run: requests and results out, assignments in."""

import os
import signal
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

from birefcli.batch.workers.protocol import Assign, FromWorker, NoWork, Shutdown, ToWorker
from birefcli.errors import ExitCode
from birefcli.system import atomic

STOPPING: dict[int, ExitCode] = {}
"""The signal that stops the worker's main thread, wherever it is."""
if hasattr(signal, "SIGUSR1"):  # elsewhere it stops when what it holds has ended
    STOPPING[signal.SIGUSR1] = ExitCode.INTERRUPTED


class WorkerChannel:
    """Listens in a thread of its own: a worker whose run is gone must not go on for an hour."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answers: SimpleQueue[Assign | None] = SimpleQueue()
        self._stopped = False
        self._sending = threading.Lock()
        threading.Thread(target=self._listen, name="channel", daemon=True).start()

    def receive(self) -> Assign | None:
        """Wait for the photo that was asked for; None: none for now, or none any more."""
        return None if self._stopped else self._answers.get()

    def send(self, message: FromWorker) -> None:
        """Send a message, whole; in the main thread no signal may interrupt it."""
        # The thread that listens notices a run that is gone.
        try:
            with self._sending:
                self._connection.send(message)
        except OSError:
            self._end()

    def _listen(self) -> None:
        try:
            while not self._stopped:
                self._receive(self._connection.recv())
            self._connection.recv()
        except (EOFError, OSError):
            self._end()

    def _receive(self, message: ToWorker) -> None:
        match message:
            case Assign():
                self._answers.put(message)
            case NoWork():
                self._answers.put(None)
            case Shutdown():
                self._stopped = True
                self._answers.put(None)
                for number in STOPPING:
                    signal.pthread_kill(threading.main_thread().ident or 0, number)

    def _end(self) -> None:
        """Leave at once: nobody is there to report what would still be written."""
        atomic.drop_unfinished()
        os._exit(ExitCode.INTERRUPTED)
