"""``birefcli matte`` on real files; with streams and signals, in a process of its own."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import TIMEOUT, picture
from PIL import Image, ImageCms

from birefcli.errors import ExitCode

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SAMPLES = Path(__file__).parents[2] / "samples"


def opened(file: "Path | io.BytesIO") -> Image.Image:
    """Decode to the last pixel, and close the file."""
    with Image.open(file) as image:
        image.load()
        return image


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def stderr(result: "subprocess.CompletedProcess[bytes]") -> str:
    return result.stderr.decode()


def test_folder_keeps_its_tree_and_second_run_has_nothing_to_do(command, photos, tmp_path):
    out = tmp_path / "out"
    first = command("matte", photos, "-o", out)
    assert first.returncode == 0, stderr(first)
    assert names(out) == {"a.png", "b.png", "sub/a.png"}
    assert first.stdout == b""
    assert "3 written" in stderr(first)
    for name in names(out):
        assert opened(out / name).mode == "RGBA"
        assert opened(out / name).size == (60, 40)
    second = command("matte", photos, "-o", out)
    assert second.returncode == 0
    assert "3 up to date" in stderr(second)


def test_json_has_a_line_per_photo_and_a_summary(inside, photos, tmp_path):
    (photos / "bad\n.jpg").write_text("no photo")
    result = inside("matte", photos, "-o", tmp_path / "out", "--json")
    assert result.returncode == 1
    *lines, last = [json.loads(line) for line in result.stdout.splitlines()]
    by_name = {Path(line["input"]).name: line for line in lines}
    assert by_name["bad\n.jpg"]["status"] == "failed"
    assert "not an image" in by_name["bad\n.jpg"]["error"]
    good = by_name["b.png"]
    assert good["status"] == "written"
    assert good["outputs"] == {"cutout": str(tmp_path / "out" / "b.png")}
    assert 0 <= good["coverage"] <= 1
    assert set(good["seconds"]) == {"load", "matte", "save"}
    summary = last["summary"]
    assert (summary["written"], summary["failed"]) == (3, 1)
    assert summary["device"] == "cpu"
    assert summary["precision"] == "fp32"
    assert summary["model"] == "tiny.safetensors"


@pytest.mark.parametrize(
    ("format_", "bits"), [("png", 8), ("png", 16), ("tiff", 8), ("tiff", 16), ("webp", 8)]
)
def test_every_product_in_every_format_and_depth(inside, tmp_path, format_, bits):
    source = tmp_path / "a.jpg"
    picture(64, 48).save(source, dpi=(300, 300), icc_profile=SRGB, quality=98)
    out = tmp_path / "out"
    kinds = "cutout,mask,composite,foreground,trimap"
    result = inside(
        "matte", source, "-o", out, "--write", kinds, "--format", format_, "--bits", bits,
        "--background", "#0000ff",
    )  # fmt: skip
    assert result.returncode == 0, stderr(result)
    assert names(out) == {f"{kind}/a.{format_}" for kind in kinds.split(",")}
    read = {
        kind: cv2.imread(str(out / kind / f"a.{format_}"), cv2.IMREAD_UNCHANGED)
        for kind in kinds.split(",")
    }
    peak = 255 if bits == 8 else 65535
    for kind, pixels in read.items():
        assert pixels.dtype == (np.uint8 if bits == 8 else np.uint16), kind
        assert pixels.shape[:2] == (48, 64)
    colour = {"cutout", "composite", "foreground"}
    for kind in colour:
        info = opened(out / kind / f"a.{format_}").info
        assert info["icc_profile"] == SRGB, kind
        if format_ != "webp":
            assert info["dpi"][0] == pytest.approx(300, abs=0.1)
    mask = read["mask"] if read["mask"].ndim == 2 else read["mask"][:, :, 0]
    if format_ != "tiff" or bits == 16:  # OpenCV premultiplies an 8-bit RGBA TIFF as it reads
        assert np.array_equal(read["cutout"][:, :, 3], mask)
    alpha = mask[:, :, None] / peak
    blue_over = read["foreground"] * alpha + np.array([peak, 0, 0]) * (1 - alpha)
    assert np.abs(read["composite"] - blue_over).max() <= (1.5 if bits == 8 else 3)
    trimap = read["trimap"] if read["trimap"].ndim == 2 else read["trimap"][:, :, 0]
    assert set(np.unique(trimap)) <= {0, 128 * peak // 255, peak}


def test_jpeg_composites_over_every_kind_of_background(inside, photos, tmp_path):
    grounds = tmp_path / "grounds"
    (grounds / "sub").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "sub/a.webp"):
        Image.new("RGB", (30, 30), "red").save(grounds / name)
    for i, background in enumerate(("rebeccapurple", grounds / "a.png", grounds, "blur:9")):
        out = tmp_path / f"out{i}"
        result = inside(
            "matte", photos, "-o", out, "--write", "composite", "--format", "jpg",
            "--background", background,
        )  # fmt: skip
        assert result.returncode == 0, stderr(result)
        assert names(out) == {"a.jpg", "b.jpg", "sub/a.jpg"}
        assert opened(out / "b.jpg").mode == "RGB"


def test_pipe_gives_one_png_and_nothing_else_on_stdout(command):
    data = io.BytesIO()
    picture(50, 70).save(data, "JPEG")
    result = command("matte", "-", "-o", "-", stdin=data.getvalue())
    assert result.returncode == 0, stderr(result)
    image = opened(io.BytesIO(result.stdout))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (50, 70))
    assert result.stdout.endswith(b"IEND\xaeB`\x82")


def test_broken_photo_in_a_pipe_is_named_and_leaves_stdout_empty(command):
    result = command("matte", "-", "-o", "-", stdin=b"\xff\xd8 no photo")
    assert result.returncode == 1
    assert result.stdout == b""
    assert "-: " in stderr(result)


def test_named_output_file_decides_the_format(inside, photos, tmp_path):
    out = tmp_path / "deep" / "x.tif"
    result = inside("matte", photos / "a.jpg", "-o", out, "--write", "mask")
    assert result.returncode == 0, stderr(result)
    assert opened(out).format == "TIFF"
    assert names(tmp_path / "deep") == {"x.tif"}


def test_rotated_photo_comes_out_upright_and_without_the_tag(inside, tmp_path):
    source = tmp_path / "r.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(60, 40).save(source, exif=exif)
    result = inside(
        "matte", source, "-o", tmp_path / "o.png", "--write", "foreground", "--no-refine"
    )
    assert result.returncode == 0, stderr(result)
    made = opened(tmp_path / "o.png")
    assert made.size == (40, 60)
    assert made.getexif().get(0x0112, 1) == 1
    upright = np.asarray(opened(source).convert("RGB").transpose(Image.Transpose.ROTATE_270))
    # Pillow may have another library of JPEG than the inside, one that rounds otherwise.
    assert np.abs(np.asarray(made).astype(int) - upright).mean() < 1


def test_sixteen_bit_photo_keeps_sixteen_bits(inside, tmp_path):
    deep = np.random.RandomState(1).randint(0, 65536, (20, 30, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), deep)
    result = inside(
        "matte", tmp_path / "d.png", "-o", tmp_path / "o.png", "--bits", 16, "--no-refine",
        "--write", "foreground",
    )  # fmt: skip
    assert result.returncode == 0, stderr(result)
    assert np.array_equal(cv2.imread(str(tmp_path / "o.png"), cv2.IMREAD_UNCHANGED), deep)


def test_hole_in_the_photo_stays_a_hole(inside, tmp_path):
    photo = picture(40, 40).convert("RGBA")
    photo.paste((0, 0, 0, 0), (10, 10, 20, 20))
    photo.save(tmp_path / "h.png")
    result = inside("matte", tmp_path / "h.png", "-o", tmp_path / "o.png")
    assert result.returncode == 0, stderr(result)
    alpha = np.asarray(opened(tmp_path / "o.png"))[:, :, 3]
    assert alpha[10:20, 10:20].max() == 0
    assert alpha[30:, 30:].min() > 0


def test_crop_cuts_to_the_subject_with_its_margin(inside, tmp_path):
    photo = picture(100, 100).convert("RGBA")
    hole = Image.new("L", (100, 100), 0)
    hole.paste(255, (30, 40, 60, 80))
    photo.putalpha(hole)
    photo.save(tmp_path / "c.png")
    result = inside(
        "matte", tmp_path / "c.png", "-o", tmp_path / "o.png", "--crop", "--margin", "5"
    )
    assert result.returncode == 0, stderr(result)
    assert opened(tmp_path / "o.png").size == (40, 50)


def test_one_bad_photo_costs_one_photo(inside, photos, tmp_path):
    (photos / "text.jpg").write_text("hello")
    (photos / "empty.jpg").touch()
    whole = (photos / "a.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    result = inside("matte", photos, "-o", tmp_path / "out")
    assert result.returncode == 1
    assert names(tmp_path / "out") == {"a.png", "b.png", "sub/a.png"}
    said = stderr(result)
    assert "text.jpg: not an image" in said
    assert "empty.jpg: the file is empty" in said
    assert "cut.jpg: damaged image" in said
    assert "3 written, 3 failed" in said


def test_nothing_found_is_exit_3(inside, tmp_path):
    (tmp_path / "empty").mkdir()
    result = inside("matte", tmp_path / "empty", "-o", tmp_path / "out")
    assert result.returncode == 3
    assert "no photo found" in stderr(result)
    assert not (tmp_path / "out").exists()


def test_missing_photo_is_named(inside, photos, tmp_path):
    result = inside("matte", photos / "none.jpg", photos / "a.jpg", "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "none.jpg: No such file" in stderr(result)
    assert names(tmp_path / "out") == {"a.png"}


def test_empty_name_is_refused_and_does_not_mean_the_whole_folder(inside, tmp_path):
    result = inside("matte", "", "-o", tmp_path / "out")
    assert result.returncode == 2
    assert "empty" in stderr(result)


def test_name_that_cannot_be_costs_one_photo(inside, photos, tmp_path):
    result = inside("matte", "x" * 300, photos / "a.jpg", "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "File name too long" in stderr(result)
    assert names(tmp_path / "out") == {"a.png"}


def test_nothing_is_there_of_what_was_named_is_exit_3(inside, tmp_path):
    result = inside("matte", tmp_path / "nodir", "-o", tmp_path / "out")
    assert result.returncode == 3
    assert "nodir: No such file" in stderr(result)


def test_photo_on_stdin_is_not_overwritten_by_its_result(quickly_installed, photos):
    before = (photos / "b.png").read_bytes()
    with (photos / "b.png").open("rb") as photo:
        result = subprocess.run(
            ["birefcli", "matte", "-", "-o", photos / "b.png"],
            stdin=photo,
            capture_output=True,
            check=False,
            env=quickly_installed,
        )
    assert result.returncode == 5
    assert "the photo on stdin" in stderr(result)
    assert (photos / "b.png").read_bytes() == before


def test_picture_of_another_program_is_kept_from_a_pipe_too(command, photos, tmp_path):
    picture().save(tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    data = (photos / "a.jpg").read_bytes()
    result = command("matte", "-", "-o", tmp_path / "mine.png", stdin=data)
    assert "not made by birefcli" in stderr(result)
    assert (tmp_path / "mine.png").read_bytes() == before


UNBUFFERED = [
    {},
    pytest.param({"PYTHONUNBUFFERED": ""}, marks=pytest.mark.slow),
    pytest.param({"PYTHONUNBUFFERED": "1"}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("variables", UNBUFFERED)
@pytest.mark.parametrize("read", [0, 10])
def test_picture_that_its_reader_leaves_is_exit_5(start, tmp_path, read, variables):
    noise = np.random.RandomState(0).randint(0, 256, (500, 500, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    words = ("matte", tmp_path / "a.png", "-o", "-", "--write", "foreground", "--no-refine")
    process = start(*words, **variables)
    process.stdout.read(read)
    process.stdout.close()
    assert process.wait(TIMEOUT) == 5
    assert b"a.png: Broken pipe" in process.stderr.read()


@pytest.mark.parametrize("variables", UNBUFFERED)
def test_picture_for_which_the_disk_behind_stdout_has_no_room_is_exit_5(
    quickly_installed, small_disk, tmp_path, variables
):
    noise = np.random.RandomState(0).randint(0, 256, (700, 700, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    words = ("matte", tmp_path / "a.png", "-o", "-", "--write", "foreground", "--no-refine")
    with (small_disk / "a.png").open("wb") as out:
        result = subprocess.run(
            ["birefcli", *words],
            env={**quickly_installed, **variables},
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert result.returncode == 5
    assert "No space left" in stderr(result)


@pytest.mark.parametrize("name", ["matte", "score"])
def test_reader_that_has_gone_is_exit_5_without_a_traceback(start, photos, tmp_path, name):
    if name == "score":
        Image.new("L", (40, 40), 200).save(tmp_path / "mask.png")
        Image.new("L", (40, 40), 255).save(tmp_path / "truth.png")
        process = start("score", tmp_path / "mask.png", tmp_path / "truth.png")
    else:
        process = start("matte", photos, "-o", tmp_path / "out", "--json")
    process.stdout.close()
    assert process.wait(TIMEOUT) == 5
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_behind_stdout_is_exit_5(environment, photos, tmp_path):
    words = ("matte", photos, "-o", tmp_path, "--dry-run", "--json")
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "birefcli", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=environment,
        )
    assert result.returncode == 5
    assert "standard output cannot be written" in stderr(result)


@pytest.mark.parametrize(
    "words",
    [
        ("--write", "cutouts"),
        ("--bits", "12"),
        ("--format", "webp", "--bits", "16"),
        ("--format", "jpg"),
        ("--size", "1000"),
        ("--margin", "x"),
        ("--batch", "0"),
        ("--name", "{x}"),
        ("--name", "../{stem}"),
        ("--write", "composite", "--background", "no-such-thing"),
        ("--device", "gpu"),
        ("--size", "64x"),
        ("--max-megapixels", "nan"),
        ("--name", "{stem.__class__}"),
        ("--no-such-option",),
    ],
)
def test_bad_option_is_refused_before_any_work(ended, photos, tmp_path, words):
    code, said = ended("matte", photos, "-o", tmp_path / "out", *words)
    assert code == 2, said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists() or not names(tmp_path / "out")


def test_output_is_required(inside, photos):
    result = inside("matte", photos)
    assert result.returncode == 2
    assert "--output" in stderr(result)


def test_absent_device_is_an_error_and_never_a_fallback(inside, photos, tmp_path):
    result = inside("matte", photos, "-o", tmp_path / "out", "--device", "cuda:7")
    assert result.returncode == 4
    assert "cuda:7" in stderr(result)


def test_missing_model_names_both_ways_out(inside, photos, tmp_path):
    result = inside("matte", photos, "-o", tmp_path / "out", BIREFCLI_MODEL="portrait")
    assert result.returncode == 4
    assert "birefcli models pull portrait" in stderr(result)
    assert "--model mini" in stderr(result)


def test_two_photos_for_one_target_are_refused_by_name(inside, photos, tmp_path):
    picture().save(photos / "a.png")
    result = inside("matte", photos, "-o", tmp_path / "out")
    assert result.returncode == 5
    assert "a.jpg" in stderr(result)
    assert "a.png" in stderr(result)
    assert "--name" in stderr(result)
    assert not (tmp_path / "out").exists()
    kept = inside("matte", photos, "-o", tmp_path / "out", "--name", "{name}")
    assert kept.returncode == 0
    assert names(tmp_path / "out") == {"a.jpg.png", "a.png.png", "b.png.png", "sub/a.jpg.png"}


def test_photos_are_never_overwritten(inside, photos):
    before = (photos / "b.png").read_bytes()
    result = inside("matte", photos, "-o", photos)
    assert result.returncode == 5
    assert "would be overwritten" in stderr(result)
    assert (photos / "b.png").read_bytes() == before


def test_unwritable_output_is_exit_5_before_the_model_loads(inside, photos, tmp_path):
    (tmp_path / "file").touch()
    result = inside("matte", photos, "-o", tmp_path / "file" / "out", "-m", "no.safetensors")
    assert result.returncode == 5
    assert "Traceback" not in stderr(result)


def test_names_from_a_list_may_hold_anything(command, photos, tmp_path):
    odd = os.fsencode(photos) + b"/new\nline \xff.jpg"
    Path(os.fsdecode(odd)).write_bytes((photos / "a.jpg").read_bytes())
    listing = b"\0".join([odd, os.fsencode(photos / "b.png"), b""])
    result = command(
        "matte", "--files-from", "-", "-0", "-o", tmp_path / "out", "-v", stdin=listing
    )
    assert result.returncode == 0, stderr(result)
    made = {os.fsencode(n) for n in names(tmp_path / "out")}
    assert {n.rpartition(b"/")[2] for n in made} == {b"new\nline \xff.png", b"b.png"}


def test_fail_fast_stops_at_the_first_failure(command, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "0.jpg").write_text("bad")
    for i in range(1, 30):
        picture(seed=i).save(folder / f"{i:02d}.jpg")
    result = command("matte", folder, "-o", tmp_path / "out", "--fail-fast", "--threads", 2)
    assert result.returncode == 1
    assert len(names(tmp_path / "out")) < 29


def many(folder: Path, count: int, *size: int) -> Path:
    """A folder of one photo under many names."""
    folder.mkdir()
    picture(*size).save(folder / "0000.jpg")
    for i in range(1, count):
        (folder / f"{i:04d}.jpg").hardlink_to(folder / "0000.jpg")
    return folder


def test_sigterm_leaves_no_part_file_and_exits_143(start, tmp_path):
    folder, out = many(tmp_path / "many", 1000, 400, 300), tmp_path / "out"
    process = start("matte", folder, "-o", out, "--json")
    process.stdout.readline()  # one photo is done
    process.send_signal(signal.SIGTERM)
    rest, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 143, said
    assert json.loads(rest.splitlines()[-1])["summary"]["interrupted"]
    made = names(out)
    assert made
    assert all(name.endswith(".png") for name in made)
    for name in made:
        opened(out / name)


def test_mini_cuts_the_samples_out_recognisably(inside, tmp_path):
    out = tmp_path / "out"
    result = inside("matte", SAMPLES, "-o", out, "--model", "mini", "--write", "mask")
    assert result.returncode == 0, stderr(result)
    for name, subject, ground in (
        # (row, column) as shares: on the face and the body; beside the head
        ("astronaut", [(0.25, 0.44), (0.8, 0.45)], [(0.1, 0.1), (0.1, 0.9)]),
        ("grace_hopper", [(0.3, 0.5), (0.8, 0.5)], [(0.05, 0.05), (0.1, 0.95)]),
        ("camera", [(0.22, 0.42), (0.6, 0.3)], [(0.1, 0.1), (0.2, 0.9)]),
    ):
        mask = np.asarray(opened(out / f"{name}.png"))
        height, width = mask.shape
        for y, x in subject:
            assert mask[int(y * height), int(x * width)] > 128, (name, y, x)
        for y, x in ground:
            assert mask[int(y * height), int(x * width)] < 64, (name, y, x)


def test_threads_are_told_to_sleep_before_torch_is_there_to_read_it(environment):
    code = """
import atexit, os, sys
atexit.register(lambda: print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules))
from birefcli.__main__ import main
main()
"""
    words = [sys.executable, "-c", code, "--version"]
    env = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(words, env=env, capture_output=True, check=True).stdout
    assert shown.splitlines()[-1] == b"PASSIVE False"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")]
)
def test_threads_of_torch_sleep_while_they_wait_unless_told_otherwise(
    command, tmp_path, named, policy
):
    picture().save(tmp_path / "a.png")
    result = command(
        "matte", tmp_path / "a.png", "-o", tmp_path / "o", OMP_DISPLAY_ENV="true", **named
    )
    told = [line for line in result.stderr.decode().splitlines() if "OMP_WAIT_POLICY" in line]
    if not told:
        pytest.skip("this torch has no OpenMP that shows its settings")
    assert all(policy in line for line in told)


@pytest.mark.parametrize(
    "seconds", [0.3, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.1, 0.6, 1, 1.5, 2))]
)
def test_ctrl_c_is_no_traceback_at_any_moment_of_the_start(start, tmp_path, seconds):
    folder = many(tmp_path / "in", 5000)
    run = start("matte", folder, "-o", tmp_path / "out", forked=False)
    time.sleep(seconds)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=TIMEOUT)
    # Before Python has begun, the system itself ends it, and Python before ours begins.
    early = b"Traceback" in said and b"birefcli/" not in said
    assert early or run.returncode in (ExitCode.INTERRUPTED, -signal.SIGINT), said
    assert early or said in (b"", b"birefcli: interrupted\n") or b"interrupted: " in said, said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "moments"),
    [
        (("train", "p", "-o", "w.safetensors", "--from", "mini", "--size", 64), (0.7, 1.5, 3)),
        (("export", "mini", "-o", "w.onnx"), (0.7, 2, 4)),
        (("bench", "--model", "mini"), (0.7, 2)),
        (("score", "p/im", "p/gt", "--model", "mini"), (0.6, 1.2)),
        (("sheet", "p", "-o", "s.html"), (0.5, 1)),
        (("doctor",), (1.0, 2.5)),
    ],
)
def test_a_signal_ends_each_command_while_it_starts(
    start, tmp_path, monkeypatch, words, moments, number
):
    (tmp_path / "p").mkdir()
    many(tmp_path / "p" / "im", 3000)
    (tmp_path / "p" / "gt").symlink_to("im")
    monkeypatch.chdir(tmp_path)
    code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED
    for seconds in moments:
        run = start(*words, forked=False)
        time.sleep(seconds)
        run.send_signal(number)
        _, said = run.communicate(timeout=TIMEOUT)
        # Or it was quick, or slow: nothing to do, or still ended by the system.
        over = run.returncode in (ExitCode.OK, ExitCode.NO_INPUT, ExitCode.USAGE, -number)
        assert over or run.returncode == code, said
        assert b"Traceback" not in said or b"birefcli/" not in said
        assert over or said.decode().splitlines()[-1].startswith("birefcli: "), said


NEVER_FOR_ONE_PHOTO = (
    *("numba", "llvmlite", "torchvision", "timm", "triton", "huggingface_hub", "scipy", "sympy"),
    *("torch._dynamo", "torch._inductor", "torch.onnx", "torch.fx.experimental.symbolic_shapes"),
    *("onnxruntime", "obstore", "concurrent.futures.process", "rich.markdown", "rich.traceback"),
    *("typer.rich_utils", "PIL.ImageFont", "PIL.TiffImagePlugin", "birefcli.batch.workers.pool"),
)
"""What takes its time to import, and a photo of a kind that most are needs nothing of."""


@pytest.mark.parametrize(
    "photo", ["grace_hopper.jpg", pytest.param("astronaut.png", marks=pytest.mark.slow)]
)
def test_one_photo_by_mini_imports_of_large_libraries_what_torch_does(environment, tmp_path, photo):
    code = f"""
import atexit, sys, torch
before = {{*sys.modules}}
new = lambda: sorted({{*{NEVER_FOR_ONE_PHOTO}}} & sys.modules.keys() - before)
atexit.register(lambda: print(new(), "birefcli.matting.predictor" in sys.modules))
from birefcli.__main__ import main
main()
"""
    words = ["matte", SAMPLES / photo, "-o", tmp_path / "x.png", "--model", "mini", "--quiet"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.split(b"\n")[0] == b"[] True"
    assert opened(tmp_path / "x.png").mode == "RGBA"
