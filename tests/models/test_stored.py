import hashlib
import os
from pathlib import Path

import pytest

from birefcli.errors import ModelError, UsageError
from birefcli.models import load, stored, weights
from birefcli.models.locate import Place, locate
from birefcli.options import ModelOptions
from birefcli.system import object_store
from birefcli.system.object_url import parse_url


@pytest.fixture
def content(tiny_weights):
    return tiny_weights.read_bytes()


@pytest.fixture
def models(bucket, content, tmp_path, monkeypatch):
    """A bucket with the tiny weights, downloads in small pieces, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "_current", {})
    monkeypatch.setattr(stored, "CHUNK", 1 << 16)
    monkeypatch.setattr(object_store, "FIRST_PAUSE", 0.01)
    bucket.put("m/tiny.safetensors", content)
    bucket.proxy.reset()
    return bucket


@pytest.fixture
def url(models):
    return f"{models.url}/m/tiny.safetensors"


def new_process(monkeypatch):
    """Forget what this process has compared."""
    monkeypatch.setattr(stored, "_current", {})


def fetched(url, **options):
    return stored.fetch(parse_url(url), progress=False, **options)


def test_weights_are_downloaded_once_and_asked_for_by_one_small_request(
    models, url, content, monkeypatch
):
    assert locate(url).place is Place.STORED
    assert locate(url).path is None
    found = weights.resolve(url, progress=False)
    assert found.path.read_bytes() == content
    assert (found.name, found.sha256) == ("tiny.safetensors", hashlib.sha256(content).hexdigest())
    assert locate(url).path == found.path
    reads = models.proxy.count("GET")
    assert reads == -(-len(content) // stored.CHUNK)
    weights.resolve(url)
    assert models.proxy.count("HEAD") == 1  # one run has one network, and asks once
    new_process(monkeypatch)
    assert weights.resolve(url).path == found.path
    assert models.proxy.count("GET") == reads
    assert models.proxy.count("HEAD") == 2


def test_their_digest_is_that_of_the_same_file_on_this_machine(url, tiny_weights):
    ours = load.identify_weights(ModelOptions(url))
    assert ours == load.identify_weights(ModelOptions(str(tiny_weights)))
    assert load.load_model(ModelOptions(url, device="cpu")).checkpoint.sha256 == ours


def test_a_changed_object_is_downloaded_again_and_the_same_bytes_are_not(
    models, url, content, monkeypatch
):
    fetched(url)
    models.put("m/tiny.safetensors", content)
    new_process(monkeypatch)
    models.proxy.reset()
    fetched(url)
    assert models.proxy.count("GET") == 0
    models.put("m/tiny.safetensors", content[::-1])
    new_process(monkeypatch)
    assert fetched(url).read_bytes() == content[::-1]


def test_an_interrupted_download_goes_on_where_it_stopped(models, url, content, monkeypatch):
    monkeypatch.setattr(object_store, "PATIENCE", 0.0)
    monkeypatch.setattr(stored, "AHEAD", 1)
    half = -(-len(content) // stored.CHUNK) // 2
    for _ in range(half):
        models.proxy.fail(method="GET", delay=0.0)
    models.proxy.fail(method="GET", status=503, times=99)
    with pytest.raises(ModelError, match="SlowDown"):
        fetched(url)
    models.proxy.reset()
    assert fetched(url).read_bytes() == content
    assert models.proxy.count("GET") == -(-len(content) // stored.CHUNK) - half
    assert [p.name for p in fetched(url).parent.glob("*.part")] == []


def test_what_was_downloaded_of_another_version_is_dropped(models, url, content, monkeypatch):
    monkeypatch.setattr(object_store, "PATIENCE", 0.0)
    models.proxy.fail(method="GET", delay=0.0)
    models.proxy.fail(method="GET", status=503, times=99)
    with pytest.raises(ModelError):
        fetched(url)
    models.proxy.reset()
    models.put("m/tiny.safetensors", content[::-1])
    assert fetched(url).read_bytes() == content[::-1]


def test_an_object_that_is_replaced_during_its_download_is_begun_anew(models, url, content):
    other = bytes(len(content))
    asked = []

    def replaced(request):
        asked.append(request)
        if len(asked) == 3:
            models.put("m/tiny.safetensors", other)

    models.proxy.before = replaced
    assert fetched(url).read_bytes() == other


def test_offline_takes_the_copy_that_is_there_and_asks_nobody(models, url, content, monkeypatch):
    with pytest.raises(ModelError, match="not downloaded yet, and offline forbids it"):
        fetched(url, offline=True)
    path = fetched(url)
    new_process(monkeypatch)
    models.put("m/tiny.safetensors", b"another")
    models.proxy.reset()
    assert fetched(url, offline=True) == path
    assert models.proxy.requests == []


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("m/none.safetensors", r"no such object \(HTTP 404\)"),
        ("m//tiny.safetensors", "empty part"),
        ("m/", "no weights file by its name"),
        ("m/tiny.zip", "no weights file by its name"),
    ],
)
def test_what_is_no_weights_file_is_refused_with_its_url(models, key, why):
    with pytest.raises((ModelError, UsageError), match=why) as refused:
        weights.resolve(f"{models.url}/{key}")
    assert f"{models.url}/{key}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_object_that_holds_no_weights_is_refused_as_a_file_is(models):
    models.put("m/odd.safetensors", b"not weights")
    with pytest.raises(ModelError, match=r"odd\.safetensors: "):
        weights.resolve(f"{models.url}/m/odd.safetensors", progress=False)


def test_a_cache_that_cannot_be_written_is_named(models, url, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"the cache cannot be written .*file"):
        fetched(url)


@pytest.mark.slow
def test_weights_come_from_azure_as_well(container, content, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    container.put("m/tiny.safetensors", content)
    path = fetched(f"{container.url}/m/tiny.safetensors")
    assert path.read_bytes() == content
    assert Path(os.path.commonpath([path, tmp_path])) == tmp_path
