"""What a person sees of a batch."""

from dataclasses import replace

from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.cli.batch_reporter import TerminalReporter, Verbosity
from birefcli.cli.watch_reporter import WatchTerminalReporter


def ended(*outcomes, verbose=False, reporter_of=TerminalReporter):
    summary = Summary(seconds=1.0, working=1.0)
    with reporter_of(Verbosity(progress=False, verbose=verbose), str) as reporter:
        for outcome in outcomes:
            summary.add(outcome)
            reporter.on_outcome(outcome)
        reporter.on_end(summary)
    return summary


def test_the_last_line_counts_flags_and_notes_and_says_where_they_stand(capsys):
    plain = Outcome("a.jpg", Status.WRITTEN, is_new=True)
    noted = replace(plain, input="b.jpg", notes=("the body ends 9 pixels above the lower edge",))
    both = replace(noted, input="c.jpg", flags=("haze", "islands"))
    counted = "3 written in 1.0 s (3.00 photos/s); flagged: 1, with notes: 2"
    summary = ended(plain, noted, both)
    sheet = "birefcli sheet shows flagged ones"
    assert capsys.readouterr().err == f"{counted} (-v names them, {sheet})\n"
    assert '"flagged": 1, "noted": 2' in summary.as_json()
    ended(plain, noted, both, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[2] == f"c.jpg: written (flagged: haze, islands; {noted.notes[0]})"
    assert lines[3] == f"{counted} ({sheet})"
    ended(noted)
    assert capsys.readouterr().err.endswith("photos/s); with notes: 1 (-v names them)\n")
    ended(plain)
    assert capsys.readouterr().err.endswith("photos/s)\n")
    ended(noted, reporter_of=WatchTerminalReporter)
    assert capsys.readouterr().err.splitlines() == [
        f"b.jpg: written ({noted.notes[0]})",
        "1 written in 1.0 s (1.00 photos/s); with notes: 1",
    ]
    ended(replace(both, status=Status.SKIPPED))
    assert "notes" not in capsys.readouterr().err
