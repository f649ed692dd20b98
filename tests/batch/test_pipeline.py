"""A run over real files with a fake network: order, failures, memory, and the way to pixels."""

import dataclasses
import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import TIMEOUT, picture, wait_for
from PIL import Image
from support import levels_apart
from torch import nn

from birefcli.batch import pipeline, places, stages
from birefcli.batch.freshness import Decision, Verdict, decide
from birefcli.batch.memory import BYTES_PER_PIXEL
from birefcli.batch.outcome import Status
from birefcli.batch.pipeline import Pipeline, batches
from birefcli.batch.places import LocalFile
from birefcli.batch.stages import StageContext
from birefcli.batch.targets import Job
from birefcli.errors import PhotoError
from birefcli.images import stamp
from birefcli.images.decode import decode_photo
from birefcli.images.photo import Photo
from birefcli.matting.device import Placement
from birefcli.matting.predictor import (
    MEAN,
    STD,
    ForegroundOptions,
    Predictor,
    enlarge,
    enlarged_levels,
)
from birefcli.options import (
    BatchOptions,
    Existing,
    Format,
    ModelOptions,
    Precision,
    Product,
    Rendering,
    Size,
)
from birefcli.products.background import parse_background
from birefcli.system.prefetch import prefetch

SIZE = Size(64, 32)  # of the network's input
FP32 = Placement(torch.device("cpu"), Precision.FP32)
FP16 = Placement(torch.device("cpu"), Precision.FP16)


class Bright(nn.Module):
    """Calls the brighter half of grey values subject, and counts the photos of each batch."""

    def __init__(self, sharpness=10.0):
        super().__init__()
        self.sharpness = sharpness
        self.seen = []

    def forward(self, batch):
        self.seen.append((len(batch), batch.dtype))
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        grey = (batch.float() * std + mean).mean(1, keepdim=True)
        return (self.sharpness * (2 * grey - 1)).to(batch.dtype)


class Small(Bright):
    """Out of memory for batches of more than ``room`` photos, and for any photo that is black."""

    def __init__(self, room=1, *, black=False):
        super().__init__()
        self.room, self.black = room, black

    def forward(self, batch):
        logits = super().forward(batch)
        dark = self.black and bool((logits.flatten(1).max(1).values < -9).any())
        if len(batch) > self.room or dark:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return logits


class Overflowing(Bright):
    """Gives NaN for photos that are white, in half precision or in all."""

    def __init__(self, *, always=False):
        super().__init__()
        self.always = always

    def forward(self, batch):
        logits = super().forward(batch)
        if self.always or batch.dtype != torch.float32:
            white = logits.flatten(1).min(1).values > 9
            logits[white, :, 3, 5] = float("nan")
        return logits


def options(*, batch=1, threads=2, memory=10**9, **rendering):
    return BatchOptions(
        rendering=Rendering(**{"products": (Product.MASK,), **rendering}),
        model=ModelOptions("fake", offline=True, device="cpu", precision=Precision.FP32),
        batch=batch,
        threads=threads,
        max_pixels=10_000_000,
        max_memory=memory,
    )


def a_run(network=None, *, batch=1, threads=2, memory=10**9, placement=FP32, **rendering):
    chosen = options(batch=batch, threads=threads, memory=memory, **rendering)
    background = parse_background(chosen.rendering.background, chosen.max_pixels)
    predictor = Predictor(network or Bright(), SIZE, placement)
    return Pipeline(StageContext(chosen, predictor, background), batch)


def level_photo(path, level, size=(24, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


def decision(source, out, products=(Product.MASK,), suffix=".png"):
    targets = {kind: LocalFile(out / f"{source.stem}-{kind.value}{suffix}") for kind in products}
    return Decision(
        Job(LocalFile(source), targets, Path(source.name)),
        {str(target): Verdict.MISSING for target in targets.values()},
        fingerprints=dict.fromkeys(targets, "0" * 16),
    )


@pytest.fixture
def todo(tmp_path):
    """Nine photos from black to white; the third is no photo and the sixth is not there."""
    decisions = []
    for i in range(9):
        source = tmp_path / f"{i}.png"
        level_photo(source, i * 255 // 8)
        decisions.append(decision(source, tmp_path / "out"))
    (tmp_path / "2.png").write_text("no photo")
    (tmp_path / "5.png").unlink()
    return decisions


GOOD, BAD = [0, 1, 3, 4, 6, 7, 8], [2, 5]


def finished(run, todo, seconds=TIMEOUT):
    """Outcomes of a whole run; a run that hangs is a failure and no endless wait."""
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.extend(run(todo)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "the run hangs"
    return outcomes


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def same(one, other):
    """Whether both hold the same pictures; a batch may round an alpha that lies between levels."""
    assert one.keys() == other.keys()
    pairs = zip(map(shown, one.values()), map(shown, other.values()), strict=True)
    return all(levels_apart(a, b) <= 1 for a, b in pairs)


def shown(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


# Order and failures


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("threads", [1, 3])
def test_outcomes_come_in_the_order_of_the_photos(todo, monkeypatch, batch, threads):
    read = decode_photo

    def slowly(data, *more):
        time.sleep(0.03 if len(data) % 2 else 0)
        return read(data, *more)

    monkeypatch.setattr(stages, "decode_photo", slowly)
    outcomes = finished(a_run(batch=batch, threads=threads), todo)
    assert [o.input for o in outcomes] == [d.job.label for d in todo]


@pytest.mark.parametrize("batch", [1, 2, 4, 20])
def test_one_bad_photo_costs_one_photo(todo, tmp_path, batch):
    outcomes = finished(a_run(batch=batch), todo)
    statuses = [o.status for o in outcomes]
    assert [i for i, s in enumerate(statuses) if s is Status.FAILED] == BAD
    assert [i for i, s in enumerate(statuses) if s is Status.WRITTEN] == GOOD
    assert "not an image" in str(outcomes[2].error)
    assert str(outcomes[5].error).startswith("No such file")
    assert sorted(written(tmp_path / "out")) == [f"{i}-mask.png" for i in GOOD]


def test_size_of_the_batch_does_not_show_in_the_files(todo, tmp_path):
    results = []
    for batch in (1, 2, 3, 20):
        finished(a_run(batch=batch), todo)
        results.append(written(tmp_path / "out"))
    assert all(same(result, results[0]) for result in results)
    assert len(set(results[0].values())) > 3, "the photos differ"


def test_network_gets_full_batches_of_good_photos(todo):
    network = Bright()
    finished(a_run(network, batch=20, threads=9), todo)
    assert [n for n, _ in network.seen] == [len(GOOD)]


def test_outcome_tells_what_was_written_and_how_much_of_it_is_subject(todo):
    outcomes = finished(a_run(), todo)
    assert outcomes[0].outputs == todo[0].job.targets
    assert (outcomes[0].reason, outcomes[0].is_new) == (Verdict.MISSING.message, True)
    assert (outcomes[0].notable, outcomes[8].notable) == (True, False)
    assert outcomes[0].coverage < 0.001
    assert outcomes[8].coverage > 0.999
    assert outcomes[0].notes == ("no subject found (empty matte)",)
    assert outcomes[8].notes == ()
    assert min(vars(outcomes[8].seconds).values()) > 0


def test_a_photo_that_is_one_of_several_in_its_file_is_notable_whatever_its_note_says(tmp_path):
    one, other = picture(), picture(seed=1)
    one.save(tmp_path / "a.tif", save_all=True, append_images=[other])
    [outcome] = finished(a_run(), [decision(tmp_path / "a.tif", tmp_path / "out")])
    assert (outcome.notes, outcome.notable) == (("first of 2 frames or pages",), True)


def test_no_photo_at_all_is_a_run_without_outcomes():
    assert finished(a_run(), []) == []


def test_empty_matte_fails_where_that_is_asked_for(todo, tmp_path):
    run = a_run()
    strict = dataclasses.replace(run.context.options, fail_if_empty=True)
    outcomes = finished(Pipeline(dataclasses.replace(run.context, options=strict), 1), todo)
    assert outcomes[0].status is Status.FAILED
    assert "no subject" in str(outcomes[0].error)
    assert outcomes[8].status is Status.WRITTEN
    assert not (tmp_path / "out" / "0-mask.png").exists()


def test_photo_that_cannot_be_encoded_leaves_none_of_its_products(tmp_path):
    level_photo(tmp_path / "long.png", 255, (20_000, 1))
    level_photo(tmp_path / "short.png", 255)
    both = (Product.MASK, Product.TRIMAP)
    run = a_run(products=both, format=Format.WEBP)
    names = ("long.png", "short.png")
    outcomes = finished(run, [decision(tmp_path / n, tmp_path / "out", both) for n in names])
    assert [o.status for o in outcomes] == [Status.FAILED, Status.WRITTEN]
    assert "format=png" in str(outcomes[0].error)
    assert sorted(written(tmp_path / "out")) == ["short-mask.png", "short-trimap.png"]


def test_full_disk_is_told_as_what_would_meet_every_photo(todo, monkeypatch):
    def full(target, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(places, "replace_file", full)
    outcomes = finished(a_run(), todo)
    assert [o.fatal for o in outcomes] == [i in GOOD for i in range(9)]
    assert str(outcomes[0].error).startswith("No space left")


def test_a_product_of_another_run_is_left_and_one_of_a_lost_worker_counts_as_written(tmp_path):
    level_photo(tmp_path / "a.png", 255)
    both = (Product.MASK, Product.TRIMAP)
    plain = decision(tmp_path / "a.png", tmp_path / "out", both)
    absent = {kind: target.if_absent() for kind, target in plain.job.targets.items()}
    new = replace(plain, job=replace(plain.job, targets=absent))
    run = a_run(products=both)

    def ended(todo):
        [outcome] = finished(run, [todo])
        return outcome.status, outcome.reason, outcome.notes

    first = ended(new)
    assert first[0] is Status.WRITTEN
    assert ended(new) == (Status.SKIPPED, places.MADE_MEANWHILE, ())
    assert ended(replace(new, retried=True)) == first
    (tmp_path / "out" / "a-mask.png").unlink()
    assert ended(new) == first, "the other one is what it would have been"
    (tmp_path / "out" / "a-mask.png").write_bytes(b"by hand")
    note = f"{absent[Product.MASK]}: {places.OVERTAKEN}"
    assert ended(replace(new, retried=True)) == (Status.SKIPPED, places.OVERTAKEN, ())
    (tmp_path / "out" / "a-trimap.png").unlink()
    assert ended(new) == (*first[:2], (*first[2], note))


def test_a_run_of_some_of_a_photos_products_tells_of_those_it_keeps_too(tmp_path):
    picture(120, 90).save(tmp_path / "a.png")
    both = (Product.CUTOUT, Product.COMPOSITE)
    run = a_run(products=both, format=Format.WEBP, max_bytes=3_000)
    plain = decision(tmp_path / "a.png", tmp_path / "out", both, ".webp")

    def decided():
        return decide(plain.job, Existing.UPDATE, plain.fingerprints, Precision.AUTO)

    [first] = finished(run, [plain])
    assert [note.split(" quality")[0] for note in first.all_notes] == [
        "cutout: lowered to",
        "composite: lowered to",
    ]
    (tmp_path / "out" / "a-composite.webp").unlink()
    [second] = finished(run, [decided()])
    assert (list(second.outputs), second.all_notes) == ([Product.COMPOSITE], first.all_notes)
    assert decided().found.lowered == first.lowered


def test_unwritable_target_fails_that_photo_alone(todo, tmp_path):
    (tmp_path / "out" / "1-mask.png").mkdir(parents=True)
    outcomes = finished(a_run(), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == sorted([1, *BAD])
    assert not outcomes[1].fatal


@pytest.mark.parametrize(
    ("where", "what"),
    [(Predictor, "prepare"), (Predictor, "matte_async"), (stages, "encode_product")],
)
def test_a_bug_that_one_photo_meets_costs_that_photo_and_is_told(todo, monkeypatch, where, what):
    right, calls = getattr(where, what), []

    def wrong(*arguments, **named):
        calls.append(what)
        if len(calls) == 3:
            raise ZeroDivisionError("a moment of weakness")
        return right(*arguments, **named)

    monkeypatch.setattr(where, what, wrong)
    outcomes = finished(a_run(threads=1), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == sorted([3, *BAD])
    assert "a bug: ZeroDivisionError: a moment of weakness" in str(outcomes[3].error)
    assert isinstance(outcomes[3].bug, ZeroDivisionError)
    assert workers() == []


@pytest.mark.parametrize(
    "lack",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_photo_too_large_for_the_machine_fails_alone_and_is_no_bug(todo, monkeypatch, lack):
    right = Predictor.matte_async

    def wrong(self, photo, alpha, colour):
        if photo.pixels.max() == 255:
            raise lack
        return right(self, photo, alpha, colour)

    monkeypatch.setattr(Predictor, "matte_async", wrong)
    outcomes = finished(a_run(batch=2), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == sorted([8, *BAD])
    assert str(outcomes[8].error) == "out of memory"
    assert outcomes[8].bug is None


def test_a_photo_whose_matte_cannot_be_ended_fails_alone(todo, monkeypatch):
    right = Predictor.matte_async

    def later(self, photo, alpha, colour):
        end = right(self, photo, alpha, colour)

        def ended():
            if photo.pixels.max() == 255:
                raise MemoryError
            return end()

        return ended

    monkeypatch.setattr(Predictor, "matte_async", later)
    outcomes = finished(a_run(batch=2), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == sorted([8, *BAD])
    assert str(outcomes[8].error) == "out of memory"
    assert outcomes[8].coverage is None


def test_mattes_end_beside_the_networks_next_photo(todo, monkeypatch):
    """The first photo's matte ends only once the network has seen the second."""
    seen, right, saw = [], Predictor.matte_async, threading.Event()

    def later(self, photo, alpha, colour):
        end, first = right(self, photo, alpha, colour), not seen
        seen.append(photo)
        if len(seen) == 2:
            saw.set()
        return (lambda: saw.wait(TIMEOUT) and end()) if first else end

    monkeypatch.setattr(Predictor, "matte_async", later)
    outcomes = finished(a_run(), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.WRITTEN] == GOOD
    assert outcomes[0].seconds.matte > 0


# Memory of the device


@pytest.mark.parametrize("room", [1, 2, 3])
def test_batch_too_large_for_the_device_is_halved_until_it_fits(todo, tmp_path, room):
    finished(a_run(), todo)
    expected = written(tmp_path / "out")
    network = Small(room)
    outcomes = finished(a_run(network, batch=7), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == BAD
    assert same(written(tmp_path / "out"), expected)
    assert max(n for n, _ in network.seen) > room, "the large batch was tried"


def test_photo_that_alone_is_too_much_for_the_device_fails_alone(todo, tmp_path):
    outcomes = finished(a_run(Small(20, black=True), batch=7), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == sorted([0, *BAD])
    assert "out of memory" in str(outcomes[0].error)
    assert "size" in str(outcomes[0].error)
    assert [i for i, o in enumerate(outcomes) if o.out_of_memory] == [0], (
        "another device may have room"
    )


# Numbers that are none


@pytest.mark.parametrize("placement", [FP32, FP16])
def test_photo_whose_matte_is_no_number_in_any_precision_fails_alone(todo, placement):
    outcomes = finished(a_run(Overflowing(always=True), batch=3, placement=placement), todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == sorted([8, *BAD])
    assert "NaN" in str(outcomes[8].error)


def test_photo_that_overflows_in_half_precision_is_done_again_in_single(todo, tmp_path):
    network = Overflowing()
    run = a_run(network, batch=4, placement=FP16)
    outcomes = finished(run, todo)
    assert [i for i, o in enumerate(outcomes) if o.status is Status.FAILED] == BAD
    again = [n for n, dtype in run.context.predictor._in_float32().seen if dtype == torch.float32]
    assert again == [1], "only the photo that overflowed"
    repaired = cv2.imread(str(tmp_path / "out" / "8-mask.png"), cv2.IMREAD_UNCHANGED)
    assert stamp.read(tmp_path / "out" / "8-mask.png").stamp.precision == "fp16", "the run's"
    finished(a_run(), todo[8:])
    whole = cv2.imread(str(tmp_path / "out" / "8-mask.png"), cv2.IMREAD_UNCHANGED)
    assert levels_apart(whole, repaired) <= 1


# Memory of the machine


class Flight:
    """Counts photos between their decoding and their writing."""

    def __init__(self, monkeypatch):
        self.now = self.most = self.read = 0
        self._lock = threading.Lock()
        read, write = decode_photo, places.replace_file

        def counted_read(*arguments):
            photo = read(*arguments)
            self.change(1)
            return photo

        def counted_write(target, data):
            time.sleep(0.01)  # writing is the slowest stage: photos queue up before it
            write(target, data)
            self.change(-1)

        monkeypatch.setattr(stages, "decode_photo", counted_read)
        monkeypatch.setattr(places, "replace_file", counted_write)

    def change(self, by):
        with self._lock:
            self.now += by
            self.read += by > 0
            self.most = max(self.most, self.now)


@pytest.fixture
def many(tmp_path):
    for i in range(40):
        level_photo(tmp_path / f"{i}.png", 6 * i)
    return [decision(tmp_path / f"{i}.png", tmp_path / "out") for i in range(40)]


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (1, 3), (4, 2)])
def test_number_of_photos_in_memory_is_bounded(many, monkeypatch, batch, threads):
    flight = Flight(monkeypatch)
    outcomes = finished(a_run(batch=batch, threads=threads), many)
    assert len(outcomes) == 40
    assert flight.most <= 2 * (threads + batch) + batch


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("room", [0, 1, 2.5])
def test_photos_larger_than_the_memory_allowed_go_one_by_one(many, monkeypatch, batch, room):
    flight = Flight(monkeypatch)
    memory = int(room * 24 * 16 * BYTES_PER_PIXEL)
    outcomes = finished(a_run(batch=batch, threads=3, memory=memory), many)
    assert all(o.status is Status.WRITTEN for o in outcomes)
    assert flight.most <= max(1, int(room))


def test_failed_photos_give_their_memory_back(todo, tmp_path):
    one = 24 * 16 * BYTES_PER_PIXEL
    for network in (Small(20, black=True), Overflowing(always=True)):
        run = a_run(network, batch=2, memory=one)
        assert len(finished(run, todo * 3)) == 27
        assert run._budget._used == 0


# Photos of a store


@dataclass(frozen=True)
class Stored(LocalFile):
    """A file that comes when it is let come, as from a store."""

    comes: threading.Event = field(default_factory=threading.Event)
    is_asked_for: threading.Event = field(default_factory=threading.Event)

    @property
    def is_remote(self):
        return True

    def read(self, *limits):
        self.is_asked_for.set()
        assert self.comes.wait(300)
        return super().read(*limits)


def test_a_store_that_does_not_answer_is_no_device_that_does_not(tmp_path):
    """Wherever the photo comes in the run: behind one of this machine, too."""
    paths = [tmp_path / "in" / f"{number}.png" for number in range(3)]
    for path in paths:
        level_photo(path, 100)
    decisions = [decision(path, tmp_path / "out") for path in paths]
    stored = Stored(paths[1])
    decisions[1] = replace(decisions[1], job=replace(decisions[1].job, source=stored))
    run = a_run(batch=1)
    with ThreadPoolExecutor(1) as pool:
        outcomes = pool.submit(lambda: list(run(decisions)))
        try:
            assert stored.is_asked_for.wait(300)
            wait_for(lambda: not run._activity.names, "that nothing is at work but the store")
        finally:
            stored.comes.set()
        assert [o.status for o in outcomes.result()] == [Status.WRITTEN] * 3


# Ending early


def workers():
    return [t.name for t in threading.enumerate() if t.name.startswith(("load", "save"))]


def test_run_that_is_closed_early_starts_nothing_more_and_leaves_whole_files(
    many, tmp_path, monkeypatch
):
    flight = Flight(monkeypatch)
    run = a_run(batch=2)
    outcomes = run(many)
    first = next(outcomes)
    outcomes.close()
    assert first.status is Status.WRITTEN
    told = {first.input, *(o.input for o in run.finished_unreported)}
    assert len(told) == len(written(tmp_path / "out"))
    assert first in run.finished_unreported
    assert workers() == []
    assert flight.read < 20
    for name in written(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as image:
            image.load()
        assert not name.endswith(".part")


def test_run_that_is_closed_while_photos_wait_for_memory_ends(many, tmp_path):
    outcomes = a_run(batch=1, threads=3, memory=1)(many)
    next(outcomes)
    closing = threading.Thread(target=outcomes.close, daemon=True)
    closing.start()
    closing.join(TIMEOUT)
    assert not closing.is_alive()
    assert workers() == []


def test_look_ahead_is_bounded():
    with pipeline.ThreadPoolExecutor(2) as pool:
        started = []
        numbers = (started.append(i) or i for i in range(50))
        futures = prefetch(pool, lambda i: i * i, numbers, 5)
        for i, future in enumerate(futures):
            assert future.result() == i * i
            assert len(started) <= i + 5
        assert len(started) == 50


def done(value):
    future = pipeline.Future()
    future.set_result(value)
    return future


def test_batches_are_full_but_for_the_last():
    photos = map(done, range(7))
    assert list(batches(photos, 3, lambda: False)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_batch_goes_without_a_photo_that_waits_for_its_memory():
    waiting = pipeline.Future()
    groups = batches(iter([done(0), done(1), waiting, done(3)]), 4, lambda: not waiting.done())
    assert next(groups) == [0, 1]
    waiting.set_result(2)
    assert list(groups) == [[2, 3]]


# What the network sees, and what becomes of its alpha


def test_network_sees_the_photo_normalised_and_stretched_to_its_size():
    class Spy(nn.Module):
        def forward(self, batch):
            self.batch = batch
            return batch[:, :1]

    spy = Spy()
    predictor = Predictor(spy, SIZE, FP32)
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:, 5:] = (255, 128, 0)
    predictor.alphas([predictor.prepare(Photo(pixels))])
    assert spy.batch.shape == (1, 3, 32, 64)
    left, right = spy.batch[0, :, 16, 2], spy.batch[0, :, 16, 61]
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    assert torch.allclose(left, -mean / std, atol=1e-4)
    assert torch.allclose(right, (torch.tensor([1, 128 / 255, 0]) - mean) / std, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 64), (16, 20), (100, 200), (20, 200), (1, 1), (1, 3000)])
@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_an_even_alpha_stays_even_and_exact_at_any_size(size, level):
    full = enlarge(torch.full((1, 32, 64), level), size)
    assert full.shape == size
    assert torch.allclose(full, torch.tensor(level), atol=1e-6)
    if level in (0, 1):
        whole = (full * 65535).round()
        assert (whole == level * 65535).all()


def test_enlarged_alpha_stays_within_its_range():
    step = torch.zeros(1, 32, 64)
    step[:, :, 30:] = 1
    full = enlarge(step, (100, 200))
    assert full.min() == 0
    assert 1 - 1e-6 <= full.max() <= 1
    assert (full[50].diff() >= -1e-3).sum() > 190


def test_reduced_alpha_is_an_average():
    noise = (torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert enlarge(noise, (4, 4)).sub(0.5).abs().max() < 0.15


@pytest.mark.parametrize("size", [(32, 64), (100, 200), (33, 700), (1000, 65), (40, 70_000)])
def test_levels_of_16_bits_are_the_enlarged_alphas(size):
    noise = torch.rand(1, 32, 64, generator=torch.Generator().manual_seed(0))
    noise = ((noise - 0.5) * 3 + 0.5).clamp(0, 1)  # with flat parts at both ends
    levels = enlarged_levels(noise, size).astype(int)
    assert levels.shape == size
    assert np.abs(levels - enlarge(noise, size).numpy() * 65535).max() <= 3


@pytest.mark.parametrize("size", [(4, 4), (1, 1), (1, 3000), (20, 200)])
def test_levels_of_a_small_photo_are_averages(size):
    noise = torch.rand(1, 32, 64, generator=torch.Generator().manual_seed(0))
    expected = (enlarge(noise, size) * 65535).round().numpy()
    assert np.abs(enlarged_levels(noise, size).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 1), (64, 64), (480, 640), (31, 33)])
def test_prepared_photo_is_pillows_to_a_level(shape):
    pixels = np.random.RandomState(0).randint(0, 256, (*shape, 3)).astype(np.uint8)
    pixels.setflags(write=False)
    ours = Predictor(Bright(), SIZE, FP32).prepare(Photo(pixels))
    pillows = np.asarray(Image.fromarray(pixels).resize(SIZE, Image.Resampling.BILINEAR))
    assert ours.shape == pillows.shape
    assert np.abs(ours.astype(int) - pillows).max() <= 1


def alpha_of(value):
    return torch.full((1, 32, 64), value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparency_of_the_photo_is_multiplied_in(dtype):
    peak = np.iinfo(dtype).max
    own = np.array([[0, peak, peak // 5]], dtype)
    photo = Photo(np.zeros((1, 3, 3), dtype), own)
    predictor = Predictor(Bright(), SIZE, FP32)
    assert predictor.matte(photo, alpha_of(1.0), None).alpha.tolist() == [[0, 65535, 13107]]
    half = predictor.matte(photo, alpha_of(0.5), None).alpha[0].tolist()
    assert half[0] == 0
    assert half[1] == pytest.approx(32768, abs=1)
    assert half[2] == pytest.approx(6554, abs=1)


def test_alpha_is_rounded_and_not_cut_off():
    own = np.array([[255, 128]], np.uint8)
    photo = Photo(np.zeros((1, 2, 3), np.uint8), own)
    whole = Predictor(Bright(), SIZE, FP32).matte(photo, alpha_of(2.9 / 65535), None)
    assert whole.alpha.tolist() == [[3, 2]]  # 3, and 1.506


def test_colour_is_estimated_only_where_it_is_asked_for():
    pixels = np.full((20, 30, 3), 200, np.uint8)
    pixels[:, :15] = (0, 0, 90)
    alpha = torch.linspace(0, 1, 64).repeat(1, 32, 1)
    predictor = Predictor(Bright(), SIZE, FP32)
    photo = Photo(pixels)
    assert np.array_equal(predictor.matte(photo, alpha, None).foreground, pixels)
    assert np.array_equal(
        predictor.matte(photo, alpha, ForegroundOptions(refine=False)).foreground, pixels
    )
    assert not np.array_equal(predictor.matte(photo, alpha, ForegroundOptions()).foreground, pixels)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_alpha_that_is_no_number_is_a_photo_error(value):
    alpha = alpha_of(0.5)
    alpha[0, 3, 3] = value
    with pytest.raises(PhotoError, match="NaN"):
        Predictor(Bright(), SIZE, FP32).matte(Photo(np.zeros((5, 5, 3), np.uint8)), alpha, None)


def test_whole_way_from_file_to_file_is_exact_at_both_ends(tmp_path):
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    run = a_run(Bright(40.0), products=(Product.CUTOUT,))
    (outcome,) = finished(run, [decision(tmp_path / "a.png", tmp_path / "o", (Product.CUTOUT,))])
    with Image.open(outcome.outputs[Product.CUTOUT].path) as image:
        rgba = np.asarray(image)
    assert rgba[:, :28, 3].max() == 0
    assert rgba[:, 36:, 3].min() == 255
    assert rgba[:, 36:, :3].min() == 255
