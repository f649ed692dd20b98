"""``birefcli matte``: one run of a batch."""

import typer

from birefcli.cli import rules
from birefcli.cli.batch_options import read_options, read_selection
from birefcli.cli.matte_options import MatteOptions
from birefcli.cli.option_fields import expand_options
from birefcli.cli.orphans import list_orphans
from birefcli.cli.spelling import spelling
from birefcli.errors import NoInputError
from birefcli.options import BatchTask


@expand_options()
def matte(context: typer.Context, words: MatteOptions) -> None:
    """Cut the subject out of photos.

    birefcli matte photos/ -o cutouts/

    Folders keep their tree: photos/x/a.jpg becomes cutouts/x/a.png.
    """
    selection = read_selection(words)
    if words.orphans:
        list_orphans(context, selection, null=words.null, quiet=words.quiet)
        return
    options = read_options(context, words, selection)
    from birefcli.batch.run import run  # help needs neither, and rich takes its time
    from birefcli.cli.batch_reporter import TerminalReporter, Verbosity

    existing, lock = words.existing, words.lock
    task = BatchTask(selection, options, existing, lock, words.dry_run, words.failed_to, words.null)
    quiet = words.quiet and not rules.is_typed(context, "verbose")  # over a variable's --quiet
    verbosity = Verbosity(words.json_lines, quiet, words.verbose, words.progress, words.debug)
    with TerminalReporter(verbosity, spelling(context), existing) as reporter:
        summary = run(task, reporter)
    if not selection.inputs and not selection.listed:
        raise NoInputError("names no photo", option="files_from", value=words.files_from)
    if summary.nothing_found is not None:
        raise NoInputError(summary.nothing_found)
    raise typer.Exit(summary.exit_code)
