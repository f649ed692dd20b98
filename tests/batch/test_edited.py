"""What a person did to a product: it is known, kept and named; other kinds are never replaced."""

import io
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from birefcli.batch import checks, freshness, places, stages, stores, survey
from birefcli.batch.freshness import Verdict, decide
from birefcli.batch.outcome import Status
from birefcli.batch.places import OVERTAKEN, LeftAloneError, LocalFile
from birefcli.batch.reporter import NullReporter
from birefcli.batch.run import run
from birefcli.batch.stores import StoredProduct
from birefcli.batch.targets import Job
from birefcli.errors import OutputError
from birefcli.images import stamp
from birefcli.images.encode import encode
from birefcli.images.formats import png
from birefcli.images.metadata import Metadata
from birefcli.images.stamp import Stamp
from birefcli.options import (
    BatchOptions,
    BatchTask,
    Existing,
    Format,
    ModelOptions,
    Precision,
    Product,
    Rendering,
    Selection,
)
from birefcli.review.contact_sheet import encode_page
from birefcli.system.object_store import ObjectStore
from birefcli.system.object_url import parse_url

RGB = np.asarray(picture(90, 70))
RGBA = np.dstack([RGB, np.where(RGB[..., 0] > 99, 255, 0).astype(np.uint8)])
WAYS = {
    "png": (RGBA, Format.PNG, {}),
    "png of 16 bits": (RGBA.astype(np.uint16) * 257, Format.PNG, {}),
    "webp": (RGBA, Format.WEBP, {}),
    "lossy webp": (RGBA, Format.WEBP, {"quality": 60}),
    "jpg": (RGB, Format.JPG, {}),
    "tiff": (RGBA, Format.TIFF, {}),
    "avif": (RGBA, Format.AVIF, {}),
}
EDITED, UP_TO_DATE = Verdict.EDITED.message, Verdict.UP_TO_DATE.message
NOT_OURS, OPTIONS = Verdict.NOT_OURS.message, Verdict.OPTIONS.message
UNKNOWN = Verdict.UNKNOWN.message
MADE, OTHER = "0" * 16, "1" * 16  # fingerprints
CUTOUT = Product.CUTOUT


@pytest.fixture
def job(tmp_path: Path) -> Job:
    picture().save(tmp_path / "a.jpg")
    return job_for(tmp_path / "a.jpg", {CUTOUT: LocalFile(tmp_path / "made")})


def job_for(photo, targets) -> Job:
    return Job(LocalFile(photo), targets, Path(photo.name))


def product(job, way="png", kind=CUTOUT, *, edited=False) -> bytes:
    """A product that is up to date where its model and options are ``MADE``."""
    pixels, format_, how = WAYS[way]
    text = Stamp(MADE, "fp32", kind.value, *job.source.state()).text()
    data = encode(pixels, format_, metadata=Metadata(stamp=text), **how)
    return retouched(data, way, text) if edited else data


def retouched(data: bytes, way: str, text: str) -> bytes:
    """As an editor saves it that keeps what it does not know: the stamp of the old pixels."""
    pixels, format_, how = WAYS[way]
    other = pixels.copy()
    other[:9, :9] = ~other[:9, :9]
    with pytest.MonkeyPatch.context() as patched:
        whole = data[data.index(text.encode()) :]
        patched.setattr(
            stamp, "with_checksum", lambda *_, **__: whole[: whole.index(b";") + 1].decode()
        )
        return encode(other, format_, metadata=Metadata(stamp=text), **how)


def decided(job, fingerprint=MADE, existing=Existing.UPDATE):
    return decide(job, existing, dict.fromkeys(Product, fingerprint), Precision.AUTO)


def lay(job, data: bytes, kind=CUTOUT) -> Path:
    path = job.targets[kind].path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Known as edited


@pytest.mark.parametrize("way", WAYS)
def test_a_product_with_other_pixels_is_kept_whatever_is_out_of_date(job, way):
    path = lay(job, product(job, way, edited=True))
    for fingerprint in (MADE, OTHER):
        found = decided(job, fingerprint)
        assert (found.job.targets, found.reason) == ({}, EDITED)
        assert found.kept == {str(path): EDITED}
    os.utime(job.source.path, ns=(1, 1))
    assert decided(job).reason == EDITED
    assert decided(job, existing=Existing.SKIP).reason == Verdict.EXISTS.message
    assert decided(job, existing=Existing.OVERWRITE).job.targets == job.targets


@pytest.mark.parametrize("way", WAYS)
def test_a_product_that_was_copied_or_touched_is_ours(job, way, tmp_path):
    shutil.copy(lay(job, product(job, way)), tmp_path / "copy")
    (tmp_path / "copy").replace(job.targets[CUTOUT].path)
    os.utime(job.targets[CUTOUT].path, ns=(5, 5))
    assert decided(job).reason == UP_TO_DATE
    found = decided(job, OTHER)
    assert (found.job.targets, found.reason) == (job.targets, OPTIONS)


def test_a_title_changes_no_pixels(job):
    lay(job, titled(product(job)))
    assert decided(job).reason == UP_TO_DATE
    assert decided(job, OTHER).reason == OPTIONS


def titled(data: bytes) -> bytes:
    """A PNG with one text more, before its pixels."""
    return data[:33] + b"\0\0\0\7tEXtTitle\0x\0\0\0\0" + data[33:]


def test_an_edit_of_equal_length_is_seen_before_it_would_be_replaced(job):
    data = product(job)
    at = data.index(b"IDAT") + 60
    lay(job, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert decided(job).reason == UP_TO_DATE
    assert decided(job, OTHER).reason == EDITED


@pytest.mark.parametrize("way", ["png", "jpg"])
def test_a_picture_that_pillow_saves_with_its_texts_is_edited(job, way):
    path = lay(job, product(job, way))
    with Image.open(path) as image:
        image.load()
        texts = PngInfo()
        for key, text in getattr(image, "text", {}).items():
            texts.add_text(key, text)
        how = {"pnginfo": texts} if way == "png" else {"comment": image.info["comment"]}
        image.putpixel((3, 3), (255,) * len(image.getbands()))
        image.save(path, image.format, **how)
    assert decided(job).reason == EDITED
    assert decided(job, OTHER).reason == EDITED


def test_a_product_that_lacks_its_end_is_damaged_and_one_with_more_behind_it_is_not(job):
    data = product(job, "jpg")
    lay(job, data[:-9])
    assert decided(job).reason == Verdict.DAMAGED.message
    lay(job, data + b"a film")
    assert decided(job).reason == EDITED
    lay(job, product(job, "tiff") + b"somebody's")
    assert decided(job).reason == UP_TO_DATE


@pytest.mark.parametrize("way", ["png", "jpg"])
def test_a_smaller_edit_with_bytes_behind_its_picture_is_no_damage(job, way, monkeypatch):
    """As apps of galleries append them; and what a disk leaves of it is damaged all the same."""
    pixels = np.random.RandomState(0).randint(0, 256, RGBA.shape).astype(np.uint8)
    monkeypatch.setitem(WAYS, way, (pixels[..., : WAYS[way][0].shape[2]], *WAYS[way][1:]))
    before = product(job, way)
    monkeypatch.setitem(WAYS, way, (RGBA if way == "png" else RGB, *WAYS[way][1:]))
    text = Stamp(MADE, "fp32", CUTOUT.value, *job.source.state()).text()
    edited = retouched(before, way, text)
    assert len(edited) + 5000 < len(before)
    for more in (b"more", b"more" * 1200):
        lay(job, edited + more)
        assert decided(job).reason == decided(job, OTHER).reason == EDITED
    for cut in (edited[:-1], edited[:-9], edited[: len(edited) // 2]):
        lay(job, cut)
        assert decided(job).reason == Verdict.DAMAGED.message
    lay(job, cut + bytes(3000))
    assert decided(job).reason == Verdict.DAMAGED.message


def test_a_product_of_an_earlier_version_is_kept_unless_its_checksum_says_that_it_is_ours(
    job, monkeypatch
):
    for text, reason in {
        f"birefcli:2 {MADE} fp32 cutout 1 2;": UNKNOWN,
        "birefcli:4 of later 000000000009 000000000009 00000009;": EDITED,
    }.items():
        with monkeypatch.context() as patched:
            patched.setattr(stamp, "with_checksum", lambda *_, text=text, **__: text)
            lay(job, product(job))
        found = decided(job)
        assert (found.job.targets, found.reason) == ({}, reason)
    lay(job, product(job).replace(b"birefcli:3", b"birefcli:4"))
    assert decided(job).reason == OPTIONS


def test_of_several_products_the_edited_one_is_kept_by_name_and_the_others_are_done(job, tmp_path):
    targets = {kind: LocalFile(tmp_path / kind.value) for kind in (CUTOUT, Product.MASK)}
    both = replace(job, targets=targets)
    lay(both, product(both))
    lay(both, product(both, kind=Product.MASK, edited=True), Product.MASK)
    assert str(decided(both).reason) == f"{UP_TO_DATE}, {tmp_path / 'mask'}: {EDITED}"
    found = decided(both, OTHER)
    assert list(found.job.targets) == [CUTOUT]
    assert str(found.reason) == f"{OPTIONS}, {tmp_path / 'mask'}: {EDITED}"
    assert found.kept == {str(targets[Product.MASK]): EDITED}


PROGRAMS = {
    "exiftool": ["-q", "-overwrite_original", "-Title=x", "made"],
    "convert": ["made", "-fill", "red", "-draw", "rectangle 5,5 20,20", "made"],
    "optipng": ["-quiet", "-force", "made"],
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("way", ["png", "jpg", "tiff"])
def test_what_programs_leave_is_never_lost(job, tmp_path, program, way):
    """A title leaves a product ours, or unknown; drawing and packing it anew make it theirs."""
    if shutil.which(program) is None or (program == "optipng" and way != "png"):
        pytest.skip(f"{program} is not here, or does not know {way}")
    before = product(job, way)
    named = tmp_path / f"made.{way}"
    named.write_bytes(before)
    words = [named.name if word == "made" else word for word in PROGRAMS[program]]
    subprocess.run([program, *words], cwd=tmp_path, check=True, capture_output=True)
    assert lay(job, named.read_bytes()).read_bytes() != before
    expected = {UP_TO_DATE, NOT_OURS} if program == "exiftool" else {EDITED, NOT_OURS}
    assert decided(job).reason in expected
    assert decided(job, OTHER).reason in (
        {OPTIONS, NOT_OURS} if UP_TO_DATE in expected else expected
    )


# What a look costs


def test_a_run_over_what_is_up_to_date_reads_two_windows_of_each(job, tmp_path, monkeypatch):
    pixels = np.random.RandomState(0).randint(0, 256, (200, 200, 4)).astype(np.uint8)
    monkeypatch.setitem(WAYS, "png", (pixels, Format.PNG, {}))
    read = []

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            read.append(len(data))
            return data

    jobs = [replace(job, targets={CUTOUT: LocalFile(tmp_path / f"{n}.png")}) for n in range(20)]
    for each in jobs:
        assert len(lay(each, product(each)).read_bytes()) > 100_000
    monkeypatch.setattr(places, "open_regular", Counting)
    wanted = dict.fromkeys(Product, MADE)
    found = survey.decide_all(jobs, Existing.UPDATE, lambda _: wanted, Precision.AUTO)
    assert [decision.reason for decision in found] == [UP_TO_DATE] * 20
    assert sum(read) <= 20 * 2 * stamp.WINDOW
    assert len(read) == 40
    assert decided(jobs[0], OTHER).reason == OPTIONS
    assert sum(read) > 100_000, "what would be replaced is read"


# Another kind


@pytest.fixture
def task(tmp_path, tiny_weights):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        picture().save(tmp_path / "in" / name)
    chosen = Selection((str(tmp_path / "in"),), str(tmp_path / "out"))

    def make(*kinds, **more):
        model = ModelOptions(str(tiny_weights), device="cpu")
        options = BatchOptions(Rendering(kinds), model, None, 1, 10**6, 10**9)
        return BatchTask(chosen, options, **more)

    return make


@pytest.fixture
def cutouts(task, tmp_path):
    for name in ("a", "b"):
        photo = tmp_path / "in" / f"{name}.jpg"
        path = tmp_path / "out" / f"{name}.png"
        job = job_for(photo, {CUTOUT: LocalFile(path)})
        lay(job, product(job))
    return tmp_path / "out"


def test_a_product_of_another_kind_refuses_the_run_before_any_work(task, cutouts, monkeypatch):
    before = {path: path.read_bytes() for path in cutouts.iterdir()}
    for dry_run in (True, False):
        with pytest.raises(OutputError) as refused:
            run(task(Product.MASK, dry_run=dry_run))
        assert str(refused.value) == (
            f"{cutouts / 'a.png'}: is a cutout, and a mask is to be written there; 1 more like"
            " this; choose another output, or use existing=overwrite"
        )
    assert {path: path.read_bytes() for path in cutouts.iterdir()} == before
    (cutouts / "a.png").write_bytes(b"theirs")
    for existing in (Existing.UPDATE, Existing.SKIP):
        with pytest.raises(OutputError, match=r"b\.png: is a cutout, .* there; choose"):
            run(task(Product.MASK, existing=existing))
    assert (cutouts / "b.png").read_bytes() == before[cutouts / "b.png"]
    (cutouts / "b.png").unlink()
    assert run(task(Product.MASK, existing=Existing.SKIP)).exit_code == 0
    assert (cutouts / "a.png").read_bytes() == b"theirs"


def test_an_edited_result_beside_its_photo_is_named_with_the_ways_out(task, tmp_path):
    here = tmp_path / "in"
    there = task(CUTOUT)
    selection = replace(there.selection, output=str(here))
    assert run(replace(there, selection=selection)).exit_code == 0
    assert run(replace(there, selection=selection)).exit_code == 0, "results are no photos"
    picture().save(here / "a.png")  # without the stamp
    with pytest.raises(OutputError) as refused:
        run(replace(there, selection=selection))
    assert str(refused.value) == (
        f"{here}/a.jpg and {here}/a.png would both be written to {here}/a.png, which may be a"
        " result that was edited; choose another output, or leave it out with exclude=a.png"
    )
    edited = (here / "a.png").read_bytes()
    named = replace(selection, name="{stem}_m", exclude=("a.png",))
    picture().save(here / "a_m.png")
    with pytest.raises(OutputError) as refused:
        run(replace(there, selection=named))
    assert str(refused.value) == (
        f"{here}/a_m.png would be overwritten by the result of {here}/a.jpg; if it is a result that"
        " was edited, leave it out with exclude='*_m.png'; or choose another output"
    )
    named = replace(selection, name="{stem}_m", exclude=("a.png", "*_m.png"))
    assert run(replace(there, selection=named)).exit_code == 0
    (here / "a_m.png").unlink()
    edited = (here / "a.png").read_bytes()
    assert run(replace(there, selection=replace(selection, exclude=("a.png",)))).exit_code == 0
    assert (here / "a.png").read_bytes() == edited


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_somebody_made_is_named_and_counted_where_it_is_overwritten(task, cutouts, dry_run):
    """A dry run is when one wants to know; afterwards it is worth knowing, too."""
    job = job_for(cutouts.parent / "in" / "a.jpg", {CUTOUT: LocalFile(cutouts / "a.png")})
    lay(job, product(job, edited=True))
    picture().save(cutouts / "b.png")
    picture().save(cutouts.parent / "in" / "c.jpg")
    mask = job_for(cutouts.parent / "in" / "c.jpg", {CUTOUT: LocalFile(cutouts / "c.png")})
    lay(mask, product(mask, kind=Product.MASK))
    outcomes, named = [], []

    class Collected(NullReporter):
        def on_outcome(self, outcome):
            outcomes.append((Path(outcome.input).name, str(outcome.reason)))
            if outcome.notable:
                named.append(Path(outcome.input).name)

    summary = run(task(CUTOUT, existing=Existing.OVERWRITE, dry_run=dry_run), Collected())
    assert dict(outcomes) == {
        "a.jpg": "replaces one that was edited since it was made",
        "b.jpg": "replaces a file that birefcli did not make",
        "c.jpg": "replaces a product of another kind",
    }
    # A dry run prints all of them anyway.
    assert sorted(named) == ([] if dry_run else ["a.jpg", "b.jpg"])
    counts = f"{'to replace' if dry_run else 'replaced'}: 1 edited, 1 not made by birefcli"
    assert summary.line().endswith(f"; {counts}")
    assert '"replaced": {"edited": 1, "foreign": 1}' in summary.as_json()
    if not dry_run:
        assert run(task(CUTOUT)).counts[Status.CURRENT] == 3


def test_other_kinds_go_where_they_are_to_be_overwritten_or_beside_each_other(task, cutouts):
    both = task(CUTOUT, Product.MASK)
    assert run(both).exit_code == 0
    assert stamp.read(cutouts / "mask" / "a.png").stamp.product == "mask"
    assert run(task(Product.MASK, existing=Existing.OVERWRITE)).exit_code == 0
    assert stamp.read(cutouts / "a.png").stamp.product == "mask"


def test_another_kind_is_refused_with_ways_out(job, tmp_path):
    target = tmp_path / "made.png"
    one = replace(job, targets={Product.MASK: LocalFile(target)})
    two = replace(job, targets={Product.MASK: LocalFile(target), CUTOUT: LocalFile(tmp_path / "c")})
    sheet = encode_page(RGB, Format.PNG, "made.png")
    for each, there, what in (
        (one, product(job), "a cutout"),
        (two, product(job), "a cutout"),
        (one, sheet, "a contact sheet"),
    ):
        target.write_bytes(there)
        found = decided(each)
        assert found.job.targets == {}
        with pytest.raises(OutputError) as refused:
            checks.refuse_other_kinds([found])
        assert str(refused.value) == (
            f"{target}: is {what}, and a mask is to be written there; choose another output, or use"
            " existing=overwrite"
        )


def test_photo_by_photo_another_kind_fails_its_photo_alone(task, cutouts):
    (cutouts / "b.png").unlink()
    before = (cutouts / "a.png").read_bytes()
    summary = run(task(Product.MASK, photo_by_photo=True))
    assert summary.exit_code == 1
    assert stamp.read(cutouts / "b.png").stamp.product == "mask"
    assert (cutouts / "a.png").read_bytes() == before


# What a person is told


class Told(NullReporter):
    """Keeps what is said."""

    def __init__(self):
        self.outcomes, self.notices = {}, []

    def on_outcome(self, outcome):
        self.outcomes[Path(outcome.input).name] = outcome

    def on_notice(self, message):
        self.notices.append(str(message))


def test_a_run_names_what_it_keeps_and_says_how_it_is_replaced(task, tmp_path):
    both = task(CUTOUT, Product.MASK)
    assert run(both).exit_code == 0
    path = tmp_path / "out" / "mask" / "a.png"
    with Image.open(path) as image:
        image.load()
        texts = PngInfo()
        texts.add_text("Software", image.text["Software"])
        image.putpixel((3, 3), 99)
        image.save(path, pnginfo=texts)
    before = path.read_bytes()
    said = f"{path}: {EDITED}"

    def told(task):
        reporter = Told()
        run(task, reporter)
        outcomes = [reporter.outcomes[name] for name in ("a.jpg", "b.jpg")]
        assert path.read_bytes() == before
        return [(o.status.value, str(o.reason), len(o.outputs)) for o in outcomes], reporter.notices

    assert told(both) == (
        [("skipped", f"up to date, {said}", 2), ("current", "up to date", 2)],
        [],
    )
    cropped = replace(
        both, options=replace(both.options, rendering=replace(both.options.rendering, crop=True))
    )
    for dry_run, status in ((True, "pending"), (False, "written")):
        assert told(replace(cropped, dry_run=dry_run)) == (
            [(status, f"{OPTIONS}, {said}", 1), (status, str(OPTIONS), 2)],
            [said],
        )
    run(replace(both, existing=Existing.OVERWRITE))
    assert path.read_bytes() != before


def test_the_command_line_is_told_of_another_kind_in_its_own_words(ended, cutouts, tiny_weights):
    words = ("matte", cutouts.parent / "in", "-o", cutouts, "--write", "mask", "-m", tiny_weights)
    assert ended(*words) == (
        5,
        f"birefcli: {cutouts / 'a.png'}: is a cutout, and a mask is to be written there; 1 more"
        " like this; choose another --output, or use --existing overwrite\n",
    )


# While a run is on


def test_a_product_that_changes_between_the_look_and_the_writing_stays(job):
    path = lay(job, product(job))
    [target] = decided(job, OTHER).job.targets.values()
    stages.write(replace(job, targets={CUTOUT: target}), CUTOUT, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(LeftAloneError) as left:
        target.write(b"newer")
    assert left.value.reason == OVERTAKEN
    path.unlink()
    target.write(b"newest")
    assert path.read_bytes() == b"newest"
    [target] = decided(job, existing=Existing.OVERWRITE).job.targets.values()
    path.write_bytes(b"whatever")
    target.write(b"last")
    assert path.read_bytes() == b"last"


def test_what_is_saved_while_it_is_looked_at_stays(job, monkeypatch):
    path = lay(job, product(job))
    look_for = freshness.has_own_pixels

    def saved_meanwhile(*args, **more):
        found = look_for(*args, **more)
        path.write_bytes(b"by hand")
        return found

    monkeypatch.setattr(freshness, "has_own_pixels", saved_meanwhile)
    [target] = decided(job, OTHER).job.targets.values()
    with pytest.raises(LeftAloneError):
        target.write(b"new")
    assert path.read_bytes() == b"by hand"


@pytest.mark.parametrize("existing", [Existing.UPDATE, Existing.SKIP, Existing.ERROR])
@pytest.mark.parametrize("stored", [False, True])
def test_what_appears_after_the_look_stays(job, put, existing, stored):
    if stored:
        job = replace(job, targets={CUTOUT: StoredProduct(parse_url("s3://b/out/a.png"))})
    place = job.targets[CUTOUT]
    lay_there = (lambda data: put(str(place), data)) if stored else place.path.write_bytes

    def there():
        with place.look() as look:
            look.file.seek(0)
            return look.file.read()

    [target] = decided(job, existing=existing).job.targets.values()
    made = product(job)
    for theirs in (b"by hand", product(job, edited=True), product(job, kind=Product.MASK)):
        lay_there(theirs)
        with pytest.raises(LeftAloneError) as left:
            target.write(made)
        assert (left.value.reason, there()) == (OVERTAKEN, theirs)
    other = made.replace(b"fp32", b"fp16")
    lay_there(other)
    with pytest.raises(LeftAloneError) as left:
        target.write(made)
    assert (left.value.reason, there()) == (places.MADE_MEANWHILE, other)
    job.targets[CUTOUT].write(made)
    assert there() == made


def test_what_a_lost_worker_has_written_is_known_and_what_lay_there_before_is_not(job):
    path = lay(job, product(job))
    before = decided(job, OTHER)
    assert not freshness.is_made_since(before)
    path.write_bytes(product(job).replace(MADE.encode(), OTHER.encode()))
    assert freshness.is_made_since(before)
    path.write_bytes(product(job, kind=Product.MASK).replace(MADE.encode(), OTHER.encode()))
    assert not freshness.is_made_since(before)
    path.unlink()
    missing = decided(job)
    path.write_bytes(b"somebody's")
    assert not freshness.is_made_since(missing)
    path.write_bytes(product(job))
    assert freshness.is_made_since(missing)
    os.utime(job.source.path, ns=(1, 1))
    assert not freshness.is_made_since(missing), "of the photo as it was"
    assert not freshness.is_made_since(decided(job, existing=Existing.OVERWRITE))


def test_a_link_to_nothing_is_no_file_that_appeared(job, tmp_path):
    path = job.targets[CUTOUT].path
    path.symlink_to(tmp_path / "nowhere")
    [target] = decided(job).job.targets.values()
    target.write(b"new")
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="folder"):
        target.write(b"new")


def test_what_somebody_saves_while_a_run_is_on_stays_and_is_named(task, tmp_path):
    both = task(CUTOUT, Product.MASK)
    run(both)
    saved = [tmp_path / "out" / name for name in ("cutout/a.png", "mask/a.png", "mask/b.png")]

    class Retoucher(Told):
        def on_start(self, pace):
            for path in saved:
                path.write_bytes(b"by hand")

    rendering = replace(both.options.rendering, crop=True)
    reporter = Retoucher()
    run(replace(both, options=replace(both.options, rendering=rendering)), reporter)
    assert {path.read_bytes() for path in saved} == {b"by hand"}
    first, second = reporter.outcomes["a.jpg"], reporter.outcomes["b.jpg"]
    assert (first.status.value, first.reason) == ("skipped", OVERTAKEN)
    assert (second.status.value, second.notes[-1]) == (
        "written",
        f"{saved[-1]}: {OVERTAKEN}",
    )


# In a store


def test_a_stamp_behind_the_pixels_is_read_by_a_second_small_read(job, put, monkeypatch):
    data = product(job)
    [chunk] = [bytes(each.whole) for each in png.chunks(data) if each.name == b"tEXt"]
    url = parse_url("s3://b/out/a.png")
    moved = data.replace(chunk, b"").replace(b"\0\0\0\0IEND", chunk + b"\0\0\0\0IEND")
    monkeypatch.setattr(stamp, "WINDOW", 300)
    put(str(url), moved)
    reads, read_range = [], ObjectStore.read_range

    def counted(self, *args):
        reads.append(args)
        return read_range(self, *args)

    monkeypatch.setattr(ObjectStore, "read_range", counted)
    assert stores.stamp_of(stores.find_photo(url)).product == CUTOUT.value
    assert len(reads) == 2


def test_an_object_that_is_written_while_it_is_looked_at_is_looked_at_again(job, put, monkeypatch):
    url = parse_url("s3://b/out/a.png")
    stored = replace(job, targets={CUTOUT: StoredProduct(url)})
    put(str(url), product(job))
    heads, opens = [], []
    head, opened = ObjectStore.head, ObjectStore.open

    def counted(self, key):
        heads.append(key)
        return head(self, key)

    def written_after(self, *args):
        file = opened(self, *args)
        if not opens:
            put(str(url), titled(product(job)))
        opens.append(file)
        return file

    monkeypatch.setattr(ObjectStore, "head", counted)
    assert decided(stored, OTHER).reason == OPTIONS
    assert len(heads) == 1, "asked once"
    monkeypatch.setattr(ObjectStore, "open", written_after)
    found = decided(stored, OTHER)
    assert (found.trouble, found.reason, len(opens)) == (None, OPTIONS, 2)

    monkeypatch.setattr(freshness, "TRIES", 1)
    opens.clear()
    put(str(url), product(job))
    found = decided(stored, OTHER)
    assert found.trouble is not None
    assert "cannot be read, and stays" in str(found.trouble)


@pytest.mark.parametrize("count", [3, 9])
@pytest.mark.parametrize("way", ["png", "tiff"])
def test_objects_are_read_whole_only_where_they_would_be_replaced(
    job, count, way, put, monkeypatch
):
    urls = [parse_url(f"s3://b/out/{n}.{way}") for n in range(count)]
    jobs = [replace(job, targets={CUTOUT: StoredProduct(url)}) for url in urls]
    for url in urls:
        put(str(url), product(job, way))
    put(str(urls[1]), product(job, way, edited=True))
    spans = []
    read_range = ObjectStore.read_range

    def counted(self, key, start, length, *rest):
        spans.append((key, length))
        return read_range(self, key, start, length, *rest)

    monkeypatch.setattr(ObjectStore, "read_range", counted)

    def reasons(fingerprint):
        spans.clear()
        wanted = dict.fromkeys(Product, fingerprint)
        found = survey.decide_all(jobs, Existing.UPDATE, lambda _: wanted, Precision.AUTO)
        return found, [decision.reason for decision in found]

    found, told = reasons(MADE)
    assert told == [UP_TO_DATE, EDITED] + [UP_TO_DATE] * (count - 2)
    assert {key for key, length in spans if length > stamp.WINDOW} == {urls[1].key}
    found, told = reasons(OTHER)
    assert told == [OPTIONS, EDITED] + [OPTIONS] * (count - 2)
    whole = len(product(job, way))
    read = [length for key, length in spans if key == urls[0].key and length != stamp.WINDOW]
    assert sum(read) <= whole, "once"
    assert found[1].kept == {str(urls[1]): EDITED}

    [target] = found[0].job.targets.values()
    put(str(urls[0]), b"of somebody else")
    with pytest.raises(LeftAloneError):
        target.write(b"new")
    [target] = found[-1].job.targets.values()
    target.write(b"new")
    with target.find(again=True).look() as look:
        assert look.file.read() == b"new"
