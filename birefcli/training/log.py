"""The log of a training: a JSON object a line, to be plotted while it grows.

What a training needs to go on, or to end, is in its checkpoint: this file may be lost.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from birefcli.errors import OutputError
from birefcli.system import atomic
from birefcli.system.regular_file import open_regular


class Log:
    """Lines of steps (``step``, ``loss``, ...) and of validations (``epoch``, ``MAD``, ...).

    Each is in the file as soon as it is written. What a killed run wrote after the checkpoint that
    it resumes from is dropped: steps are in the log once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def drop_after(self, step: int, validated: int) -> None:
        """Drop lines after ``step``, and validations after the one at ``validated`` (steps done).

        Raises OutputError.
        """
        last = {True: validated, False: step}
        remaining = [entry for entry in self if entry["step"] <= last["epoch" in entry]]
        lines = [json.dumps(entry) + "\n" for entry in remaining]
        try:
            atomic.replace_file(self.path, "".join(lines).encode())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def write(self, **entry: float) -> None:
        """Add a line; numbers that JSON does not have are left out. Raises OutputError."""
        # With fp16 a gradient overflows now and then, and its step is not taken.
        finite = {name: value for name, value in entry.items() if math.isfinite(value)}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite) + "\n")
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def __iter__(self) -> Iterator[dict[str, float]]:
        """What was written; a last line that a kill cut off is left out.

        Raises OutputError: what cannot be read is not to be taken for nothing.
        """
        try:
            with open_regular(self.path) as file:
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be read ({error.strerror})") from error
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                yield entry


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written ({error.strerror})")
