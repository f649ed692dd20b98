"""``python -m birefcli`` and the ``birefcli`` command."""

import os
import sys


def main() -> None:
    """Run the command line, and exit."""
    try:  # first of all: Ctrl-C comes whenever it comes
        from birefcli.system import ending

        ending.prepare()
        from birefcli.cli import process

        code = int(process.run())
        ending.leave_at_once(code, sys._getframe())
    except KeyboardInterrupt:
        os.write(2, b"birefcli: interrupted\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
