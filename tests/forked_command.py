"""``birefcli`` on a shell's PATH that needs not import torch: a script that asks for a fork.

The script passes its words, environment, folder and streams to the process that tests, which has
them done by :class:`forks.Forks`; signals go on to the fork, and its exit code becomes the
script's. As a script this is that one: it imports nothing but what Python has at hand.
"""

import json
import os
import signal
import socket
import sys

LARGEST = 100_000  # bytes of a request: one packet
ITSELF = "itself"
"""The answer where a fork cannot have the variables: the command is to run by itself."""


def ask(where: str) -> int | None:
    """Exit code of the command, negative for a signal; None where it is to run by itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as there:
        there.connect(where)
        request = json.dumps([sys.argv[3:], dict(os.environ), os.getcwd()]).encode()  # noqa: PTH109 - pathlib takes its time
        assert len(request) <= LARGEST
        socket.send_fds(there, [request], [0, 1, 2])
        answer = there.recv(LARGEST).decode()
        if answer == ITSELF:
            return None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(int(answer), number))
        return int(there.recv(LARGEST))


class Answering:
    """Has the commands of scripts run by forks, from a thread for each."""

    def __init__(self, forks: "Forks", where: "Path") -> None:
        self.forks, self.where = forks, where
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(str(where))
        self.listening.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                there, _ = self.listening.accept()
                threading.Thread(target=self._answer, args=(there,), daemon=True).start()

    def _answer(self, there: socket.socket) -> None:
        with there:
            request, streams, _, _ = socket.recv_fds(there, LARGEST, 3)
            try:
                words, env, cwd = json.loads(request)
                if not self.forks.can_set(env):
                    there.send(ITSELF.encode())
                    return
                with self.forks.told(words, env, cwd, streams) as told:
                    for line in told:  # its number, and its exit code
                        there.send(line)
            finally:
                for stream in streams:
                    os.close(stream)

    def close(self) -> None:
        """Accept no more."""
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


if __name__ == "__main__":
    code = ask(sys.argv[1])
    if code is None:
        os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
else:
    import contextlib
    import threading
    from pathlib import Path

    from forks import Forks
