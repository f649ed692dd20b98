"""``birefcli bench`` through the real command, with the tiny model."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import TIMEOUT, picture, wait_for
from PIL import Image
from support import write_mean_of_channels

from birefcli.bench.measure import NAMES, PIPELINE, Rounds, bottleneck
from birefcli.cli import bench_table
from birefcli.cli.bench_table import noise_warning
from birefcli.images import synthetic

NO_PRICES = ("0", "-0", "-4.59", "nan", "inf", "-inf", "1e+07")
QUICK = ("bench", "--megapixels", "0.05", "--count", "2", "--repeat", "2", "--device", "cpu")


def record(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def measured(command):
    return record(command(*QUICK, "--json", "--threads", "3", "--batch", "2"))


def test_every_stage_and_the_whole_have_seconds_rates_and_cpu_time(measured):
    assert set(measured["stages"]) == set(NAMES)
    for name in ("decode", "prepare", "network", "upsample", "compose", "encode", "write"):
        figure = measured["stages"][name]
        assert 0 < figure["least"] <= figure["seconds"] <= figure["most"]
        # Seconds are given in millionths, of which a stage may take few.
        each = 1 / figure["photos_per_second"]
        assert figure["seconds"] == pytest.approx(each, rel=0.01, abs=1e-6)
    assert measured["stages"]["network"]["cpu_seconds"] > 0
    assert measured["pipeline"]["seconds"] > 0


def test_threads_are_told_by_what_they_do():
    record = {"device": "cpu", "threads": 1, "torch_threads": 2}
    said = "2 threads for the network, 1 thread for the pipeline"
    assert bench_table._threads(record) == said
    assert bench_table._threads({**record, "device": "cuda:0"}) == "1 thread for the pipeline"


def test_shares_add_up_to_the_whole_one_after_the_other(measured):
    # Medians of parts are not parts of the median, but near it.
    assert sum(f["share"] for f in measured["stages"].values()) == pytest.approx(1, abs=0.3)
    assert measured["sequential"]["share"] == 1


def test_settings_are_those_that_were_asked_for(measured):
    assert (measured["threads"], measured["batch"], measured["device"]) == (3, 2, "cpu")
    assert (measured["size"], measured["precision"]) == ([96, 64], "fp32")
    assert (measured["photos"], measured["generated"], measured["rounds"]) == (2, True, 2)
    assert measured["interrupted"] is False


def test_peak_memory_is_that_of_a_process_with_torch(measured):
    assert 5e7 < measured["peak_memory"] < 1e11


def test_photos_of_the_user_are_measured_and_left_alone(inside, photos):
    before = {p: p.read_bytes() for p in photos.rglob("*") if p.is_file()}
    result = record(inside(*QUICK, "--json", "--repeat", "1", photos))
    assert (result["photos"], result["generated"]) == (2, False), "the first two, by --count"
    assert result["megapixels"] == 0.002
    assert {p: p.read_bytes() for p in photos.rglob("*") if p.is_file()} == before


def test_mask_alone_needs_no_foreground(inside):
    result = inside(*QUICK, "--repeat", "1", "--write", "mask,trimap", "--json")
    assert record(result)["stages"]["foreground"]["seconds"] == 0
    assert record(result)["write"] == ["mask", "trimap"]


def test_text_is_a_table_with_bottleneck_memory_and_spread(inside):
    shown = inside(*QUICK).stdout.decode()
    assert "least-most" in shown
    rows = {line.split()[0] for line in shown.splitlines() if line}
    assert {*NAMES, "overlapped", "bottleneck:"} <= rows
    assert "median of 2 rounds" in shown
    assert " GB" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_another_model_takes_turns_and_gives_a_ratio(inside, tiny_weights):
    against = record(inside(*QUICK, "--json", "--against", tiny_weights))["against"]
    assert against["ratio"] == pytest.approx(
        against["theirs"]["seconds"] / against["ours"]["seconds"], rel=0.05
    )
    assert against["difference"] < 1e-5  # it is the same model
    assert against["provider"] is None


@pytest.mark.parametrize(
    ("size", "said"),
    [([256, 256], ", 256x256 against 384x384: not the same work"), ([384] * 2, "")],
)
def test_a_network_of_another_size_does_other_work(size, said):
    figure = {"seconds": 1, "least": 1, "most": 1, "cpu_seconds": 1, "photos_per_second": 1}
    figure |= {"share": 1}
    against = {"name": "a", "provider": None, "size": size, "ours": figure, "theirs": figure}
    against |= {"ratio": 0.78, "cpu_ratio": None, "difference": None}
    lines = list(bench_table._comparison(against, [384, 384]))
    assert lines[-1] == f"theirs takes 0.78 times as long{said}"


@pytest.fixture(scope="module")
def two_photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        picture(120, 80, seed).save(folder / name)
    return folder


def test_price_of_an_hour_gives_the_cost_of_a_thousand_photos_of_the_whole_run(inside, two_photos):
    words = ("bench", "--model", "mini", "--repeat", "2", "--device", "cpu", two_photos)
    found = record(inside(*words, "--price", "4.59", "--json"))
    assert found["usd_per_hour"] == 4.59
    seconds = 1000 * found["pipeline"]["seconds"]  # of the whole run, overlapped
    assert found["usd_per_1000"] == pytest.approx(4.59 * seconds / 3600, rel=1e-3)
    rate = found["pipeline"]["photos_per_second"]
    assert found["usd_per_1000"] == pytest.approx(4.59 / (3.6 * rate), rel=1e-3)


COST = re.compile(
    r"cost: (\S+) USD per 1,000 photos at (\S+) USD an hour and (\S+) photos/s"
    r" \(of 0\.01 MP, mask, trimap as png\)"
)


def test_cost_is_one_more_line_at_the_end_and_follows_from_what_it_says(inside, two_photos):
    words = (*QUICK, "--write", "mask,trimap", two_photos)
    lines = inside(*words, "--price", "0.80").stdout.decode().splitlines()
    found = COST.fullmatch(lines[-1])
    assert found, lines[-1]
    cost, price, rate = (float(number) for number in found.groups())
    assert price == 0.8
    assert cost == pytest.approx(price / (3.6 * rate), rel=0.02)  # three digits each
    [row] = [line.split() for line in lines if line.startswith("overlapped")]
    assert rate == pytest.approx(float(row[3]), rel=0.01)
    assert lines[-2].startswith("peak memory")


def test_nobody_is_told_a_cost_who_gave_no_price(inside, measured):
    assert (measured["usd_per_hour"], measured["usd_per_1000"]) == (None, None)
    shown = inside(*QUICK, "--repeat", "1").stdout.decode()
    assert "USD" not in shown
    assert "cost" not in shown


def test_onnx_without_onnxruntime_says_what_to_install(start, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    without = "import sys; sys.modules['onnxruntime'] = None"
    process = start(*QUICK, "--against", tmp_path / "model.onnx", first=without)
    _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    assert b"pip install 'birefcli[bench]'" in said
    assert said.count(b"\n") == 1


def test_onnx_that_is_not_there_or_no_model_is_one_line(inside, tmp_path):
    result = inside(*QUICK, "--against", tmp_path / "none.onnx")
    assert result.returncode == 4
    assert b"no such file" in result.stderr
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    result = inside(*QUICK, "--against", tmp_path / "bad.onnx")
    assert result.returncode == 4
    assert result.stderr.count(b"\n") == 1


def test_exported_network_in_onnxruntime_is_fed_what_ours_is_fed(command, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    path = tmp_path / "mean.onnx"
    write_mean_of_channels(path)
    against = record(command(*QUICK, "--json", "--against", path))["against"]
    assert against["provider"] == "CPUExecutionProvider"
    assert against["ratio"] > 0
    assert 0 < against["difference"] <= 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["-"], 2, b"stdin"),
        (["missing.jpg"], 3, b"missing.jpg"),
        (["--megapixels", "0"], 2, b"--megapixels 0"),
        *((["--price", p], 2, f"--price {p}: give what this".encode()) for p in NO_PRICES),
        (["--price", "dear"], 2, b"--price dear: give a number above 0"),
        (["--format", "jpg"], 2, b"jpg cannot hold a cutout"),
        (["--model", "nobody"], 4, b"no model is called"),
    ],
)
def test_mistakes_are_one_line(inside, words, code, text):
    result = inside("bench", *words)
    assert result.returncode == code
    assert text in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_unreadable_photo_ends_it_with_its_name(inside, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo at all")
    result = inside("bench", tmp_path / "broken.jpg", "--device", "cpu")
    assert result.returncode == 1
    assert b"broken.jpg: not an image" in result.stderr
    assert result.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_ctrl_c_gives_the_rounds_that_ended_and_leaves_nothing_behind(environment, tmp_path):
    words = [*QUICK, "--repeat", "100000", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "birefcli", *words],
        env={**environment, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    written = set()

    def rounds():
        """Times at which a product was written: once in a round by stages, once in a run."""
        with contextlib.suppress(FileNotFoundError, StopIteration):
            written.add(next(tmp_path.glob("*/results/0-*")).stat().st_mtime_ns)
        return len(written) > 5

    wait_for(rounds, "a round's end")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, error
    found = json.loads(out)
    assert found["interrupted"] is True
    assert b"birefcli: interrupted after " in error
    assert found["rounds"] >= 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_first_round_says_interrupted(start, tmp_path):
    process = start("bench", "--megapixels", "1", "--count", "2000", TMPDIR=str(tmp_path))
    wait_for(lambda: list(tmp_path.glob("*/*.jpg")), "the first photo")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (130, b"")
    assert error.decode().strip() == "birefcli: interrupted before the first round ended"
    assert list(tmp_path.iterdir()) == []


def test_generated_photo_has_the_size_asked_for_and_is_the_same_again():
    data = synthetic.photo(0.3, 1)
    with Image.open(io.BytesIO(data)) as image:
        assert image.width * image.height == pytest.approx(300_000, rel=0.01)
        assert image.width < image.height
        grain = np.asarray(image.convert("L"), np.float32)
    again, other = (decoded(synthetic.photo(0.3, seed)).astype(int) for seed in (1, 2))
    assert np.abs(again - decoded(data)).mean() < 0.01  # filters may round what they sum
    assert np.abs(other - decoded(data)).mean() > 1
    assert 1 < np.abs(np.diff(grain, axis=1)).mean() < 20  # noise as of a sensor, no snow


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def rounds_of(**seconds):
    rounds = Rounds()
    for name in NAMES:
        for factor in (1.0, 3.0, 1.1):
            rounds.add(name, seconds.get(name, 0.001) * factor, 0.0)
    return rounds


def test_rounds_that_differ_are_reported_and_others_are_not():
    rounds = Rounds()
    for factor in (1.0, 1.1, 1.05):
        rounds.add(PIPELINE, factor, 0.0)
    assert noise_warning(rounds) is None
    rounds.add(PIPELINE, 1.6, 0.0)
    rounds.add(PIPELINE, 1.1, 0.0)
    assert noise_warning(rounds).startswith("rounds differ by 55%")


def test_figures_are_medians_with_the_least_and_the_most():
    figure = rounds_of(network=2.0).figure("network")
    assert (figure.least, figure.seconds, figure.most) == (2.0, 2.2, 6.0)


def test_bottleneck_names_the_slowest_stage_and_who_waits_for_whom():
    assert "network, 100%" in bottleneck(rounds_of(network=2.0), 2, 2)
    assert "overlap with it" in bottleneck(rounds_of(network=2.0), 2, 2)
    text = bottleneck(rounds_of(network=0.1, encode=2.0), 2, 2)
    assert text.startswith("encode")
    assert "network waiting" in text
    text = bottleneck(rounds_of(network=0.3, encode=2.0), 16, 16)
    assert text.endswith("keeps up with network, upsample and foreground")


def test_bench_measures_a_picture_of_any_kind(inside, tmp_path):
    picture(50, 30).convert("L").save(tmp_path / "grey.png")
    words = (*QUICK, "--json", "--repeat", "1", "--bits", "16", tmp_path / "grey.png")
    assert record(inside(*words))["photos"] == 1
