"""Batches whose photos, products, or both are in a store: a real server of S3, behind a proxy."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import TIMEOUT, picture, wait_for
from ray_cluster import ray_cluster
from support import Encoded, saved
from test_batch_inputs import ran as odd  # noqa: F401 - a fixture

from birefcli.batch import places
from birefcli.cli.app import app
from birefcli.errors import BirefcliError
from birefcli.images import stamp
from birefcli.system import object_store
from birefcli.system.object_url import why_no_key

TREE = ("a.jpg", "b.png", "sub/a.jpg", "sub/deep/é + ü.webp")


def encoded(name, seed):
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[Path(name).suffix]
    return saved(picture(seed=seed), kind)


@pytest.fixture
def tree(tmp_path):
    """A folder of photos."""
    folder = tmp_path / "in"
    for seed, name in enumerate(TREE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(name, seed))
    return folder


def upload(bucket, folder, prefix):
    """Put all files of a folder below a prefix."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.put(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())


def files(folder):
    return {
        path.relative_to(folder).as_posix(): Encoded(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def objects(bucket, prefix):
    return {
        key.removeprefix(prefix): Encoded(bucket.get(key))
        for key in bucket.names()
        if key.startswith(prefix)
    }


@pytest.fixture
def matte(inside, bucket):
    """Run ``birefcli matte`` where it finds the bucket: lines of JSON, their sum, what it said."""

    def run(*words, expect=0, **more):
        result = inside("matte", *words, "--json", **bucket.variables, **more)
        said = result.stderr.decode()
        assert result.returncode == expect, said
        assert "Traceback" not in said
        *lines, last = [json.loads(line) for line in result.stdout.decode().splitlines()] or [{}]
        return lines, last.get("summary"), said

    return run


@pytest.fixture
def here(capsys, tiny_weights, monkeypatch):
    """The same in this process, whose limits a test may set: exit code, lines, what it said."""
    monkeypatch.setattr(object_store, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(object_store, "PATIENCE", 1.0)
    monkeypatch.setattr(object_store, "STALL", 1.0)

    def run(*words):
        code = None
        try:
            app(["matte", *map(str, words), "-m", str(tiny_weights), "--device", "cpu", "--json"])
        except SystemExit as ended:
            code = ended.code
        except BirefcliError as error:
            return int(error.exit_code), [], str(error)
        out, said = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], said

    return run


def statuses(lines):
    return {line["input"]: line["status"] for line in lines if "input" in line}


# The same as in folders


def test_a_prefix_gives_the_products_that_a_folder_gives(matte, bucket, tree, tmp_path):
    upload(bucket, tree, "in/")
    matte(tree, "-o", tmp_path / "out")
    lines, total, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    matte(f"{bucket.url}/in", "-o", tmp_path / "from")
    assert total["written"] == len(TREE)
    assert statuses(lines) == {f"{bucket.url}/in/{name}": "written" for name in TREE}
    mine, theirs = objects(bucket, "out/"), files(tmp_path / "out")
    assert mine == files(tmp_path / "from")
    assert mine.keys() == theirs.keys()
    assert all(data.shows(theirs[name]) for name, data in mine.items())


def test_a_folder_goes_to_a_store_as_to_a_folder(matte, bucket, tree, tmp_path):
    matte(tree, "-o", tmp_path / "out", "--write", "mask,cutout")
    matte(tree, "-o", f"{bucket.url}/made", "--write", "mask,cutout")
    assert objects(bucket, "made/") == files(tmp_path / "out")


def test_one_object_goes_to_one_object(matte, bucket, tree, tmp_path):
    upload(bucket, tree, "in/")
    photo = f"{bucket.url}/in/sub/a.jpg"
    matte(photo, "-o", f"{bucket.url}/one.webp")
    matte(photo, "-o", tmp_path / "one.webp")
    matte(photo, "-o", f"{bucket.url}/into/")
    made = bucket.get("one.webp")
    assert Encoded(made) == Encoded((tmp_path / "one.webp").read_bytes())
    assert "into/a.png" in bucket.names()


def test_stdin_goes_to_an_object_and_an_object_to_stdout(inside, bucket, tree):
    data = (tree / "a.jpg").read_bytes()
    bucket.put("a.jpg", data)
    sent = inside("matte", "-", "-o", f"{bucket.url}/a.png", stdin=data, **bucket.variables)
    assert sent.returncode == 0, sent.stderr
    given = inside("matte", f"{bucket.url}/a.jpg", "-o", "-", **bucket.variables)
    assert given.returncode == 0, given.stderr
    assert Encoded(bucket.get("a.png")).shows(Encoded(given.stdout))


@pytest.mark.slow
def test_weights_backgrounds_and_lists_come_from_the_same_store(
    matte, bucket, tree, tiny_weights, tmp_path
):
    upload(bucket, tree, "in/")
    bucket.put("m/tiny.safetensors", tiny_weights.read_bytes())
    bucket.put("bg/a.png", encoded("a.png", 9))
    bucket.put("lists/two.txt", f"{bucket.url}/in/./sub/a.jpg\n{bucket.url}/in/./a.jpg\n".encode())
    words = (
        *("--files-from", f"{bucket.url}/lists/two.txt", "-o", f"{bucket.url}/out"),
        *("--write", "composite", "--background", f"{bucket.url}/bg/"),
        *("--model", f"{bucket.url}/m/tiny.safetensors"),
    )
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    _, total, _ = matte(*words, **cache)
    assert total["written"] == 2
    assert total["model"] == "tiny.safetensors"
    assert list(objects(bucket, "out/")) == ["a.png", "sub/a.png"]
    assert matte(*words, **cache)[1]["current"] == 2
    bucket.put("bg/a.png", encoded("a.png", 10))
    assert matte(*words, **cache)[1]["written"] == 2
    *_, said = matte(*words, "--offline", expect=4, XDG_CACHE_HOME=str(tmp_path / "other"))
    assert "not downloaded yet, and --offline forbids it" in said


def test_weights_are_downloaded_after_the_output_is_checked(
    matte, bucket, tree, tiny_weights, tmp_path
):
    bucket.put("m/tiny.safetensors", tiny_weights.read_bytes())
    model = ("--model", f"{bucket.url}/m/tiny.safetensors")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    bucket.proxy.fail(method="PUT", status=403, code="AccessDenied", times=9)
    matte(tree, "-o", f"{bucket.url}/out/", *model, expect=5, **cache)
    (tmp_path / "file").touch()
    matte(tree, "-o", tmp_path / "file", *model, expect=5, **cache)
    assert bucket.proxy.count("GET", ".*tiny.*") == 0
    gone = ("--model", f"{bucket.url}/m/gone.safetensors")
    for output in ("new/out", "new/a.png"):
        matte(tree / "a.jpg", "-o", tmp_path / output, *gone, expect=4, **cache)
        assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_dry_run_downloads_no_weights_and_says_what_it_cannot_know(
    matte, bucket, tree, tiny_weights, tmp_path
):
    bucket.put("m/tiny.safetensors", tiny_weights.read_bytes())
    words = (tree, "-o", tmp_path / "out", "--model", f"{bucket.url}/m/tiny.safetensors")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    _, total, said = matte(*words, "--dry-run", **cache)
    assert total["pending"] == len(TREE)
    assert "tiny.safetensors is to be downloaded first: 1 MB" in said
    assert bucket.proxy.count("GET", ".*tiny.*") == 0
    *_, said = matte(*words, "--dry-run", "--offline", expect=4, **cache)
    assert "not downloaded yet, and --offline forbids it" in said
    *_, said = matte(*words[:3], "--model", f"{bucket.url}/m/x.pth", "--dry-run", expect=4, **cache)
    assert "no such object" in said
    assert matte(*words, **cache)[1]["written"] == len(TREE)
    bucket.proxy.reset()
    _, total, said = matte(*words, "--dry-run", **cache)
    assert total["current"] == len(TREE)
    assert "downloaded" not in said
    assert bucket.proxy.count("GET", ".*tiny.*") == 0


def test_products_say_what_they_are_to_browsers(matte, bucket, tree):
    upload(bucket, tree, "in/")
    matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--format", "webp")
    headers = bucket.head("out/a.webp")
    assert headers["content-type"] == "image/webp"


@pytest.mark.slow
def test_several_workers_share_a_store(matte, bucket, tree):
    upload(bucket, tree, "in/")
    _, total, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--device", "cpu,cpu")
    assert total["written"] == len(TREE) == len(objects(bucket, "out/"))
    _, total, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--device", "cpu,cpu")
    assert total["current"] == len(TREE)


@pytest.mark.slow
def test_shards_of_a_store_make_the_whole(matte, bucket, tree):
    upload(bucket, tree, "in/")
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    written = [matte(*words, "--shard", f"{i}/3")[1]["written"] for i in range(3)]
    assert sum(written) == len(TREE) == len(objects(bucket, "out/"))
    assert matte(*words)[1]["current"] == len(TREE)


def test_an_empty_object_fails_alone(matte, bucket, tree):
    upload(bucket, tree, "in/")
    bucket.put("in/a0.jpg", b"")
    _, total, said = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", expect=1)
    assert (total["written"], total["failed"]) == (len(TREE), 1)
    assert "in/a0.jpg: the file is empty" in said


@pytest.mark.slow
def test_little_memory_and_few_connections_do_all_the_same(matte, bucket, tree):
    upload(bucket, tree, "in/")
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--max-memory", "0.0001")
    for more in ((), ("--connections", 1), ("--threads", 1, "--batch", 1)):
        _, total, _ = matte(*words, *more, "--existing", "overwrite")
        assert total["written"] == len(TREE)


# What is done again


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_a_second_run_reads_4_kb_of_each_product_and_nothing_else(matte, bucket, tree, kind):
    upload(bucket, tree, "in/")
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--format", kind)
    assert matte(*words)[1]["written"] == len(TREE)
    bucket.proxy.reset()
    _lines, total, _ = matte(*words)
    assert total["current"] == len(TREE)
    assert bucket.proxy.count("GET", ranged=True) == len(TREE)
    assert bucket.proxy.count("GET", f"{bucket.name}/out/.*", ranged=True) == len(TREE)
    assert bucket.proxy.count("GET", ranged=False) == 0
    assert bucket.proxy.count("HEAD") == 0
    assert bucket.proxy.count(listing=True) == 2
    assert bucket.proxy.count("PUT") == 1  # of nothing: whether it may
    spans = [r.range.removeprefix("bytes=").split("-") for r in bucket.proxy.requests if r.range]
    assert max(int(end) - int(start) + 1 for start, end in spans) <= stamp.WINDOW


def test_a_single_product_is_asked_for_without_a_listing(matte, bucket, tree):
    """At the top of a bucket there may be a million others."""
    words = (tree / "a.jpg", "-o", f"{bucket.url}/one.png")
    assert matte(*words)[1]["written"] == 1
    bucket.proxy.reset()
    assert matte(*words)[1]["current"] == 1
    assert bucket.proxy.count(listing=True) == 0


def test_a_name_that_is_no_path_below_the_output_costs_nothing(matte, bucket, tree):
    bucket.put("out/theirs//a.png", b"of somebody else")
    for status in ("written", "current"):
        assert matte(tree, "-o", f"{bucket.url}/out/")[1][status] == len(TREE)


def test_a_changed_photo_is_done_again_and_one_uploaded_again_is_not(matte, bucket, tree):
    upload(bucket, tree, "in/")
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    matte(*words)
    bucket.put("in/a.jpg", encoded("a.jpg", 77))
    bucket.put("in/b.png", (tree / "b.png").read_bytes())
    lines, total, _ = matte(*words)
    assert (total["written"], total["current"]) == (1, len(TREE) - 1)
    assert statuses(lines)[f"{bucket.url}/in/a.jpg"] == "written"
    [changed] = [line for line in lines if line["status"] == "written"]
    assert changed["reason"] == "the photo changed"
    bucket.delete("out/b.png")
    bucket.put("out/sub/deep/é + ü.png", b"of somebody else")
    bucket.put("out/sub/a.png", b"")
    lines, total, _ = matte(*words)
    assert (total["written"], total["skipped"]) == (2, 1)
    assert bucket.get("out/sub/deep/é + ü.png") == b"of somebody else"


def test_a_dry_run_writes_nothing_and_says_what_would_be_done(matte, bucket, tree):
    upload(bucket, tree, "in/")
    before = bucket.names()
    _, total, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--dry-run")
    assert total["pending"] == len(TREE)
    assert bucket.names() == before
    assert bucket.proxy.count("PUT") == 0


def test_what_exists_is_an_error_without_a_read_and_skipped_after_a_small_one(matte, bucket, tree):
    upload(bucket, tree, "in/")
    bucket.put("out/a.png", b"theirs")
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    *_, said = matte(*words, "--existing", "error", expect=5)
    assert f"{bucket.url}/out/a.png: exists" in said
    assert bucket.proxy.count("GET", f"{bucket.name}/out/.*") == 0
    _, total, _ = matte(*words, "--existing", "skip")
    assert (total["written"], total["skipped"]) == (len(TREE) - 1, 1)
    assert bucket.get("out/a.png") == b"theirs"
    assert bucket.proxy.count("GET", f"{bucket.name}/out/.*") == 1, "is it of another kind?"


def test_what_another_run_writes_meanwhile_is_left_to_it(here, bucket, tree):
    upload(bucket, tree, "in/")

    def overtake(request):
        name = request.key.removeprefix(f"{bucket.name}/")
        if request.method == "PUT" and name in ("out/a.png", "out/b.png"):
            bucket.put(name, b"theirs")

    bucket.proxy.before = overtake
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    left = {f"{bucket.url}/in/a.jpg": "skipped", f"{bucket.url}/in/b.png": "skipped"}
    for existing in ("skip", "error", "update"):
        code, lines, said = here(*words, "--existing", existing)
        assert code == 0
        assert statuses(lines) == dict.fromkeys(statuses(lines), "written") | left
        assert said.count(str(places.OVERTAKEN)) == 2
        assert bucket.get("out/a.png") == bucket.get("out/b.png") == b"theirs"
        for name in objects(bucket, "out/"):
            bucket.delete(f"out/{name}")
    assert here(*words, "--existing", "overwrite")[0] == 0
    assert bucket.get("out/a.png") != b"theirs"


# Which photos


@pytest.mark.slow
def test_a_store_is_searched_as_a_folder_is(matte, bucket, tmp_path):
    names = (
        *("a.jpg", "B.JPG", ".hidden.jpg", ".hidden/a.jpg", "@eaDir/a.jpg", "raw/a.jpg"),
        *("sub/b.png", "notes.txt", "shot.nef", "sub/shot.psd", "a b/é.png", "_x.jpg"),
    )
    for seed, name in enumerate(names):
        kind = "b.png" if name.endswith("png") else "b.jpg"
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(kind, seed))
        bucket.put(f"in/{name}", path.read_bytes())
    for words in (
        (),
        ("--no-recursive",),
        ("--exclude", "raw/"),
        ("--exclude", "_*", "--exclude", "sub"),
        ("--include", "*.png"),
        ("--include", "sub/*", "--exclude", "*.psd"),
    ):
        there = matte(tmp_path / "in", "-o", tmp_path / "out", "--dry-run", *words)
        stored = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--dry-run", *words)
        assert {Path(name).relative_to(tmp_path / "in") for name in statuses(there[0])} == {
            Path(name.removeprefix(f"{bucket.url}/in/")) for name in statuses(stored[0])
        }
        assert stored[1]["left_out"] == there[1]["left_out"]


def test_an_output_within_the_input_is_left_out_of_the_search(matte, bucket, tree):
    upload(bucket, tree, "in/")
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/in/out/")
    assert matte(*words)[1]["written"] == len(TREE)
    assert matte(*words)[1]["current"] == len(TREE)


def test_products_among_the_photos_are_no_photos(matte, bucket, tree):
    upload(bucket, tree, "in/")
    beside = (f"{bucket.url}/in/", "-o", f"{bucket.url}/in/", "--name", "{stem}-cut")
    assert matte(*beside)[1]["written"] == len(TREE)
    lines, total, _ = matte(*beside)
    assert (total["current"], total["skipped"]) == (len(TREE), len(TREE))
    assert {line["reason"] for line in lines if line["status"] == "skipped"} == {places.MADE_BY_US}
    # Elsewhere they are seen when they are read, and not before.
    bucket.proxy.reset()
    _, total, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/apart/")
    assert (total["written"], total["skipped"]) == (len(TREE), len(TREE))
    assert bucket.proxy.count("GET", ranged=True) == 0
    assert bucket.proxy.count("GET", ranged=False) == 2 * len(TREE)


@pytest.mark.slow
def test_a_list_of_urls_keeps_what_follows_its_mark(matte, bucket, tree, tmp_path):
    upload(bucket, tree, "in/")
    lines = ("in/./sub/a.jpg", "in/a.jpg", "in/none.jpg", "in//b.png", "in/sub/")
    text = "".join(f"{bucket.url}/{line}\n" for line in lines) + f"{tree}/./b.png\n"
    listing, failed = tmp_path / "list.txt", tmp_path / "failed.txt"
    listing.write_text(text)
    words = ("-o", f"{bucket.url}/out", "--files-from", listing, "--failed-to", failed)
    lines, total, said = matte(*words, expect=1)
    assert (total["written"], total["failed"]) == (3, 3)
    assert list(objects(bucket, "out/")) == ["b.png", "in/a.png", "sub/a.png"]
    assert "none.jpg: no such object (HTTP 404)\n" in said
    assert "in//b.png: has an empty part in its name" in said
    assert "in/sub/: is a prefix" in said
    again = ("in//./b.png", "in/./sub/", "./in/none.jpg")
    assert failed.read_text() == "".join(f"{bucket.url}/{line}\n" for line in again)
    bucket.put("in/none.jpg", (tree / "a.jpg").read_bytes())
    words = ("-o", f"{bucket.url}/out", "--files-from", failed, "--failed-to", failed)
    assert matte(*words, expect=1)[1]["written"] == 1
    assert "out/in/none.png" in bucket.names()


def test_names_that_are_no_paths_are_told_and_the_rest_is_done(matte, bucket, tree):
    upload(bucket, tree, "in/")
    bucket.put("in/odd//x.jpg", (tree / "a.jpg").read_bytes())
    _lines, total, said = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", expect=1)
    assert (total["written"], total["failed"]) == (len(TREE), 1)
    assert f"{bucket.url}/in/odd/: cannot be listed: it holds 'in/odd//'" in said


def test_names_that_differ_in_case_are_two_objects(matte, bucket, tree):
    for name in ("in/a.jpg", "in/A.jpg", "in/e\u0301.jpg", "in/\u00e9.jpg"):
        bucket.put(name, (tree / "a.jpg").read_bytes())
    assert matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")[1]["written"] == 4


def test_photos_for_one_object_are_refused(matte, bucket, tree):
    upload(bucket, tree, "in/")
    bucket.put("in/a.png", (tree / "b.png").read_bytes())
    *_, said = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", expect=5)
    assert f"would both be written to {bucket.url}/out/a.png" in said
    *_, said = matte(f"{bucket.url}/in/b.png", "-o", f"{bucket.url}/in/", expect=5)
    assert "would be overwritten by the result of" in said
    words = ("--write", "composite", "--background", f"{bucket.url}/out/b.png")
    bucket.put("out/b.png", (tree / "b.png").read_bytes())
    *_, said = matte(f"{bucket.url}/in/b.png", "-o", f"{bucket.url}/out/", *words, expect=5)
    assert f"{bucket.url}/out/b.png: a background would be overwritten" in said


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("s3://", "names no bucket"),
        ("s3://shop/a//b/", "has an empty part in its name"),
        ("s3://shop/../b", "has a part . or .."),
        ("s3://shop/a.gif", ".gif is no format that can be written"),
    ],
)
def test_an_output_that_is_no_url_is_refused(matte, tree, output, told):
    *_, said = matte(tree / "a.jpg", "-o", output, expect=2)
    assert told in said
    assert said.count("\n") == 1


def test_a_photo_whose_name_no_object_can_have_fails_alone(matte, bucket, tree):
    (tree / "line\nbreak.jpg").write_bytes((tree / "a.jpg").read_bytes())
    _, total, said = matte(tree, "-o", f"{bucket.url}/out/", expect=1)
    assert (total["written"], total["failed"]) == (len(TREE), 1)
    assert "has a control character in its name" in said


# What fails


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (400, "AuthorizationHeaderMalformed"),
        (404, "NoSuchBucket"),
    ],
)
def test_a_store_that_refuses_stops_the_run_before_any_work(here, bucket, tree, status, code):
    upload(bucket, tree, "in/")
    refusal = {"status": status, "code": code, "message": "so it is", "times": float("inf")}
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    bucket.proxy.fail(listing=True, **refusal)
    ended, _, said = here(*words)
    assert ended == 3
    assert f"{code}: so it is" in said
    assert bucket.proxy.count("PUT") == 0
    bucket.proxy.reset()
    bucket.proxy.fail(key=f"{bucket.name}/in/a.jpg", **refusal)
    ended, _, said = here(f"{bucket.url}/in/a.jpg", "-o", f"{bucket.url}/out/")
    assert ended == 3
    if code != "NoSuchBucket":  # what is missing may be a prefix, and that is missing too
        assert f"{bucket.url}/in/a.jpg: {code}: so it is" in said
    bucket.proxy.reset()
    bucket.proxy.fail(method="PUT", **refusal)
    ended, _, said = here(*words)
    assert ended == 5
    assert f"{bucket.url}/out/: cannot be written: {code}: so it is" in said
    assert bucket.proxy.count("GET", ranged=False) == 0


def test_a_bucket_that_is_not_there_stops_the_run(matte, bucket, tree):
    *_, said = matte("s3://no-such-bucket/in/", "-o", f"{bucket.url}/out/", expect=3)
    assert "s3://no-such-bucket/in: NoSuchBucket: The specified bucket does not exist" in said
    *_, said = matte(tree, "-o", "s3://no-such-bucket/out/", expect=5)
    assert "cannot be written: NoSuchBucket: The specified bucket does not exist" in said
    *_, said = matte(f"{bucket.url}/nothing/", "-o", f"{bucket.url}/out/", expect=3)
    assert f"no photo found in {bucket.url}/nothing/" in said


@pytest.mark.parametrize(
    "faults",
    [
        (
            {"status": 503},
            {"status": 429, "code": "TooManyRequests"},
            {"status": 500, "code": "InternalError"},
        ),
        ({"reset": True}, {"cut_after": 100}, {"stall_after": 100}, {"lost": True}),
    ],
    ids=["answers", "connections"],
)
def test_faults_that_pass_cost_no_photo(here, bucket, tree, monkeypatch, faults):
    monkeypatch.setattr(object_store, "PATIENCE", 20.0)
    upload(bucket, tree, "in/")
    for fault in faults:
        bucket.proxy.fail(method="GET", key=f"{bucket.name}/in/.*", **fault)
        bucket.proxy.fail(method="PUT", key=f"{bucket.name}/out/.*png", **fault)
        bucket.proxy.fail(listing=True, **fault)
    code, lines, said = here(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert code == 0, said
    assert set(statuses(lines).values()) == {"written"}
    assert len(objects(bucket, "out/")) == len(TREE)
    assert [fault.times for fault in bucket.proxy.faults] == [0] * 3 * len(faults)


def test_a_fault_that_stays_costs_its_photo_and_is_named(here, bucket, tree):
    upload(bucket, tree, "in/")
    bucket.proxy.fail(key=".*/in/a.jpg", status=503, times=float("inf"))
    bucket.proxy.fail(method="PUT", key=".*/out/b.png", status=500, code="Oops", times=float("inf"))
    code, lines, said = here(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert code == 1
    failed = {name for name, status in statuses(lines).items() if status == "failed"}
    assert failed == {f"{bucket.url}/in/a.jpg", f"{bucket.url}/in/b.png"}
    assert f"{bucket.url}/in/a.jpg: SlowDown: Please reduce your request rate." in said
    assert f"({bucket.url}/out/b.png)" in said
    assert len(objects(bucket, "out/")) == len(TREE) - 2


def test_rights_that_end_in_the_middle_stop_the_run(here, bucket, tree):
    upload(bucket, tree, "in/")
    refusal = {"status": 403, "code": "ExpiredToken", "message": "too late"}

    def expire(request):
        if request.method == "PUT" and request.key.endswith("png"):
            bucket.proxy.fail(method="PUT", times=float("inf"), **refusal)

    bucket.proxy.before = expire
    code, _lines, said = here(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert code == 5
    assert "ExpiredToken: too late" in said
    assert "nothing more can be written here" in said


@pytest.mark.parametrize("name", ["a.png", "sub/a.png"])
def test_one_key_that_may_not_be_written_costs_its_photo_alone(here, bucket, tree, name):
    upload(bucket, tree, "in/")
    bucket.proxy.fail(method="PUT", key=f".*/out/{name}", times=9, status=403, code="AccessDenied")
    code, lines, said = here(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert code == 1
    assert sorted(statuses(lines).values()) == ["failed"] + ["written"] * (len(TREE) - 1)
    assert f"AccessDenied: Please reduce your request rate. ({bucket.url}/out/{name})" in said
    assert "nothing more can be written" not in said


def test_a_photo_that_changes_between_listing_and_reading_fails_as_in_a_folder(here, bucket, tree):
    upload(bucket, tree, "in/")

    def replace(request):
        if request.method == "GET" and request.key.endswith("in/a.jpg"):
            bucket.put("in/a.jpg", encoded("a.jpg", 5))
        if request.method == "GET" and request.key.endswith("in/b.png"):
            bucket.delete("in/b.png")

    bucket.proxy.before = replace
    code, lines, said = here(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert code == 1
    assert "in/a.jpg: changed while it was read; run again when it is complete" in said
    assert "in/b.png: NoSuchKey" in said
    assert list(statuses(lines).values()).count("written") == len(TREE) - 2


def test_without_the_package_a_run_says_how_to_have_it(here, monkeypatch):
    monkeypatch.setattr(object_store, "open_backend", object_store.open_backend)
    monkeypatch.setitem(__import__("sys").modules, "obstore.exceptions", None)
    object_store.store_of.cache_clear()
    code, _, said = here("s3://shop/in/", "-o", "out/")
    object_store.store_of.cache_clear()
    assert code == 2
    assert "pip install 'birefcli[cloud]'" in said


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_run_that_is_ended_in_the_middle_leaves_whole_objects_and_goes_on(
    start, matte, bucket, tmp_path, number
):
    names = [f"{i:02}.jpg" for i in range(14)]
    for i, name in enumerate(names):
        bucket.put(f"in/{name}", encoded(name, i))

    signalled, ended = threading.Event(), threading.Event()

    def hold(request):
        """Some products arrive, a few more after the signal, and the last ones never."""
        if request.method == "PUT" and bucket.proxy.count("PUT", ".*png") > 3:
            signalled.wait(TIMEOUT)
        if request.method == "PUT" and bucket.proxy.count("PUT", ".*png") > 9:
            ended.wait(TIMEOUT)

    bucket.proxy.before = hold
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--threads", 2)
    words += ("--connections", 4)
    process = start("matte", *words, **bucket.variables)
    wait_for(lambda: bucket.proxy.count("PUT", ".*png") > 5)
    process.send_signal(number)
    signalled.set()
    process.communicate(timeout=TIMEOUT)
    ended.set()
    there = objects(bucket, "out/")
    assert 0 < len(there) < len(names)
    for data in there.values():
        assert data.shows(data), "it is whole"
    bucket.proxy.before = lambda _: None
    _, total, _ = matte(*words)
    assert total["written"] + total["current"] == len(names)
    assert total["current"] >= len(there)
    assert len(objects(bucket, "out/")) == len(names)


@pytest.mark.slow
def test_two_runs_at_once_write_each_product_once(start, bucket):
    names = [f"{i:02}.jpg" for i in range(20)]
    for i, name in enumerate(names):
        bucket.put(f"in/{name}", encoded(name, i))
    words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--existing", "skip", "--json")
    runs = [start("matte", *words, **bucket.variables) for _ in range(2)]
    ended = [run.communicate(timeout=TIMEOUT)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    totals = [json.loads(out.splitlines()[-1])["summary"] for out in ended]
    assert sum(total["written"] for total in totals) == len(names)
    assert len(objects(bucket, "out/")) == len(names)


@pytest.mark.slow
def test_azure_does_what_s3_does(inside, container, tree, tmp_path):
    upload(container, tree, "in/")
    words = ("matte", f"{container.url}/in/", "--json")

    def run(*more):
        result = inside(*words, *more, **container.variables)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])["summary"]

    assert run("-o", f"{container.url}/out/")["written"] == len(TREE)
    run("-o", tmp_path / "out")
    assert objects(container, "out/") == files(tmp_path / "out")
    container.proxy.reset()
    assert run("-o", f"{container.url}/out/")["current"] == len(TREE)
    assert container.proxy.count("GET", ranged=True) == len(TREE)
    assert container.proxy.count("GET", ranged=False) == 0
    container.put("in/b.png", (tree / "b.png").read_bytes())  # Azure has another ETag for it
    container.put("in/a.jpg", encoded("a.jpg", 77))
    assert run("-o", f"{container.url}/out/", "--existing", "skip")["skipped"] == len(TREE)
    assert run("-o", f"{container.url}/out/")["written"] == 2


def test_odd_inputs_become_in_a_store_what_they_become_in_a_folder(odd, inside, bucket):  # noqa: F811
    names = {}
    for place, line in odd.lines.items():
        path = Path(place)
        relative = path.relative_to(odd.folder).as_posix()
        # Pipes, links to nothing and unreadable folders have no like in a store.
        if path.is_file() and path.stat().st_size < 1 << 26 and why_no_key(relative) is None:
            bucket.put(f"in/{relative}", path.read_bytes())
            names[f"{bucket.url}/in/{relative}"] = line
    words = ("-o", f"{bucket.url}/out/", "--no-refine", "--json")
    result = inside("matte", f"{bucket.url}/in/", *words, **bucket.variables)
    assert result.returncode == 1, result.stderr
    lines = {line["input"]: line for line in map(json.loads, result.stdout.splitlines()[:-1])}
    assert lines.keys() == names.keys()
    for url, there in names.items():
        found = lines[url]
        assert (found["status"], found["notes"]) == (there["status"], there["notes"]), found
        assert (found["error"], found["reason"]) == (there["error"], there["reason"])
        assert found["outputs"].keys() == there["outputs"].keys() & {"cutout"}
        for kind, target in found["outputs"].items():
            made = bucket.get(target.removeprefix(f"{bucket.url}/"))
            assert Encoded(made).shows(Encoded(Path(there["outputs"][kind]).read_bytes()))
    assert len(lines) > 50


@pytest.mark.slow
def test_a_second_run_over_10_000_objects_reads_10_000_times_4_kb(matte, bucket):
    photo = encoded("a.jpg", 0)
    bucket.put("one/a.jpg", photo)
    matte(f"{bucket.url}/one/", "-o", f"{bucket.url}/made/")
    product = bucket.get("made/a.png")  # of all: photos of the same bytes have one ETag
    store = object_store.store_of("s3", bucket.name)
    names = [f"{i // 100:03}/{i:05}" for i in range(10_000)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.write(f"in/{name}.jpg", photo), names))
        list(pool.map(lambda name: store.write(f"out/{name}.png", product), names))
    bucket.proxy.reset()
    _, total, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert total["current"] == len(names)
    assert bucket.proxy.count("GET", ranged=True) == len(names)
    assert bucket.proxy.count("GET", ranged=False) == bucket.proxy.count("HEAD") == 0
    assert bucket.proxy.count(listing=True) == 2 * len(names) / 1000
    assert bucket.proxy.count("PUT") == 1


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_machines_of_a_cluster_read_and_write_a_store_themselves(
    matte, bucket, tree, environment, tiny_weights, tmp_path
):
    upload(bucket, tree, "in/")
    bucket.put("m/tiny.safetensors", tiny_weights.read_bytes())
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    with ray_cluster({**environment, **bucket.variables, **cache}) as cluster:
        cluster.add()
        cluster.add()
        words = (f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--on", "ray", "--device", "cpu")
        model = ("--model", f"{bucket.url}/m/tiny.safetensors")
        _, total, _ = matte(*words, *model, **cluster.environment, **cache)
        assert total["written"] == len(TREE) == len(objects(bucket, "out/"))
        assert matte(*words, *model, **cluster.environment, **cache)[1]["current"] == len(TREE)
