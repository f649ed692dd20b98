"""What a wrong command line is told: one line, what is wrong and what to do."""

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import typer.main
from PIL import Image, ImageFont

from birefcli import values
from birefcli.cli import environment, shared_options, usage_errors
from birefcli.cli.app import app
from birefcli.errors import printable
from birefcli.options import Compress, Existing, Lock, PatchOrder, Precision, SheetOrder
from birefcli.training.plan import Loss

COMMANDS = typer.main.get_command(app).commands


def told(result):
    return result.stderr.decode()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("matte a.jpg -o o --format gif", "--format gif: choose from png, webp, tiff, jpg, avif"),
        ("matte a.jpg -o o -q -v", "--quiet and --verbose: choose one"),
        ("nothing", "nothing is no command; see birefcli --help"),
        ("matte -o o", "no photo named; see birefcli matte --help"),
        ("train -o a.pt", "no data named; see birefcli train --help"),
        ("matte --files-from a.jpg -o o", "--files-from a.jpg: is a photo by its name; give a"),
        ("matte a.jpg -o o --bits x", "--bits x: choose from 8, 16, 1"),
        ("matte a.jpg -o o --max-failures 0", "--max-failures 0: give a whole number from 1"),
        ("matte a.jpg -o o --max-megapixels x", "--max-megapixels x: give a number above 0"),
        ("matte a.jpg -o o --crpo", "--crpo is no option; did you mean --crop? See birefcli matte"),
        ("matte -o o -dash.jpg", "-d is no option; the file -dash.jpg is called ./-dash.jpg here"),
        ("matte a.jpg -o o -d", "-d is no option; see"),
        ("matte a.jpg --output", "--output wants a value"),
        ("matte a.jpg -o o --modle mini", "--modle is no option; did you mean --model? See"),
        ("matte a.jpg -o o --device gpu", "--device gpu: choose from auto, cpu, cuda, cuda:N"),
        ("matte --files-from list -0 -o o", "--files-from list: its names do not end in NUL"),
        ("matte a.jpg -o o.jpg --write mask --bits 16", "--bits 16: jpg holds 8 bits; use png or"),
        ("matte a.jpg -o o --size 0", "--size 0: give multiples of 32, from 32 to 8192"),
        ("matte a.jpg -o o --crop=5", "--crop takes no value"),
        ("matte a.jpg -o o --metadata none", "--metadata takes no value; write --no-metadata; see"),
        ("matte a.jpg -o o --strip off", "--strip takes no value; leave it out; see"),
        ("matte a.jpg -vo o --crop no", "--crop takes no value; leave it out; see"),
        ("train a -o a.pt --validate b --hold-out 10", "--validate names what is held out"),
        ("score a", "TRUTHS is missing; see"),
        ("mate a.jpg", "mate is no command; did you mean matte? See birefcli --help"),
        ("matte a.jpg -o o.xyz", "--output o.xyz: .xyz is no format that can be written; use"),
        ("matte a.jpg -o o.gif", "--output o.gif: .gif is no format that can be written; use"),
        ("matte a.jpg -o o --background red", "--background does nothing without --write compos"),
        ("matte a.jpg -o o --margin 5%", "--margin does nothing without --crop"),
        ("matte a.jpg -o o -0", "--null does nothing without --files-from, --failed-to or"),
        ("matte a.jpg -o o.png --name x", "--name does nothing without a folder as --output"),
        ("score a b --size 64", "--size does nothing without --model"),
        ("score a b --photos c", "--photos does nothing without --report (and no --model)"),
        ("train a -o a.pt --validate b --hold-out 3", "--validate names what is held out"),
        ("sheet a -o a.png --font a.jpg", "--font a.jpg: is not there, or no font"),
    ],
)  # fmt: skip
def test_wrong_command_line_is_one_line_that_says_what_to_do(
    ended, monkeypatch, tmp_path, words, text
):
    for name in ("a.jpg", "-dash.jpg"):
        Image.new("RGB", (20, 20)).save(tmp_path / name)
    (tmp_path / "list").write_text("a.jpg\nb.jpg\n")
    monkeypatch.chdir(tmp_path)
    code, said = ended(*words.split())
    assert code == 2, said
    assert said.startswith(f"birefcli: {text}")
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["-dash.jpg", "a.jpg", "list"]


@pytest.mark.parametrize(
    "words",
    [
        "--dry-run -o oo -- --refine no",
        "a.jpg --name --crop no -o oo",
        "a.jpg --name=--crop -vo --crop no",
        "a.jpg -o=o --crop a.png",
        "a.jpg -ofo --crop -- no",
    ],
)
def test_a_word_that_is_no_switch_or_follows_none_is_no_value_of_one(words):
    command, meta = COMMANDS["matte"], {usage_errors.WORDS: words.split()}
    context = SimpleNamespace(command=command, meta=meta, resilient_parsing=False)
    usage_errors.refuse_switch_values(context)


def test_no_arguments_are_answered_with_help_and_a_usage_error(command):
    for words in ((), ("models",)):
        result = command(*words)
        assert result.returncode == 2
        assert b"Usage:" in result.stdout + result.stderr
        assert b"birefcli: \n" not in result.stderr


def test_bad_value_of_a_variable_is_told_by_the_variables_name(inside, photos, tmp_path):
    result = inside("matte", photos, "-o", tmp_path / "out", BIREFCLI_QUIET="banana")
    assert result.returncode == 2
    assert told(result).startswith("birefcli: BIREFCLI_QUIET=banana: give 1 or 0")


@pytest.mark.parametrize(
    ("variable", "value", "words", "text"),
    [
        ("WRITE", "mask,cutuot", "", "BIREFCLI_WRITE=cutuot: choose from"),
        ("WRITE", ",", "", "BIREFCLI_WRITE=,: is empty"),
        ("SIZE", "12", "", "BIREFCLI_SIZE=12: give multiples of 32"),
        ("SIZE", "big", "", "BIREFCLI_SIZE=big: give N or WxH"),
        ("BATCH", "x", "", "BIREFCLI_BATCH=x: give auto or a whole number from 1"),
        ("BATCH", "2", "--batch x", "--batch x: give auto or a whole number from 1"),
        ("MARGIN", "x", "--crop", "BIREFCLI_MARGIN=x: give pixels"),
        ("FORMAT", "gif", "", "BIREFCLI_FORMAT=gif: choose from png"),
        ("MAX_MEMORY", "x", "", "BIREFCLI_MAX_MEMORY=x: give auto or gigabytes"),
        ("MAX_MEGAPIXELS", "-1", "", "BIREFCLI_MAX_MEGAPIXELS=-1: give a number above 0"),
        ("BITS", "16", "--format JPEG --write mask", "BIREFCLI_BITS=16: jpg holds 8"),
        ("BITS", "8", "--format jpeg --write mask --bits 16", "--bits 16: jpg holds 8"),
        ("DEVICE", "gpu", "", "BIREFCLI_DEVICE=gpu: choose from auto"),
        ("JSON", "1", "--output -", "BIREFCLI_JSON and --output - both want stdout"),
    ],
)
def test_what_is_wrong_is_called_as_it_was_given(
    ended, monkeypatch, tmp_path, variable, value, words, text
):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg")
    monkeypatch.setenv(f"BIREFCLI_{variable}", value)
    code, said = ended(*f"matte a.jpg -o o {words}".split())
    assert (code, said.startswith(f"birefcli: {text}")) == (2, True), said


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("https://example.org/a.jpg", "download it first"),
        ("# my photos", "there are no comments"),
        ("HTTP://example.org/a.jpg", "download it first"),
        ("s3:/shop/in", "write s3://shop/in for what is in an object store"),
    ],
)
def test_names_that_are_none_are_told_as_what_they_are(ended, monkeypatch, tmp_path, name, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text(f"{name}\n")
    code, said = ended("matte", "--files-from", "list", "-o", "o")
    assert code == 3
    assert said.count("\n") == 1
    assert "No such file" in said
    assert hint in said


def test_bytes_that_are_no_text_are_told_as_a_shell_writes_them():
    assert printable("a\udcff\udc80\n\ud800é.jpg") == "a\\xff\\x80\\n\\ud800é.jpg"
    assert printable("\xad \udcad") == "\\u00ad \\xad"


@pytest.mark.parametrize(("word", "suffix"), [("jpeg", ".jpg"), ("TIF", ".tiff"), (".png", ".png")])
def test_formats_have_all_their_names(word, suffix):
    assert values.file_format(word).suffix == suffix


@pytest.mark.parametrize("name", ["matte", "train", "sheet", "score", "bench", "doctor"])
def test_help_breaks_no_choice_and_shows_no_type_of_python(shown_help, name):
    shown = shown_help(name, "--help-all")
    assert "<" not in shown.replace("<=", "")
    for kind in (Compress, Existing, Lock, Precision, PatchOrder, SheetOrder, Loss):
        option = f"--{HELD[kind]} "
        if option in shown:
            text = shown.partition(option)[2].partition("\n  --")[0]
            for choice in kind:
                assert re.search(rf"\b{choice.value}\b", text), (option, choice)


HELD = {
    Compress: "compress",
    Existing: "existing",
    Lock: "lock",
    Precision: "precision",
    PatchOrder: "patch-order",
    SheetOrder: "sort",
    Loss: "loss",
}


def test_dry_run_finds_what_the_run_would_fail_for(command, photos, tmp_path):
    words = ("matte", photos, "-o", tmp_path / "out", "--dry-run")
    device = command(*words, "--device", "cuda:99")
    assert device.returncode == 4
    assert "--device cuda:99" in told(device)
    assert command(*words, "--device", "cpu,auto").returncode == 2
    hub = {"HF_HOME": str(tmp_path / "hub"), "BIREFCLI_MODEL": "lite", "HF_HUB_OFFLINE": "0"}
    for offline in (
        command(*words, "--offline", **hub),
        command(*words, **{**hub, "HF_HUB_OFFLINE": "1"}),
    ):
        assert offline.returncode == 4
        assert "lite: not downloaded yet" in told(offline)
        assert "without them run" in told(offline)
    later = command(*words, **hub)
    assert later.returncode == 0
    assert "lite is to be downloaded first: 178 MB" in told(later)
    file = command(*words, "--model", tmp_path / "none.pth")
    assert file.returncode == 4
    assert "none.pth: no such weights file" in told(file)
    assert command("matte", photos, "-o", tmp_path / "out").returncode == 0
    done = command(*words, "--device", "cuda:99")
    assert done.returncode == 0
    assert told(done).startswith("3 up to date"), "nothing is needed"


def test_typed_option_is_stronger_than_the_opposite_variable(inside, photos, tmp_path):
    words = ("matte", photos / "a.jpg", "-o", tmp_path / "a.png")
    assert told(inside(*words, BIREFCLI_QUIET="1")) == ""
    assert "1 up to date" in told(inside(*words, "-v", BIREFCLI_QUIET="1"))


def test_half_precision_on_a_cpu_is_said_to_be_slow(inside, photos, tmp_path):
    words = ("matte", photos / "a.jpg", "-o", tmp_path / "a.png", "--device", "cpu")
    half = inside(*words, "--precision", "bf16")
    assert half.returncode == 0, told(half)
    assert "bf16 is slower than fp32 on most CPUs" in told(half)
    whole = inside(*words)
    assert "1 written" in told(whole), "auto is another precision here"
    assert "slower" not in told(whole)
    named = inside(*words, "--precision", "fp32")
    assert "1 up to date" in told(named)


def test_variable_that_nobody_reads_is_told_and_harms_nothing(inside, photos, tmp_path):
    result = inside(
        "matte", photos, "-o", tmp_path / "out", BIREFCLI_MAX_FAILURE="1", BIREFCLI_KERNELS="plain"
    )
    assert result.returncode == 0
    first, *rest = told(result).splitlines()
    assert first == (
        "birefcli: unknown variable BIREFCLI_MAX_FAILURE, ignored; did you mean"
        " BIREFCLI_MAX_FAILURES?"
    )
    assert not any("BIREFCLI_" in line for line in rest)


def test_variable_without_effect_is_meant_for_other_runs_and_refuses_nothing(
    inside, photos, tmp_path
):
    result = inside(
        "matte", photos, "-o", tmp_path / "out", BIREFCLI_BACKGROUND="red", BIREFCLI_MARGIN="5%"
    )
    assert result.returncode == 0, told(result)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["banana", "0", "-1", ""])
def test_count_of_threads_that_is_none_is_told_in_our_words(command, photos, tmp_path, threads):
    result = command("matte", photos, "-o", tmp_path / "out", OMP_NUM_THREADS=threads)
    assert result.returncode == 0
    assert f"OMP_NUM_THREADS={threads}: not a number from 1, and not read" in told(result)
    assert "libgomp" not in told(result)


@pytest.mark.parametrize("threads", ["banana", "0", "-1", ""])
def test_every_count_of_threads_that_is_none_is_told_and_kept_from_libraries(
    monkeypatch, capsys, threads
):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    environment.check()
    told = f"OMP_NUM_THREADS={threads}: not a number from 1, and not read"
    assert told in capsys.readouterr().err
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("threads", ["1", "2,3", " 4 "])
def test_good_counts_of_threads_stay(monkeypatch, capsys, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    environment.check()
    assert capsys.readouterr().err == ""


def test_every_option_of_matte_has_its_variable():
    options = [p.opts[0] for p in COMMANDS["matte"].params if p.opts[0].startswith("--")]
    named = {"BIREFCLI_" + option[2:].replace("-", "_").upper() for option in options}
    assert named - {"BIREFCLI_HELP"} <= set(shared_options.VARIABLES)
    assert len(named) > 30


@pytest.mark.parametrize("name", ["Device", "Quiet", "Progress", "Debug"])
def test_option_without_its_variable_is_otherwise_the_same(name):
    shared, plain = (get_args(vars(shared_options)[alias])[1] for alias in (name, f"Plain{name}"))
    assert shared.envvar == f"BIREFCLI_{name.upper()}"
    assert vars(plain) == {**vars(shared), "envvar": None}


@pytest.mark.parametrize("name", ["BIREFCLI_FOO", "BIREFCLI_XYZZY", "BIREFCLI_"])
def test_nothing_is_proposed_where_nothing_is_like_it(monkeypatch, capsys, name):
    monkeypatch.setenv(name, "1")
    environment.check()
    assert capsys.readouterr().err == f"birefcli: unknown variable {name}, ignored\n"
    monkeypatch.setenv(environment.COMPLETING, "complete_bash")
    environment.check()
    assert capsys.readouterr().err == ""


def test_flag_that_is_switched_off_is_proposed_as_such(monkeypatch, capsys):
    for value, meant in (("1", "0"), ("0", "1")):
        monkeypatch.setenv("BIREFCLI_NO_REFINE", value)
        environment.check()
        assert f"did you mean BIREFCLI_REFINE={meant}?" in capsys.readouterr().err
    monkeypatch.setenv("BIREFCLI_NO_SIZE", "1")
    environment.check()
    assert "BIREFCLI_SIZE=0" not in capsys.readouterr().err


def test_folder_in_a_list_is_refused_before_anything_is_done(inside, photos, tmp_path):
    (tmp_path / "list").write_text(f"{photos}\n{photos / 'a.jpg'}\n")
    words = ("matte", "--files-from", tmp_path / "list", "-o", tmp_path / "out")
    for more in ((), ("--dry-run",)):
        result = inside(*words, *more)
        assert result.returncode == 1
        assert f"{photos}: is a folder, and lists name photos" in told(result)


def test_quiet_dry_run_says_only_what_is_wrong(inside, photos, tmp_path):
    result = inside("matte", photos, "-o", tmp_path / "out", "--dry-run", "-q")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_list_without_names_is_no_list_that_was_forgotten(inside, photos, tmp_path):
    (tmp_path / "none").touch()
    words = ("--files-from", tmp_path / "none", "-0", "-o", tmp_path / "out")
    assert inside("matte", photos / "a.jpg", *words).returncode == 0


def test_refused_run_leaves_no_folder(inside, photos, tmp_path):
    out = tmp_path / "new" / "out"
    result = inside("matte", photos, "-o", out, BIREFCLI_MODEL="nonesuch")
    assert result.returncode == 4, told(result)
    assert not out.parent.exists()
    dry = inside("matte", photos, "-o", out, "--dry-run")
    assert (dry.returncode, out.parent.exists()) == (0, False)
    out.mkdir(parents=True)
    assert inside("matte", photos, "-o", out, BIREFCLI_MODEL="nonesuch").returncode == 4
    assert out.is_dir(), "what was there stays"


def test_folder_that_is_named_with_a_slash_may_have_any_name(inside, photos, tmp_path):
    result = inside("matte", photos / "a.jpg", "-o", f"{tmp_path}/out.xyz/")
    assert result.returncode == 0, told(result)
    assert (tmp_path / "out.xyz" / "a.png").is_file()


def test_sheet_names_what_is_not_there_and_shows_the_rest(inside, tmp_path):
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "mask.png")
    gone = tmp_path / "gone"
    alone = inside("sheet", gone, "-o", tmp_path / "s.png")
    assert alone.returncode == 3
    assert told(alone).startswith(f"birefcli: {gone}: No such file")
    both = inside("sheet", gone, tmp_path / "mask.png", "-o", tmp_path / "s.png", "--json")
    assert both.returncode == 1
    assert json.loads(both.stdout.splitlines()[-1])["summary"]["failed"] == 1
    (tmp_path / "empty").mkdir()
    empty = inside("sheet", tmp_path / "empty", "-o", tmp_path / "t.png")
    assert (empty.returncode, "no cutout or mask found" in told(empty)) == (3, True)


def scales(font):
    """Whether a font's letters have any size; those of pictures have one."""
    try:
        return bool(ImageFont.truetype(font, 16).getlength("a"))
    except OSError:
        return False


def test_font_of_the_users_draws_the_names(tmp_path):
    from birefcli.images.text import fit_text
    from birefcli.review.tile_page import Layout

    fonts = [font for font in sorted(Path("/usr/share/fonts").rglob("*.ttf")) if scales(font)]
    if not fonts:
        pytest.skip("no font on this machine")
    layout = Layout(4, 200, str(fonts[0]))
    assert layout.font.path == str(fonts[0])
    assert layout.font.getlength(fit_text("abc" * 99, layout.font, 200)) <= 200


def test_nothing_found_is_told_with_what_kept_it_from_being_found(inside, photos, tmp_path):
    filtered = inside("matte", photos, "-o", tmp_path / "out", "--include", "*.tif")
    assert filtered.returncode == 3
    advice = "a pattern matches a name or a path in the folder; repeat the option for several"
    assert f"no photo found in {photos} that fits --include; {advice}" in told(filtered)
    (tmp_path / "none").touch()
    earlier = tmp_path / "failed"
    earlier.write_text("././old.jpg\n")
    words = ("--files-from", tmp_path / "none", "--failed-to", earlier)
    empty = inside("matte", *words, "-o", tmp_path / "out")
    assert (empty.returncode, earlier.read_text()) == (3, "")
    assert f"--files-from {tmp_path / 'none'}: names no photo" in told(empty)
    orphans = inside("matte", *words[:2], "-o", tmp_path / "out", "--orphans")
    assert (orphans.returncode, orphans.stdout) == (3, b"")


def test_photo_that_is_new_needs_no_reason(inside, photos, tmp_path):
    first = inside("matte", photos, "-o", tmp_path / "out", "--verbose")
    assert "written" in told(first)
    assert "(missing)" not in told(first)
    (tmp_path / "out" / "a.png").write_bytes(b"torn")
    again = inside("matte", photos, "-o", tmp_path / "out", "--verbose", "--existing", "overwrite")
    assert "written" in told(again)


@pytest.mark.parametrize("place", ["photo", "output"])
def test_name_that_is_too_long_is_no_bug(inside, photos, tmp_path, place):
    long = "x" * 300
    words = (long, "-o", "out") if place == "photo" else (photos / "a.jpg", "-o", long)
    result = inside("matte", *words, cwd=tmp_path)
    assert result.returncode == (3 if place == "photo" else 5)
    assert "File name too long" in told(result)
