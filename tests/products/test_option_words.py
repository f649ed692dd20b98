"""From options' words to how products look."""

import logging

from birefcli.options import Product
from birefcli.products.words import of_arguments, read_rendering, with_preset


def test_a_preset_that_gives_way_is_told_once_in_python(caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(2):  # as for each photo of many
        of_arguments(Product.COMPOSITE, {"preset": "id-us", "fill": 0.81}, None)
    (told,) = caplog.messages
    assert told.startswith("preset=id-us: its head=60% is not applied, as fill=0.81 is given: no h")


def test_words_with_their_preset_are_the_words_alone():
    given = {"preset": "id-us", "head": "50%", "canvas": None}
    filled = with_preset(given)
    assert filled.overruled is None, "its rule holds, with another share"
    assert (filled.words["head"], "preset" in filled.words) == ("50%", False)
    assert read_rendering(filled.words) == read_rendering(given)
