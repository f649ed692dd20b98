"""Batches of the service: they fill by themselves, and nobody's failure is another's."""

import gc
import threading
import weakref
from concurrent.futures import CancelledError

import pytest
import torch
from conftest import picture

from birefcli.errors import DeviceMemoryError
from birefcli.images.decode import decode_pil
from birefcli.matting.predictor import Predictor
from birefcli.models.load import load_model
from birefcli.options import ModelOptions
from birefcli.serve.batcher import Batcher
from birefcli.system.watchdog import Activity


@pytest.fixture
def predictor(tiny_weights) -> Predictor:
    return load_model(ModelOptions(str(tiny_weights), device="cpu")).predictor


class Held:
    """A predictor whose network waits for a sign, and fails where it is told to."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.placement = predictor.placement
        self.go, self.entered = threading.Event(), threading.Event()
        self.errors: list[Exception] = []
        self.matte_async = predictor.matte_async

    def alphas(self, inputs):
        self.entered.set()
        assert self.go.wait(300)
        if self.errors:
            raise self.errors.pop(0)
        return self._predictor.alphas(inputs)


def submitted(batcher, predictor, count):
    photos = [decode_pil(picture(seed=seed)) for seed in range(count)]
    return [batcher.submit(photo, predictor.upload(photo), None) for photo in photos]


def test_what_waits_is_done_together_and_the_first_alone(predictor):
    held, sizes = Held(predictor), []
    batcher = Batcher(held, 4, Activity(), on_batch=sizes.append)
    first = submitted(batcher, predictor, 1)
    assert held.entered.wait(300)
    others = submitted(batcher, predictor, 6)
    held.go.set()
    for future in (*first, *others):
        assert future.result(300).end().alpha.shape == (40, 60)
    batcher.close()
    assert sizes == [1, 4, 2]


def test_what_is_given_up_before_its_turn_costs_the_network_nothing(predictor):
    held, sizes = Held(predictor), []
    batcher = Batcher(held, 4, Activity(), on_batch=sizes.append)
    first = submitted(batcher, predictor, 1)
    assert held.entered.wait(300)
    others = submitted(batcher, predictor, 3)
    assert all(future.cancel() for future in others)
    assert not first[0].cancel()
    late = submitted(batcher, predictor, 1)
    held.go.set()
    assert late[0].result(300)
    assert sizes == [1, 1]
    with pytest.raises(CancelledError):
        others[0].result()


def test_out_of_memory_does_each_photo_alone(predictor):
    held = Held(predictor)
    held.errors = [torch.OutOfMemoryError("full"), torch.OutOfMemoryError("full")]
    batcher = Batcher(held, 3, Activity())
    blocking = submitted(batcher, predictor, 1)
    assert held.entered.wait(300)
    # The first, alone, is out of memory; so are the three together, of whom each has room.
    three = submitted(batcher, predictor, 3)
    held.go.set()
    assert isinstance(blocking[0].exception(300), DeviceMemoryError)
    assert all(future.result(300) for future in three)


def test_a_bug_costs_its_batch_and_no_other(predictor, caplog):
    held, lost = Held(predictor), []
    held.errors = [RuntimeError("odd")]
    batcher = Batcher(held, 1, Activity(), on_device_lost=lost.append)
    held.go.set()
    assert isinstance(submitted(batcher, predictor, 1)[0].exception(300), RuntimeError)
    assert submitted(batcher, predictor, 1)[0].result(300)
    assert lost == []  # a CPU is there still


def test_a_device_that_is_gone_is_told(predictor, monkeypatch, caplog):
    held, lost = Held(predictor), threading.Event()
    held.errors = [RuntimeError("CUDA error: unspecified launch failure")]
    batcher = Batcher(held, 1, Activity(), on_device_lost=lambda _: lost.set())

    def zeros(*_, **__):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch, "zeros", zeros)
    held.go.set()
    submitted(batcher, predictor, 1)
    assert lost.wait(300)


def test_a_photo_that_is_done_is_held_by_nobody_without_a_search_for_garbage(predictor):
    batcher = Batcher(predictor, 1, Activity())
    photo = decode_pil(picture())
    held = weakref.ref(photo)
    gc.disable()
    try:
        future = batcher.submit(photo, predictor.upload(photo), None)
        future.result(300).end()
        submitted(batcher, predictor, 1)[0].result(300)  # its thread has let go of the first
        del photo, future
        assert held() is None
    finally:
        gc.enable()
        batcher.close()
