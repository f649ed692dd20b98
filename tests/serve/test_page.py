"""The page at ``/``, in a real browser without a window."""

import base64
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, chromium
from PIL import Image
from served import serving
from support import Encoded

import birefcli
from birefcli.products.presets import presets
from birefcli.products.quality.defects import Defect
from birefcli.products.words import NAMES

PAGE = Path(birefcli.__file__).parent / "serve" / "page.html"
PROGRAM = chromium()
TEXT, CONTROL = 4.5, 3.0  # contrast, WCAG 2.2, 1.4.3 and 1.4.11

browsed = [
    pytest.mark.slow,  # a browser and a service are started
    pytest.mark.skipif(PROGRAM is None, reason="takes a Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    assert PROGRAM is not None
    browser = Browser(PROGRAM, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(tab, mini_service):
    """The page, just opened in a wide window; in the end it must have done nothing wrong."""
    tab.look(1280, 800)
    tab.open(f"{mini_service.url}/")
    yield tab
    did_nothing_wrong(tab, mini_service.url)


@pytest.fixture(scope="module")
def model():
    return birefcli.load("mini", device="cpu")


@pytest.fixture(scope="module")
def samples():
    return Path(__file__).parents[2] / "samples"


def did_nothing_wrong(tab, url):
    """No request to another host, no exception, nothing on the console but refused photos."""
    for name, told in tab.events:
        if name == "Network.requestWillBeSent":
            assert told["request"]["url"].startswith((f"{url}/", "data:", "blob:")), told
        if name == "Log.entryAdded":
            entry = told["entry"]
            assert entry["source"] == "network", entry
            assert "the server responded with a status of 4" in entry["text"], entry
        assert name not in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"), told


def wait_until(tab, state, photo=1):
    """Wait for the state of a photo, counted from 1."""
    tab.wait(f"document.querySelector('.tile:nth-child({photo})')?.dataset.state === '{state}'")


def click(tab, selector):
    tab.do(f"document.querySelector({json.dumps(selector)}).click()")


def text(tab, selector):
    return tab.do(f"document.querySelector({json.dumps(selector)}).textContent")


def open_with_models(tab, url, *models):
    """Open the page, which is told of these models."""
    tab.send("Fetch.enable", patterns=[{"urlPattern": "*/v1/models"}])
    tab.open(f"{url}/")
    tab.send(
        "Fetch.fulfillRequest",
        requestId=tab.event("Fetch.requestPaused")["requestId"],
        responseCode=200,
        body=base64.b64encode(json.dumps({"object": "list", "data": models}).encode()).decode(),
    )
    tab.send("Fetch.disable")


def save(tab, format_="png", backdrop="none"):
    """What the button downloads."""
    click(tab, f"input[name=backdrop][value='{backdrop}']")
    click(tab, f"input[name=format][value={format_}]")
    tab.wait("document.querySelector('#save').ariaDisabled === 'false'")
    return tab.downloaded(lambda: click(tab, "#save"))


# The file


def test_the_page_is_one_file_that_names_no_other_host():
    source = PAGE.read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/'\"\s]+)", source))
    assert hosts <= {"www.w3.org"}, "the name of SVG alone, which nobody fetches"
    assert not re.search(r"<script[^>]+src|@import|<iframe|<object|@font-face", source)
    assert re.findall(r"<link[^>]+>", source)[0].startswith('<link rel="icon" href="data:')
    assert len(re.findall(r"<link", source)) == 1
    assert not re.search(r"\son[a-z]+=", source.split("<script")[0])


def test_the_page_knows_every_flag_preset_and_option_that_it_names():
    source = PAGE.read_text(encoding="utf-8")
    words = re.search(r"const FLAGS = \{(.*?)\n\};", source, re.DOTALL)[1]
    assert re.findall(r"^  (\w+): ", words, re.MULTILINE) == [flag.value for flag in Defect]
    listed = re.search(r'<select id="preset".*?</select>', source)[0]
    assert re.findall(r"<option>(.*?)</option>", listed) == list(presets())
    assert set(re.findall(r'data-option="(.*?)"', source)) <= set(NAMES)


# Photos in, pictures out


class TestInABrowser:
    pytestmark = browsed

    def test_a_dropped_photo_is_downloaded_as_the_python_face_makes_it(self, page, model, samples):
        photo = samples / "grace_hopper.jpg"
        page.drop(photo)
        wait_until(page, "done")
        assert "512 × 600" in text(page, "#facts")
        result = model(photo)
        kept = save(page)
        assert kept.name == "grace_hopper-cutout.png"
        assert Encoded(kept.read_bytes()) == Encoded(result.encode("cutout"))
        webp = save(page, "webp")
        assert Encoded(webp.read_bytes()) == Encoded(result.encode("cutout", format="webp"))
        page.wait("document.querySelector('#saving').textContent.endsWith('-cutout.webp.')")
        click(page, "input[name=format][value=jpg]")
        assert not text(page, "#saving"), "what is wanted has changed"
        jpeg = save(page, "jpg")
        assert text(page, "#hint") == "JPEG has no transparency: on white."
        assert jpeg.name == "grace_hopper-composite.jpg"
        white = result.encode("composite", format="jpg", background="white")
        assert Encoded(jpeg.read_bytes()) == Encoded(white)
        grey = save(page, "png", "#808080")
        assert Encoded(grey.read_bytes()) == Encoded(
            result.encode("composite", background="#808080")
        )

    def test_what_is_typed_under_more_shapes_the_download(self, page, model, samples):
        photo = samples / "grace_hopper.jpg"
        page.drop(photo)
        wait_until(page, "done")
        flags = model(photo).flags
        shown = page.do("[...document.querySelectorAll('#flags li')].map((l) => l.textContent)")
        assert [line.split(":")[0] for line in shown] == list(flags)

        def fill(**values):
            for name, value in values.items():
                page.do(f"document.querySelector('[data-option={name}]').value = '{value}'")
            page.do("document.querySelector('#options').dispatchEvent(new Event('input'))")

        fill(preset="square", resize="300", quality="70")
        made = save(page, "jpg").read_bytes()
        words = {"preset": "square", "resize": "300", "quality": 70}
        assert Encoded(made) == Encoded(model(photo).encode("composite", format="jpg", **words))
        fill(preset="", resize="", quality="", canvas="400x400", fill="80%")
        made = save(page, "png").read_bytes()
        assert Encoded(made) == Encoded(model(photo).encode(canvas="400x400", fill=0.8))
        fill(fill="180%")
        click(page, "#save")
        page.wait("document.querySelector('#saving').className === 'bad'")
        assert "180%" in text(page, "#saving")

    def test_what_the_server_flags_is_said_in_words(self, page, samples):
        page.send("Fetch.enable", patterns=[{"urlPattern": "*/v1/matte*"}])
        page.drop(samples / "camera.png")
        paused = page.event("Fetch.requestPaused")["requestId"]
        headers = {"X-Coverage": "0.31000", "X-Flags": "haze, <b>new</b>"}
        page.send(
            "Fetch.fulfillRequest",
            requestId=paused,
            responseCode=200,
            responseHeaders=[{"name": name, "value": value} for name, value in headers.items()],
        )
        page.send("Fetch.disable")
        wait_until(page, "done")
        assert page.do("[...document.querySelectorAll('#flags li')].map((l) => l.textContent)") == [
            "haze: something faint is kept away from the subject", "<b>new</b>",
        ]  # fmt: skip
        assert "Worth a look: haze" in text(page, "#said")

    def test_what_is_seen_is_the_photo_on_the_left_and_the_cutout_on_the_right(
        self, page, samples, tmp_path
    ):
        page.drop(samples / "astronaut.png")
        wait_until(page, "done")
        page.wait("document.querySelector('#view').classList.contains('split')")
        click(page, "input[name=backdrop][value='#000000']")
        box = json.loads(
            page.do("JSON.stringify(document.querySelector('#view').getBoundingClientRect())")
        )
        shot = tmp_path / "shot.png"
        page.picture(shot)
        seen = np.asarray(Image.open(shot).convert("RGB"), np.int64)
        x, y, side = int(box["x"]), int(box["y"]), int(box["width"])
        row = seen[y + side // 20]  # above her head
        assert row[x + side // 4].sum() > 100
        assert row[x + side * 3 // 4].sum() == 0

    def test_a_finger_moves_the_divider_sideways_and_the_page_up(self, page, samples):
        page.look(390, 700, phone=True)
        page.drop(samples / "grace_hopper.jpg", x=100)
        wait_until(page, "done")
        page.wait("document.querySelector('#view').classList.contains('split')")
        page.swipe((195, 300), (60, 300))
        left = int(page.do("document.querySelector('#cut').value"))
        assert left < 40
        page.swipe((195, 400), (195, 150))
        page.wait("scrollY > 0")
        assert int(page.do("document.querySelector('#cut').value")) == left
        page.swipe((300, 80), (300, 80), 1)
        page.wait(f"document.querySelector('#cut').value > {left + 40}")

    def test_a_pasted_photo_is_cut_out(self, page, model, samples):
        photo = samples / "astronaut.png"
        page.paste(photo)
        wait_until(page, "done")
        assert Encoded(save(page).read_bytes()) == Encoded(model(photo).encode("cutout"))

    def test_many_photos_are_downloaded_as_one_zip(self, page, model, samples, tmp_path):
        first, second = samples / "grace_hopper.jpg", tmp_path / "grace_hopper.png"
        Image.open(samples / "camera.png").crop((60, 40, 400, 512)).save(second)
        page.drop(first, second)
        wait_until(page, "done", 1)
        wait_until(page, "done", 2)
        assert text(page, "#save-all") == "Download all 2"
        kept = page.downloaded(lambda: click(page, "#save-all"))
        with zipfile.ZipFile(kept) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["grace_hopper-cutout.png", "grace_hopper-cutout-2.png"]
            assert Encoded(archive.read("grace_hopper-cutout.png")) == Encoded(
                model(first).encode()
            )
            assert Encoded(archive.read("grace_hopper-cutout-2.png")) == Encoded(
                model(second).encode()
            )

    def test_a_photo_that_the_browser_cannot_show_has_its_cutout_shown(
        self, page, samples, tmp_path
    ):
        photo = tmp_path / "portrait.tif"
        Image.open(samples / "grace_hopper.jpg").save(photo)
        page.drop(photo)
        wait_until(page, "done")
        page.wait("!document.querySelector('#after').hidden")
        assert page.do("document.querySelector('#before').hidden")
        assert page.do("document.querySelector('#cut').hidden")
        assert page.do("document.querySelector('#photo-behind').disabled")
        assert Image.open(io.BytesIO(save(page).read_bytes())).size == (512, 600)

    def test_the_keyboard_alone_does_it_all(self, page, mini_service, model, samples):
        def focus(expected):
            """What has the focus, and that it is seen."""
            assert page.do(f"document.activeElement.matches({json.dumps(expected)})"), page.do(
                "document.activeElement.outerHTML"
            )
            assert page.do("""{
                const active = document.activeElement;
                const marked = active.id === "cut" ? document.querySelector(".divider span")
                    : active.closest("label:has(:focus-visible)") ?? active;
                getComputedStyle(marked).outlineStyle === "solid";
            }""")

        photo = samples / "grace_hopper.jpg"
        open_with_models(page, mini_service.url, {"id": "mini"})
        page.send("Page.setInterceptFileChooserDialog", enabled=True)
        page.press("Tab")
        focus("#welcome .chooser")
        page.press(" ")
        node = page.event("Page.fileChooserOpened")["backendNodeId"]
        page.send("DOM.setFileInputFiles", backendNodeId=node, files=[str(photo)])
        page.send("Page.setInterceptFileChooserDialog", enabled=False)
        wait_until(page, "done")
        page.wait("!document.querySelector('#cut').hidden")
        assert "grace_hopper.jpg" in text(page, "#said")
        focus("input[name=photo]")
        page.press("Tab")
        focus(".strip .chooser")
        page.press("Tab")
        focus("#cut")
        page.press("End")
        assert page.do("getComputedStyle(document.querySelector('.divider')).left") == page.do(
            "getComputedStyle(document.querySelector('#view')).width"
        )
        page.press("ArrowLeft", 3)
        assert page.do("document.querySelector('#cut').ariaValueText") == "97% photo"
        page.press("Tab")
        focus("input[name=backdrop][value=none]")
        page.press("ArrowRight", 2)
        focus("input[name=backdrop][value='#ffffff']")
        page.press("Tab")
        focus("#picker")
        page.press("Tab")
        focus("input[name=format][value=png]")
        page.press("ArrowRight")
        page.press("Tab")
        focus("#save")
        kept = page.downloaded(lambda: page.press("Enter"))
        assert Encoded(kept.read_bytes()) == Encoded(model(photo).encode("composite", format="jpg"))
        page.press("Tab")
        focus("summary")
        page.press("Tab")
        focus("#remove")
        page.press("Enter")
        focus("#welcome .chooser")

    def test_of_several_models_one_is_chosen(self, page, mini_service, samples):
        open_with_models(page, mini_service.url, {"id": "mini"}, {"id": "alias", "root": "mini"})
        page.wait("document.querySelector('#model').length === 1")
        assert page.do("document.querySelector('#model-row').hidden")
        open_with_models(page, mini_service.url, {"id": "mini"}, {"id": "another"})
        page.wait("!document.querySelector('#model-row').hidden")
        page.drop(samples / "grace_hopper.jpg")
        wait_until(page, "done")
        page.do("""{
            document.querySelector("#model").value = "another";
            document.querySelector("#model").dispatchEvent(new Event("change"));
        }""")
        wait_until(page, "failed")  # there is none of this name
        assert "another" in text(page, "#state")

    # What goes wrong

    def test_a_file_that_is_no_photo_shows_the_servers_line_and_may_be_tried_again(
        self, page, mini_service, tmp_path
    ):
        wrong = tmp_path / "notes.jpg"
        wrong.write_bytes(b"not a picture")
        message = mini_service.post("/v1/matte", wrong.read_bytes()).json["error"]["message"]
        page.drop(wrong)
        wait_until(page, "failed")
        assert text(page, "#state").rstrip(".").lower() == message.rstrip(".").lower()
        assert message[1:] in text(page, "#said")
        page.do("document.querySelector('#again').focus()")
        page.press("Enter")
        wait_until(page, "failed")
        assert page.do("document.activeElement.name") == "photo"

    def test_a_busy_server_is_asked_again_after_the_time_it_states(self, page, samples):
        page.send("Fetch.enable", patterns=[{"urlPattern": "*/v1/matte*"}])
        page.drop(samples / "grace_hopper.jpg")
        headers = [{"name": "Retry-After", "value": "2"}]
        paused = page.event("Fetch.requestPaused")["requestId"]
        page.send(
            "Fetch.fulfillRequest", requestId=paused, responseCode=429, responseHeaders=headers
        )
        page.send("Fetch.disable")
        assert page.wait("document.querySelector('#state').textContent.includes('busy')")
        assert "is tried again in 2 seconds" in text(page, "#said")
        wait_until(page, "done")

    def test_a_photo_without_a_person_is_said_to_have_none(self, page, samples):
        page.send("Fetch.enable", patterns=[{"urlPattern": "*/v1/matte*"}])
        page.drop(samples / "camera.png")
        paused = page.event("Fetch.requestPaused")["requestId"]
        page.send(
            "Fetch.fulfillRequest",
            requestId=paused,
            responseCode=200,
            responseHeaders=[{"name": "X-Coverage", "value": "0.00000"}],
        )
        page.send("Fetch.disable")
        wait_until(page, "done")
        assert text(page, "#state") == "No person found."

    def test_a_server_with_keys_is_given_one(self, tab, environment, samples, tmp_path):
        keys = tmp_path / "keys.txt"
        keys.write_text("studio a-key-of-the-studio\n")
        with serving(environment, "--model", "mini", "--keys", keys) as served:
            tab.look(1280, 800)
            tab.open(f"{served.url}/")
            tab.wait("document.querySelector('#key-dialog').open")
            tab.type("another-key")
            tab.press("Enter")
            tab.wait("document.querySelector('#key-text').textContent === 'Wrong key.'")
            tab.type("a-key-of-the-studio")
            tab.press("Enter")
            tab.wait("!document.querySelector('#key-dialog').open")
            tab.drop(samples / "grace_hopper.jpg")
            wait_until(tab, "done")
            assert tab.do("localStorage.length + document.cookie.length") == 0
            did_nothing_wrong(tab, served.url)
            tab.open("about:blank")

    # What it looks like

    @pytest.mark.parametrize("width", [320, 390, 801, 1280])
    def test_nothing_scrolls_sideways(self, page, samples, tmp_path, width):
        page.look(width, 640, phone=width < 800)

        def fits():
            wide = page.do("""[...document.querySelectorAll("*")].filter((element) =>
                element.scrollWidth > element.clientWidth && element.checkVisibility() &&
                /auto|scroll/.test(getComputedStyle(element).overflowX)
                || element === document.documentElement && element.scrollWidth > innerWidth)
                .map((element) => element.outerHTML.slice(0, 80))""")
            assert wide == []
            assert page.do("document.documentElement.scrollWidth") <= width

        fits()
        wrong = tmp_path / f"{'a-name-without-any-space' * 5}.png"
        wrong.write_bytes(b"not a picture")
        page.drop(samples / "grace_hopper.jpg", *[samples / "camera.png"] * 6, wrong, x=100)
        wait_until(page, "done", 1)
        fits()
        wait_until(page, "failed", 8)
        click(page, ".tile:nth-child(8) input")
        fits()

    @pytest.mark.parametrize("dark", [False, True])
    def test_text_and_controls_have_contrast(self, page, samples, tmp_path, dark):
        page.look(1280, 800, dark=dark)
        page.do((Path(__file__).parent / "contrast.js").read_text())
        page.do("document.querySelector('#key-dialog').showModal()")
        enough(page)
        page.do("document.querySelector('#key-dialog').close()")
        enough(page)
        wrong = tmp_path / "wrong.png"
        wrong.write_bytes(b"not a picture")
        page.drop(wrong, samples / "grace_hopper.jpg")
        wait_until(page, "failed", 1)
        enough(page)
        wait_until(page, "done", 2)
        click(page, ".tile:nth-child(2) input")
        page.wait("document.querySelector('#view').classList.contains('split')")
        enough(page)


def enough(page):
    """Contrast of all that is seen now."""
    found = page.do("contrasts()")
    assert {kind for _, kind, _ in found} == {"text", "edge", "focus"}
    for what, kind, ratio in found:
        assert ratio >= (TEXT if kind == "text" else CONTROL), (what, kind, ratio)
