"""Tables on stdout."""

import rich.console


class Console(rich.console.Console):
    """Rich's, which ends with 1 where its reader has gone: as if photos had failed."""

    def on_broken_pipe(self) -> None:
        """Let the command end as every other does whose reader has gone."""
        raise BrokenPipeError
