"""``birefcli score`` as a user types it."""

import csv
import io
import json
import os
import re
import signal
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import TIMEOUT, picture
from oracle.cases import blobs, noisy
from PIL import Image
from support import DATA, recorded

from birefcli.scoring.report import page as report_page
from birefcli.scoring.report.page_mark import PageMark
from birefcli.system import atomic
from birefcli.training import setup
from birefcli.training.plan import Plan

RECORDED = DATA / "scores"
EXPECTED = json.loads((RECORDED / "expected.json").read_text())
SALIENCY_COLUMNS = [
    "Smeasure",
    "maxFm",
    "meanEm",
    "MAE",
    "maxEm",
    "meanFm",
    "wFmeasure",
    "adpEm",
    "adpFm",
    "HCE",
]


def same_figures(one, other):
    """Whether two runs say the same in JSON.

    Filters round the last digit by where memory lies.
    """
    one, other = json.loads(one), json.loads(other)
    tables = [(one.pop("all"), other.pop("all"))]
    each = one.pop("each", {}), other.pop("each", {})
    assert each[0].keys() == each[1].keys()
    tables += [(each[0][name], each[1][name]) for name in each[0]]
    assert all(a == pytest.approx(b, rel=1e-9, abs=1e-12) for a, b in tables)
    return one == other


@pytest.fixture
def masks(tmp_path):
    """Three truths and their predictions, one in a folder of its own."""
    for number, name in enumerate(("a", "b", "sub/c")):
        truth = blobs(60, 80, number)
        for kind, pixels in (("gt", truth), ("pred", noisy(truth, number))):
            file = tmp_path / kind / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return tmp_path


def stderr(result):
    return result.stderr.decode()


def test_json_holds_the_recorded_figures_in_full(inside):
    result = inside("score", RECORDED / "pred", RECORDED / "gt", "--json", "--each")
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert list(found["each"]) == list(EXPECTED["each"])
    for rows, known in (
        (found["each"], EXPECTED["each"]),
        ({"": found["all"]}, {"": EXPECTED["all"]}),
    ):
        for name, values in known.items():
            for column, value in values.items():
                ours = "meanMSE" if column == "MSE" else column
                assert rows[name][ours] == recorded(value, name, column)
    assert "p005.png: prediction 80×110 resized to the truth's 160×220" in stderr(result)


def test_quiet_says_the_scores_alone(inside, masks, tmp_path):
    """The pictures' notes, the report and the bar are left out; failures are not."""
    words = ("score", masks / "pred", masks / "gt", "--report", tmp_path / "r.html")
    loud, quiet = inside(*words), inside(*words, "--quiet")
    assert (loud.stdout, loud.returncode) == (quiet.stdout, quiet.returncode)
    assert (b"written" in loud.stderr, quiet.stderr) == (True, b"")


def test_tables_say_which_way_is_better(inside, masks):
    shown = inside("score", masks / "pred", masks / "gt").stdout.decode()
    line = " ".join(shown.partition("higher is better: ")[2].split())
    better, _, rest = line.partition("; ")
    assert {"Smeasure", "wFmeasure", "mBA"} <= set(better.split(", "))
    assert not {"MAE", "SAD", "HCE"} & set(better.split(", "))
    assert rest == "lower: all others"


def test_table_has_the_columns_of_the_model_card_in_its_order(inside):
    result = inside("score", RECORDED / "pred", RECORDED / "gt")
    lines = result.stdout.decode().splitlines()
    head = next(line for line in lines if "Smeasure" in line)
    assert head.split() == SALIENCY_COLUMNS
    figures = next(line for line in lines[lines.index(head) + 1 :] if line.strip()[:1].isdigit())
    assert re.fullmatch(r" *(\d\.\d{3} +){9}\d+ *", figures)
    for column, figure in zip(SALIENCY_COLUMNS, figures.split(), strict=True):
        close = {"abs": 1.5 if column == "HCE" else 1.5e-3, "rel": 0}
        assert float(figure) == pytest.approx(EXPECTED["all"][column], **close), column
    assert any(line.split() == ["SAD", "MSE", "MAD", "Grad", "Conn", "IoU"] for line in lines)
    assert "6 photos" in lines


def test_names_that_a_spreadsheet_would_run_are_quoted_in_csv(inside, tmp_path):
    starts = ["=", "+", "-", "@", "\t", " =", "\uff1d", "\uff20", "\r="]
    for side in ("pred", "gt"):
        (tmp_path / side).mkdir()
        for name in (*(f"{start}{number}" for number, start in enumerate(starts)), "plain"):
            Image.new("L", (9, 9), 255).save(tmp_path / side / f"{name}.png")
    shown = inside("score", tmp_path / "pred", tmp_path / "gt", "--csv", "--each").stdout
    names = {row["photo"] for row in csv.DictReader(io.StringIO(shown.decode(), newline=""))}
    assert "plain.png" in names
    quoted = names - {"plain.png"}
    assert all(name.startswith("'") for name in quoted)
    assert {name[-5:] for name in quoted} == {f"{number}.png" for number in range(len(starts))}


def test_csv_is_read_back_with_every_digit(inside, masks):
    words = ("score", masks / "pred", masks / "gt", "--trimap-radius", "3", "--each")
    rows = list(csv.DictReader(io.StringIO(inside(*words, "--csv").stdout.decode())))
    known = json.loads(inside(*words, "--json").stdout)["each"]
    assert [row["photo"] for row in rows] == ["a.png", "b.png", "sub/c.png"]
    for row in rows:
        values = {name: float(value) for name, value in row.items() if name != "photo"}
        assert values == pytest.approx(known[row["photo"]], rel=1e-9, abs=1e-12)


def test_single_file_finds_its_truth_in_a_folder(inside, masks):
    words = ("score", masks / "pred" / "a.png", masks / "gt", "--json")
    alone = inside("score", masks / "pred" / "a.png", masks / "gt" / "a.png", "--json")
    assert same_figures(inside(*words).stdout, alone.stdout)
    lost = inside("score", masks / "pred" / "a.png", masks / "gt" / "sub")
    assert (lost.returncode, lost.stdout) == (3, b""), stderr(lost)
    assert "no truth named a.* in" in stderr(lost)


def test_contact_sheet_beside_the_masks_is_none_of_them(inside, masks):
    words = ("score", masks / "pred", masks / "gt", "--json")
    before = inside(*words).stdout
    assert inside("sheet", masks / "pred", "-o", masks / "pred" / "sheet.png").returncode == 0
    after = inside(*words)
    assert after.returncode == 0
    assert same_figures(after.stdout, before)


@pytest.mark.parametrize("words", [(), ("--each",)])
def test_tables_that_go_to_a_file_fit_in_eighty_columns(inside, masks, words):
    (masks / "gt" / "a.png").rename(masks / "gt" / f"{'a' * 60}.png")
    (masks / "pred" / "a.png").rename(masks / "pred" / f"{'a' * 60}.png")
    shown = inside("score", masks / "pred", masks / "gt", *words).stdout.decode()
    assert max(map(len, shown.splitlines())) <= 80


def test_one_thread_and_several_say_the_same(inside, masks):
    words = ("score", masks / "pred", masks / "gt", "--json", "--each")
    one, several = (inside(*words, "--threads", count).stdout for count in (1, 3))
    assert same_figures(one, several)


def test_two_files_are_a_pair_whatever_they_are_called(inside, masks):
    result = inside("score", masks / "pred/a.png", masks / "gt/b.png", "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["photos"] == 1


def test_missing_and_extra_files_are_errors_before_any_work(inside, masks):
    (masks / "pred/b.png").rename(masks / "pred/x.png")
    result = inside("score", masks / "pred", masks / "gt")
    assert result.returncode == 3
    assert result.stdout == b""
    assert f"{masks}/gt/b.png: no prediction named b.* in {masks}/pred" in stderr(result)
    assert f"{masks}/pred/x.png: no truth in {masks}/gt" in stderr(result)
    assert stderr(result).count("\n") == 3, "one a line, and what to do"


def test_allow_missing_scores_the_rest_and_names_what_is_left_out(inside, masks):
    (masks / "pred/b.png").rename(masks / "pred/x.png")
    result = inside("score", masks / "pred", masks / "gt", "--allow-missing", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert found["photos"] == 2
    assert len(found["unmatched"]) == 2
    assert stderr(result).count("no prediction named b.*") == 1


def test_an_unreadable_file_is_an_error_and_the_others_are_shown(inside, masks):
    (masks / "pred/b.png").write_bytes(b"no picture")
    result = inside("score", masks / "pred", masks / "gt", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 1
    assert list(found["failed"]) == ["b.png"]
    assert f"{masks}/pred/b.png: not an image" in stderr(result)
    assert inside("score", masks / "pred", masks / "gt", "--allow-missing").returncode == 0
    assert b"2 of 3 photos" in inside("score", masks / "pred", masks / "gt").stdout


def test_nothing_that_could_be_scored_is_an_error_even_if_missing_is_allowed(inside, masks):
    for name in ("a", "b", "sub/c"):
        (masks / f"pred/{name}.png").write_bytes(b"no picture")
    result = inside("score", masks / "pred", masks / "gt", "--allow-missing")
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("pred", "nowhere"), 3, "nowhere: no such file or folder"),
        (("pred", "empty"), 3, "no picture found in"),
        (("pred", "pred"), 2, "predictions and truths are the same place"),
        (("pred", "gt/a.png"), 2, "give two folders, two files, or a file and its truth's folder"),
        (("pred", "gt", "--json", "--csv"), 2, "--json and --csv"),
        (("pred", "gt", "--trimaps", "gt", "--trimap-radius", "3"), 2, "--trimap-radius"),
        (("pred", "gt", "--report", "empty"), 5, "is a folder; name a file"),
        (("pred", "gt", "--report", "a.png"), 2, "name a file that ends in .html"),
        (("pred", "gt", "--report", "nowhere/a.html"), 5, "cannot be written"),
        (("pred", "gt", "--model", "nonesuch"), 4, "nonesuch"),
        (("pred", "gt", "--foregrounds", "gt"), 1, "a mask has no colours to compare"),
        (("pred", "gt", "--trimaps", "half"), 3, "no trimap named b.* in"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(ended, masks, monkeypatch, words, code, text):
    (masks / "empty").mkdir()
    (masks / "half").mkdir()
    Image.open(masks / "gt/a.png").save(masks / "half/a.png")
    monkeypatch.chdir(masks)
    found, said = ended("score", *words)
    assert text in said
    assert found == code
    assert "Traceback" not in said


def test_many_notes_are_counted_after_the_first(inside, tmp_path):
    for kind, size in (("gt", (40, 30)), ("pred", (20, 15))):
        (tmp_path / kind).mkdir()
        for number in range(8):
            Image.fromarray(blobs(*size, 1)).save(tmp_path / kind / f"{number}.png")
    result = inside("score", tmp_path / "pred", tmp_path / "gt", "--json")
    assert stderr(result).count("resized") == 5
    assert "and 3 more photos with notes like these" in stderr(result)
    assert len(json.loads(result.stdout)["notes"]) == 8


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_pipe_among_the_pictures_is_not_waited_for(inside, masks):
    for kind in ("gt", "pred"):
        os.mkfifo(masks / kind / "pipe.png")
    result = inside("score", masks / "pred", masks / "gt", "--json")
    assert json.loads(result.stdout)["photos"] == 3


def test_two_files_of_one_stem_are_refused(inside, masks):
    Image.open(masks / "pred/a.png").save(masks / "pred/a.webp")
    result = inside("score", masks / "pred", masks / "gt")
    assert result.returncode == 2
    assert "a.png and" in stderr(result)


def test_layout_of_p3m_is_understood(inside, masks):
    root = masks / "validation" / "P3M-500-P"
    for kind, source in (("mask", "gt"), ("trimap", "gt"), ("blurred_image", "photo")):
        (root / kind).mkdir(parents=True)
        for name in ("a", "b"):
            image = picture(80, 60) if source == "photo" else Image.open(masks / f"gt/{name}.png")
            suffix = "jpg" if source == "photo" else "png"
            image.save(root / kind / f"{name}.{suffix}")
    (masks / "pred/sub/c.png").unlink()
    (masks / "pred/sub").rmdir()
    result = inside("score", masks / "pred", root, "--json", "--report", masks / "r.html")
    found = json.loads(result.stdout)
    assert found["photos"] == 2
    assert found["all"]["unknownSAD"] > 0
    assert "photo of a.png" in (masks / "r.html").read_text()


def test_products_of_matte_are_understood_with_their_folders(inside, masks, photos):
    inside("matte", photos, "-o", masks / "out", "--write", "mask,cutout")
    inside("matte", photos, "-o", masks / "truth", "--write", "mask")
    alphas = inside("score", masks / "out", masks / "truth", "--json")
    # Made twice, some alpha may be rounded otherwise: one level is 4e-6.
    assert json.loads(alphas.stdout)["all"]["SAD"] < 1e-4
    colours = inside(
        "score", masks / "out", masks / "truth", "--foregrounds", photos, "--json", "--permille"
    )
    found = json.loads(colours.stdout)
    assert found["all"]["FgMAD"] > 0
    assert found["permille"] is True


def test_model_mattes_and_scores_in_one_go(inside, masks, photos, tiny_weights):
    inside("matte", photos, "-o", masks / "out", "--write", "mask", "--bits", "16")
    result = inside("score", photos, masks / "out", "--model", tiny_weights, "--json", "--each")
    found = json.loads(result.stdout)
    assert result.returncode == 0, stderr(result)
    assert found["photos"] == 3
    # The truth is what the same model wrote with 16 bits.
    assert found["all"]["MAD"] < 1e-4


def test_model_names_photos_that_cannot_be_read(inside, masks, photos, tiny_weights):
    inside("matte", photos, "-o", masks / "out", "--write", "mask")
    (photos / "b.png").write_bytes(b"no picture")
    result = inside("score", photos, masks / "out", "-m", tiny_weights, "--json")
    assert result.returncode == 1
    assert list(json.loads(result.stdout)["failed"]) == ["b.png"]


@pytest.fixture
def data_set(tmp_path):
    """Nine photos with masks as training takes them, and one in a folder that it leaves alone."""
    names = ("a.k", "a", "b", "c", "d", "e", "f", "g", "h", "sub/i")
    for number, name in enumerate(names):
        for kind, suffix in (("im", "jpg"), ("gt", "png")):
            file = tmp_path / "people" / "train" / kind / f"{name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            mask = Image.fromarray(blobs(40, 60, number))
            (picture(60, 40, number) if kind == "im" else mask).save(file)
    return tmp_path / "people"


def test_hold_out_scores_the_very_photos_that_training_holds_out(inside, data_set, tiny_weights):
    words = ("score", data_set, data_set, "-m", tiny_weights, "--json", "--each")
    result = inside(*words, "--hold-out", "4")
    assert result.returncode == 0, stderr(result)
    held_out = setup.find_data(Plan((data_set,), data_set / "w", hold_out=4)).held_out
    found = json.loads(result.stdout)
    assert sorted(found["each"]) == sorted(pair.mask.name for pair in held_out)
    assert 0 < found["all"]["IoU"] < 1


def test_hold_out_needs_predictions_of_those_photos_alone(inside, data_set, tiny_weights):
    held_out = setup.find_data(Plan((data_set,), data_set / "w", hold_out=4)).held_out
    (data_set / "pred").mkdir()
    for pair in held_out:
        Image.open(pair.mask).save(data_set / "pred" / pair.mask.name)
    words = ("score", data_set / "pred", data_set, "--hold-out", "4", "--json")
    result = inside(*words)
    assert result.returncode == 0, stderr(result)
    assert json.loads(result.stdout)["photos"] == len(held_out) == 3
    (data_set / "pred" / held_out[0].mask.name).unlink()
    assert inside(*words).returncode == 3


class Page(HTMLParser):
    """Tags that a page has, and everything that would be loaded."""

    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset")]


def test_report_stands_alone_in_light_and_dark(inside, masks):
    name = "x' onerror=<b>&.png"
    for kind in ("gt", "pred"):
        (masks / kind / "a.png").rename(masks / kind / name)
    for folder in ("photos", "photos/sub"):
        (masks / folder).mkdir()
    for stem in (name[:-4], "b", "sub/c"):
        picture(80, 60).save(masks / "photos" / f"{stem}.jpg")
    result = inside("score", masks / "pred", masks / "gt", "--trimap-radius", "4",
                     "--photos", masks / "photos", "--report", masks / "r.html")  # fmt: skip
    assert result.returncode == 0
    text = (masks / "r.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.links
    assert all(link.startswith("data:image/webp;base64,") for link in page.links)
    assert not re.search(r"@import|url\(|<script|<link|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert page.tags.count("svg") == text.count("role='img'") == 25
    assert page.tags.count("img") == 3 * 5
    assert "b" in page.tags
    assert "onerror=<b>" not in text


def test_report_replaces_an_earlier_one_alone_and_where_something_was_scored(inside, masks):
    page, words = masks / "r.html", ("score", "pred", "gt", "--report", "r.html")
    mark = PageMark("scores")
    (masks / "kept.html").write_bytes(mark.sealed(f"{mark.tag()}earlier"))
    page.symlink_to("kept.html")  # it may have another name
    assert inside(*words, cwd=masks).returncode == 0
    made = page.read_bytes()
    assert b"earlier" not in made
    for name in ("a", "b", "sub/c"):
        (masks / f"pred/{name}.png").write_bytes(b"no picture")
    inside(*words, cwd=masks)
    assert page.read_bytes() == made
    assert report_page.why_kept(masks / "kept.html") is None
    page.write_bytes(b"")  # as mktemp makes it
    assert report_page.why_kept(page) is None
    page.write_bytes(made.replace(b"<h1>", b"<h1>My "))
    assert "was edited" in report_page.why_kept(page)
    page.write_bytes(b"notes")
    result = inside(*words, cwd=masks)
    refused = "--report r.html: exists and was not made by score; name another file"
    assert (result.returncode, page.read_bytes()) == (5, b"notes")
    assert refused in stderr(result)


def test_a_report_is_written_where_no_part_of_an_older_one_stays(inside, masks):
    part = masks / f"{atomic.PART}1-aaaaaaaa{atomic.PART_END}"
    part.write_bytes(b"ha")
    os.utime(part, (0, 0))  # of a run that was killed long ago
    result = inside("score", masks / "pred", masks / "gt", "--report", masks / "r.html")
    assert result.returncode == 0
    assert {path.name for path in masks.iterdir()} == {"gt", "pred", "r.html"}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_scoring_prints_no_figures_and_leaves_no_process(start, tmp_path):
    big = np.kron(blobs(60, 80, 1), np.ones((16, 16), np.uint8))
    for kind in ("gt", "pred"):
        (tmp_path / kind).mkdir()
        Image.fromarray(big).save(tmp_path / kind / "000.png", compress_level=1)
        for number in range(1, 400):
            (tmp_path / kind / f"{number:03d}.png").hardlink_to(tmp_path / kind / "000.png")
    (tmp_path / "pred" / "000.png").unlink()
    (tmp_path / "pred" / "000.png").write_bytes(b"no picture: it is told when the others are begun")
    process = start("score", tmp_path / "pred", tmp_path / "gt", "--threads", "2")
    assert b"not an image" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert out == b""
    assert b"stopped before the end" in err
    assert b"Traceback" not in err


def test_help_of_score_loads_nothing_heavy(command):
    result = command("score", "--help", within=("env", "PYTHONPROFILEIMPORTTIME=1"))
    loaded = set(re.findall(r"\| +([\w.]+)$", stderr(result), re.M))
    assert "typer" in loaded
    assert not loaded & {"torch", "cv2", "numpy", "PIL"}
