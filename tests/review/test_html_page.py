"""The page of ``birefcli sheet``: what is in it, and what a browser makes of it."""

import base64
import hashlib
import os
import re
import sys

import numpy as np
import pytest
from cutouts import cutout, disc
from serve.browser import KEYS, Browser, chromium

from birefcli.products.quality.check import Quality
from birefcli.products.quality.defects import Defect
from birefcli.review import html_page
from birefcli.review.cutouts import Entry, Tile
from birefcli.review.photos import PairedPhoto
from birefcli.scoring.masks import Mask

NAMES = ("a.png", "<img src=x onerror=alert(1)>.png", 'it\'s "q" & ü#?.png', "<!--TILES-->.png")


def render(folder, names=NAMES, photo=None, target=None):
    """A page of these cutouts, which lie in ``folder``/cut."""
    small = html_page.draw(Mask(disc(), np.zeros((90, 120, 3), np.uint8)), None, 60)[0]
    tiles = [
        Tile(
            Entry(folder / "cut" / name, (name,), name, photo=photo),
            Quality(0.5, (Defect.HAZE,) if number else ()),
            ((0, 0), (0, 0)) if photo else ((0, 0),),
        )
        for number, name in enumerate(names)
    ]
    return html_page.render(
        tiles, target or folder / "sheet.html", "sheet.html", lambda _: small
    ).decode("utf-8")


def test_page_asks_no_server_and_runs_its_own_script_alone(tmp_path):
    page = render(tmp_path)
    assert not re.search(r"https?:|src='(?!data:)|@import|url\(", page)
    (script,) = re.findall(r"<script>(.*)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert page.count("<article") == len(NAMES)


def test_names_of_any_kind_are_text_and_links_lead_to_the_files(tmp_path):
    page = render(tmp_path)
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.png</h3>" in page
    assert "href='cut/it%27s%20%22q%22%20%26%20%C3%BC%23%3F.png'" in page
    inside = render(tmp_path, ["a.png"], target=tmp_path / "pages" / "sheet.html")
    assert "href='../cut/a.png'" in inside
    assert " href=" not in render(tmp_path, ["a.tif"]), "no browser shows it"


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes here")
def test_name_that_no_text_holds_is_in_no_list(tmp_path):
    page = render(tmp_path, ["a.png", os.fsdecode(b"\xff.png"), "two\nlines.png"])
    assert page.count("data-list=") == 1


def test_list_names_the_photo_where_there_is_one(tmp_path):
    photo = PairedPhoto(tmp_path / "photos" / "a.jpg", "photos/./a.jpg")
    assert "data-list='photos/./a.jpg' data-paired" in render(tmp_path, ["a.png"], photo)
    assert "data-paired tab" not in render(tmp_path, ["a.png"])


def test_small_cutout_keeps_colour_from_under_transparency_out():
    alpha = disc(200, 160)
    colours = np.where(alpha[..., None] > 0, (30, 90, 200), (255, 0, 0)).astype(np.uint8)
    straight = html_page._straight(colours, alpha, (50, 40))
    seen = alpha.reshape(40, 4, 50, 4).mean((1, 3)) > 20
    assert np.abs(straight[seen].astype(int) - (30, 90, 200)).max() < 12


def test_mark_goes_when_a_cutout_is_made_again(tmp_path):
    (tmp_path / "cut").mkdir()
    cutout(disc()).save(tmp_path / "cut" / "a.png")
    before = render(tmp_path, ["a.png"])
    assert render(tmp_path, ["a.png"]) == before
    os.utime(tmp_path / "cut" / "a.png", (1, 1))
    assert render(tmp_path, ["a.png"]) != before


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_keys_mark_cutouts_and_the_names_of_the_bad_are_there_to_copy(tmp_path):
    KEYS.update({key: (ord(key.upper()), key) for key in "gbun"})
    (tmp_path / "cut").mkdir()
    for name in NAMES:
        cutout(disc()).save(tmp_path / "cut" / name)
    page = tmp_path / "sheet.html"
    page.write_text(render(tmp_path), "utf-8")
    browser = Browser(chromium(), tmp_path / "browser")
    try:
        browser.open(page.as_uri())
        browser.do("tiles[0].focus()")
        for key in ("b", "b", "g", "b"):
            browser.press(key)
        browser.press("u")
        browser.open(page.as_uri())
        assert browser.do("tiles.map(tile => tile.dataset.marked ?? null)") == [
            "bad", "bad", "good", None,
        ]  # fmt: skip
        browser.do("tiles[1].focus(); take(1)")
        browser.press("Enter")
        browser.wait("$('#box img')?.naturalWidth === 120")
        browser.press("Enter")
        assert browser.do("$('#box .view').classList.contains('actual')")
        browser.press("Escape")
        browser.press("n")
        assert browser.do("$('textarea').value").splitlines() == [
            str(tmp_path / "cut" / name) for name in NAMES[:2]
        ]
        told = "$('#told').textContent"
        why = "names of cutouts, not for --files-from: no photo is paired with them (--pairs)."
        assert browser.do(told) == f"2 of 4, {why}"
        browser.do("names.close(); tiles[0].dataset.paired = ''; listed()")
        assert browser.do(told) == f"2 of 4, 1 of them {why}"
        browser.do("names.close(); tiles[1].dataset.paired = ''; listed()")
        assert browser.do(told) == "2 of 4, for --files-from."
        assert not [name for name, _ in browser.events if name == "Log.entryAdded"]
    finally:
        browser.close()
