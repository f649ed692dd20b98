"""Pictures of a contact sheet."""

import io

import numpy as np
import pytest
from conftest import picture
from cutouts import disc
from PIL import ImageFont

from birefcli.images import stamp
from birefcli.images.decode import decode_photo
from birefcli.images.encode import encode
from birefcli.images.text import fit_text, missing_glyphs
from birefcli.options import Format
from birefcli.products.quality.check import Quality
from birefcli.products.quality.defects import Defect
from birefcli.review import contact_sheet, tile_page
from birefcli.review.cutouts import Entry, Tile
from birefcli.review.tile_page import Layout


def test_pixels_under_transparency_leave_no_colour_at_edges():
    alpha = disc()
    rgb = np.zeros((*alpha.shape, 3), np.uint8)
    rgb[alpha == 0] = (255, 0, 0)
    small = tile_page.picture(alpha, rgb, 30).astype(int)
    assert (small[..., 0] - small[..., 1]).max() <= 1


def test_mask_is_shown_as_it_is_and_nothing_is_enlarged():
    assert np.array_equal(tile_page.picture(disc(), None, 500)[..., 0], disc())
    assert tile_page.picture(disc(300, 100), None, 60).shape == (20, 60, 3)
    assert tile_page.picture(disc(1, 5000), None, 60).shape == (60, 1, 3)


def test_text_never_stands_out_of_its_tile():
    layout = Layout(3, 80)
    font = layout.font
    for name in ("a.png", "x" * 300, "日本語" * 40, "i" * 30, "\udcff\n.png"):
        assert font.getlength(fit_text(name, font, layout.side)) <= layout.side
    assert fit_text("folder/" * 9 + "IMG_7.png", font, layout.side).endswith("IMG_7.png")


def test_long_paths_keep_their_first_folder_and_their_end_where_there_is_room():
    font = Layout(3, 200).font
    for first in ("shop-a", "x" * 90):
        shown = tile_page.fit_name(f"{first}/" + "folder/" * 9 + "IMG_7.png", font, 200)
        assert shown.startswith("shop-a/..." if first == "shop-a" else "...")
        assert shown.endswith("IMG_7.png")
        assert font.getlength(shown) <= 200
    assert tile_page.fit_name("a/b.png", font, 200) == "a/b.png"


def test_names_that_are_not_ascii_are_drawn_where_the_machine_has_a_font():
    layout = Layout(3, 200)
    assert tile_page.with_font_for(layout, "IMG_1.png") is layout
    if not missing_glyphs(layout.font, "Größe, Жанна"):
        pytest.skip("Pillow's own font knows them")
    found = tile_page.with_font_for(layout, "Größe, Жанна")
    if found is layout:
        pytest.skip("none of the fonts is here")
    assert missing_glyphs(found.font, "Größe, Жанна") == 0
    assert tile_page.with_font_for(layout, "Größe \U00013080") == found, (
        "most is better than little"
    )
    if missing_glyphs(found.font, "\U00013080"):
        assert tile_page.with_font_for(layout, "\U00013080") is layout
    assert tile_page.with_font_for(found, "IMG_1.png") is found


def test_font_that_knows_only_latin_draws_any_name(monkeypatch):
    monkeypatch.setattr(
        tile_page, "load_font", lambda face, size: ImageFont.load_default_imagefont()
    )
    layout = Layout(2, 100)
    found = Quality(0.5, (Defect.SOFT,))
    tile = Tile(Entry(None, ("日本語.png",), "日本語.png"), found, ((0, 0),))
    small = encode(tile_page.picture(disc(), None, 100), Format.PNG)
    assert tile_page.page([tile], layout, lambda _: small).shape[1] == 2 * tile_page.GAP + 100


def test_page_says_that_it_is_one(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    for format_ in Format:
        (tmp_path / "a").write_bytes(contact_sheet.encode_page(pixels, format_, "sheet.png"))
        assert stamp.is_sheet(tmp_path / "a")
        assert contact_sheet.is_page_of(tmp_path / "a", "sheet.png")
        assert not contact_sheet.is_page_of(tmp_path / "a", "sheet-1.png")
        assert decode_photo((tmp_path / "a").read_bytes(), 10**6).shape == (20, 30)
    file = io.BytesIO()
    picture().save(file, "PNG")
    (tmp_path / "a").write_bytes(file.getvalue())
    assert not stamp.is_sheet(tmp_path / "a")
