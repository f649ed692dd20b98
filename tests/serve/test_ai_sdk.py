"""The Vercel AI SDK, unchanged, as a client of OpenAI's dialect: ``ai_sdk.mjs``, in Node."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from bodies import file_of
from PIL import Image
from served import TIMEOUT
from support import Encoded, blocks

import birefcli

HERE = Path(__file__).parent
GUIDE = HERE.parents[1] / "man" / "guide" / "serve.md"
PACKAGES = ("ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92")  # the last for Node 18
NPM = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier")
PROGRAMS = ("node", "npm")

pytestmark = [
    pytest.mark.slow,  # 20 packages are downloaded
    pytest.mark.skipif(None in map(shutil.which, PROGRAMS), reason="takes Node and npm"),
]


def run(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "npm_config_cache": str(cwd / "cache")}
    return subprocess.run(
        [str(shutil.which(words[0])), *words[1:]],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def node(script: str, *words: str, cwd: Path) -> str:
    """What a script of the folder prints."""
    ended = run("node", script, *words, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder where scripts find the packages and two photos."""
    made = tmp_path_factory.mktemp("node")
    (made / "package.json").write_text("{}")
    if run("npm", "ping", "--fetch-retries=0", cwd=made).returncode:
        pytest.skip("no registry of packages answers npm")
    installed = run("npm", "install", *NPM, *PACKAGES, cwd=made)
    assert installed.returncode == 0, installed.stderr
    for seed, name in enumerate("ab"):
        (made / f"{name}.png").write_bytes(file_of(seed))
    return made


@pytest.fixture(scope="module")
def model():
    return birefcli.load("mini", device="cpu", offline=True)


@pytest.fixture(scope="module")
def told(mini_service, folder):
    """What the script has seen."""
    shutil.copy(HERE / "ai_sdk.mjs", folder)
    return json.loads(node("ai_sdk.mjs", mini_service.url, cwd=folder))


def test_photos_are_edited_and_chats_answered(told, folder, model):
    results = [model(folder / name) for name in ("a.png", "b.png")]
    files = [Encoded((folder / f"edit-{index}.png").read_bytes()) for index in range(2)]
    assert files == [Encoded(result.encode()) for result in results]
    with Image.open(folder / "mask.webp") as mask:
        assert (mask.format, mask.size) == ("WEBP", (60, 70))
    assert told["types"] == ["image/png", "image/png", "image/webp"]
    assert told["warnings"] == []
    assert told["text"].startswith("cutout 120x140, ")
    assert told["finishReason"] == "stop"
    (url,) = told["pictures"]
    made = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert Encoded(made) == files[0]


def test_errors_say_what_is_wrong_and_are_not_retried(told):
    starts = {"no photo:": 400, "n:": 400, "no model is called 'other'": 404, "damaged image": 400}
    for (status, message, again), start in zip(told["refusals"], starts, strict=True):
        assert message.startswith(start)
        assert (status, again) == (starts[start], False)


def test_the_program_of_the_guide_does_what_it_says(mini_service, folder, model, portrait):
    inner = folder / "guide"
    inner.mkdir()
    (inner / "a.jpg").write_bytes(portrait)
    [text] = blocks(GUIDE.read_text(encoding="utf-8"), "JavaScript", "js")
    (inner / "guide.mjs").write_text(text.replace("http://localhost:8000", mini_service.url))
    node("guide.mjs", cwd=inner)
    assert Encoded((inner / "a.png").read_bytes()) == Encoded(model(inner / "a.jpg").encode())
