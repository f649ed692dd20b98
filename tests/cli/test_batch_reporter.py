"""What a person sees of a batch."""

from dataclasses import replace

from birefcli.batch.outcome import Outcome, Status, Summary
from birefcli.cli.batch_reporter import TerminalReporter, Verbosity
from birefcli.cli.watch_reporter import WatchTerminalReporter
from birefcli.options import Existing


def ended(*outcomes, verbose=False, reporter_of=TerminalReporter, existing=Existing.UPDATE):
    summary = Summary(seconds=1.0, working=1.0)
    with reporter_of(Verbosity(progress=False, verbose=verbose), str, existing) as reporter:
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
    names = "the same command with -v names them"
    assert capsys.readouterr().err == f"{counted} ({names}, {sheet})\n"
    assert '"flagged": 1, "noted": 2' in summary.as_json()
    ended(plain, noted, both, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[2] == f"c.jpg: written (flagged: haze, islands; {noted.notes[0]})"
    assert lines[3] == f"{counted} ({sheet})"
    ended(noted)
    assert capsys.readouterr().err.endswith(f"photos/s); with notes: 1 ({names})\n")
    ended(noted, existing=Existing.OVERWRITE)  # the same command would do it anew
    assert capsys.readouterr().err.endswith("photos/s); with notes: 1\n")
    ended(plain)
    assert capsys.readouterr().err.endswith("photos/s)\n")
    ended(noted, reporter_of=WatchTerminalReporter)
    assert capsys.readouterr().err.splitlines() == [
        f"b.jpg: written ({noted.notes[0]})",
        "1 written in 1.0 s (1.00 photos/s); with notes: 1",
    ]
    there = replace(both, status=Status.CURRENT)
    ended(there)
    counted = "1 up to date; flagged: 1, with notes: 1"
    assert capsys.readouterr().err == f"{counted} ({names}, {sheet})\n"
    ended(there, replace(plain, status=Status.CURRENT), verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == [f"c.jpg: up to date (flagged: haze, islands; {noted.notes[0]})"]


def test_a_quality_that_was_lowered_as_asked_for_is_counted_apart_from_other_notes(capsys):
    lowered = Outcome("a.jpg", Status.WRITTEN, notes=("lowered to quality 47, 4:2:0",))
    both = replace(lowered, notes=("enlarged 2.1 times", "composite: lowered to quality 9"))
    summary = ended(lowered, both)
    assert "; with notes: 1, quality lowered: 2 (" in capsys.readouterr().err
    assert '"noted": 1, "lowered": 2' in summary.as_json()
