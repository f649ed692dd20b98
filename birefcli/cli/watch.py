"""``birefcli watch``: photos as they come."""

from dataclasses import replace

import typer

from birefcli import values
from birefcli.cli import rules
from birefcli.cli.batch_options import read_options, read_selection
from birefcli.cli.matte_options import MatteOptions
from birefcli.cli.option_fields import expand_options
from birefcli.cli.spelling import spelling
from birefcli.cli.watch_options import WatchOptions
from birefcli.errors import UsageError
from birefcli.options import BatchTask, Existing

NOT_WATCHED = (
    *("inputs", "files_from", "null", "dry_run", "orphans", "failed_to", "max_failures"),
    "fail_fast",
    *("progress", "on", "workers"),
)
"""Options of matte that make no sense for photos that come and go."""


@expand_options(leave_out=NOT_WATCHED)
def watch(context: typer.Context, own: WatchOptions, words: MatteOptions) -> None:
    """Cut the subject out of photos as they come.

    birefcli watch photos/ -o cutouts/

    It keeps the model loaded, takes a photo when it is whole, and runs until it is stopped.
    """
    if not own.folders:
        raise UsageError("no folder named; see birefcli watch --help")
    if not own.output:
        raise UsageError("say where the results go: --output FOLDER")
    if words.existing is Existing.ERROR:
        text = "choose from update, skip, overwrite: photos are done again when they change"
        raise UsageError(text, option="existing", value=words.existing.value)
    words = replace(words, inputs=own.folders)
    selection = read_selection(words)
    options = read_options(context, words, selection)
    idle = values.seconds("idle", own.idle)
    from birefcli.batch.watch import run as watching  # help needs none of it
    from birefcli.cli.batch_reporter import Verbosity
    from birefcli.cli.watch_reporter import WatchTerminalReporter

    task = watching.WatchTask(
        BatchTask(selection, options, words.existing, words.lock),
        every=own.every,
        settle=own.settle,
        idle=idle,
        events=own.events,
    )
    quiet = words.quiet and not rules.is_typed(context, "verbose")  # over a variable's --quiet
    verbosity = Verbosity(words.json_lines, quiet, words.verbose, progress=False, debug=words.debug)
    with WatchTerminalReporter(verbosity, spelling(context)) as reporter:
        summary = watching.watch(task, reporter)
    raise typer.Exit(summary.exit_code)
