"""Fetching known models: real processes against a stand-in for the Hub."""

import errno
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_hub import COMMIT, REPO, environment, run, script, serving

FETCH = "print(hub.fetch(tiny))"
CONTENT = bytes(range(256)) * 16_384  # 4 MiB
CUT, KEPT = 2_500_000, 2 << 20  # a cut there leaves two whole steps of a MiB


@pytest.fixture
def fake():
    with serving(CONTENT) as hub:
        yield hub


def blobs(folder):
    return folder / "hf" / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"


def unused_url():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def fetched(fake, folder):
    """Path of the model after a successful fetch; the stand-in's records are emptied."""
    done = run(fake, folder, FETCH)
    assert done.returncode == 0, done.stderr
    fake.asked.clear()
    return done.stdout.strip()


def test_fetch_puts_the_file_where_the_hub_library_looks_for_it(fake, tmp_path):
    done = run(fake, tmp_path, FETCH)
    path = tmp_path / "hf" / "hub" / "models--someone--tiny-net" / "snapshots" / COMMIT
    assert done.stdout.strip() == str(path / "model.safetensors")
    assert (path / "model.safetensors").read_bytes() == CONTENT
    assert [entry.name for entry in blobs(tmp_path).iterdir()] == [fake.sha256]
    look = """
from huggingface_hub import try_to_load_from_cache
print(try_to_load_from_cache(tiny.repo, tiny.filename))
"""
    assert run(fake, tmp_path, look).stdout == done.stdout


def test_fetched_file_has_ordinary_permissions(fake, tmp_path):
    path = fetched(fake, tmp_path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o666 & ~umask


def test_nothing_is_printed_when_stderr_is_no_terminal(fake, tmp_path):
    assert run(fake, tmp_path, FETCH).stderr == ""


def test_cached_file_costs_no_request(fake, tmp_path):
    path = fetched(fake, tmp_path)
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stdout.strip(), fake.asked) == (0, path, [])


def test_file_cached_by_another_program_costs_no_request_but_is_verified(fake, tmp_path):
    load = "from huggingface_hub import hf_hub_download; hf_hub_download(tiny.repo, tiny.filename)"
    assert run(fake, tmp_path, load, HF_HUB_DISABLE_PROGRESS_BARS="1").returncode == 0
    fake.asked.clear()
    assert run(fake, tmp_path, "print(hub.state(tiny).value)").stdout == "cached\n"
    assert run(fake, tmp_path, FETCH).returncode == 0
    assert run(fake, tmp_path, "print(hub.state(tiny).value)").stdout == "verified\n"
    assert fake.asked == []


@pytest.mark.parametrize("body", [FETCH, "print(hub.fetch(tiny, offline=True))"])
def test_offline_uses_the_cache(fake, tmp_path, body):
    path = fetched(fake, tmp_path)
    done = run(fake, tmp_path, body, HF_HUB_OFFLINE="1" if body == FETCH else "0")
    assert (done.returncode, done.stdout.strip(), fake.asked) == (0, path, [])


@pytest.mark.parametrize("body", [FETCH, "hub.fetch(tiny, offline=True)"])
def test_offline_without_the_file_says_both_ways_out_and_asks_nobody(fake, tmp_path, body):
    done = run(fake, tmp_path, body, HF_HUB_OFFLINE="1" if body == FETCH else "0")
    assert done.returncode == 4
    assert fake.asked == []
    assert "birefcli models pull tiny" in done.stderr
    assert "model=mini" in done.stderr
    assert "offline or HF_HUB_OFFLINE" in done.stderr


def test_unreachable_hub_says_both_ways_out(fake, tmp_path):
    url = unused_url()
    done = run(fake, tmp_path, FETCH, url=url)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    for part in (url, "birefcli models pull tiny", "model=mini"):
        assert part in done.stderr


def test_transfer_that_is_cut_once_goes_on_within_the_run(fake, tmp_path):
    fake.cut_after, fake.cut_once = CUT, True
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("GET", f"/bytes/{fake.sha256}", f"bytes={KEPT}-") in fake.asked
    assert fake.delivered == CUT + len(CONTENT) - KEPT


def test_download_that_breaks_off_goes_on_in_the_next_run(fake, tmp_path):
    fake.cut_after = CUT
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "broke off at 2 of 4 MB" in done.stderr
    assert "run again to go on from there" in done.stderr
    assert run(fake, tmp_path, "print(hub.state(tiny).value)").stdout == "partial\n"

    fake.cut_after = None
    fake.asked.clear()
    again = run(fake, tmp_path, FETCH)
    assert again.returncode == 0, again.stderr
    ranges = [asked[2] for asked in fake.asked if asked[0] == "GET" and "/bytes/" in asked[1]]
    assert ranges == [f"bytes={KEPT}-"]
    assert fake.delivered == CUT + len(CONTENT) - KEPT
    assert (tmp_path / again.stdout.strip()).read_bytes() == CONTENT
    assert [entry.name for entry in blobs(tmp_path).iterdir()] == [fake.sha256]


def test_server_that_cannot_resume_sends_the_whole_file_again(fake, tmp_path):
    fake.cut_after = CUT
    assert run(fake, tmp_path, FETCH).returncode == 4
    fake.cut_after, fake.ranges = None, False
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.strip()).read_bytes() == CONTENT


def test_download_with_wrong_bytes_is_refused_and_the_next_run_starts_anew(fake, tmp_path):
    fake.sent = CONTENT[:-1] + b"!"
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stdout) == (4, "")
    assert "tiny: the download has a wrong checksum" in done.stderr
    assert "run again" in done.stderr
    assert list(blobs(tmp_path).iterdir()) == []

    fake.sent = None
    assert run(fake, tmp_path, FETCH).returncode == 0


def test_file_that_is_longer_than_announced_is_refused(fake, tmp_path):
    fake.sent = CONTENT + b"more"
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stdout) == (4, "")
    assert "broke off" in done.stderr
    fake.sent = None
    assert run(fake, tmp_path, FETCH).returncode == 0


def test_file_that_is_shorter_than_announced_is_refused(fake, tmp_path):
    fake.sent = CONTENT[:-1000]
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stdout) == (4, "")
    assert "broke off" in done.stderr


def test_new_version_on_the_hub_is_refused_before_it_is_downloaded(fake, tmp_path):
    fake.etag = "f" * 64
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 4
    assert "another file than the one birefcli knows" in done.stderr
    assert fake.delivered == 0


def test_another_version_in_the_cache_is_neither_used_nor_removed(fake, tmp_path):
    other = blobs(tmp_path) / ("e" * 64)
    entry = blobs(tmp_path).parent / "snapshots" / ("9" * 40) / "model.safetensors"
    other.parent.mkdir(parents=True)
    entry.parent.mkdir(parents=True)
    other.write_bytes(CONTENT[::-1])
    entry.symlink_to(f"../../blobs/{other.name}")
    done = run(fake, tmp_path, FETCH)
    assert COMMIT in done.stdout
    assert entry.read_bytes() == CONTENT[::-1]


def test_checksum_is_computed_once_and_remembered(fake, tmp_path):
    fetched(fake, tmp_path)
    forbid = (
        "def fail(path): raise AssertionError('hashed again')\nchecksum.measure_sha256 = fail\n"
    )
    assert run(fake, tmp_path, forbid + FETCH).returncode == 0
    # Without the memory the same program does hash: the test above can fail.
    for note in (tmp_path / "xdg" / "birefcli" / "digests").iterdir():
        note.unlink()
    assert "hashed again" in run(fake, tmp_path, forbid + FETCH).stderr


def test_blob_that_changed_on_disk_is_noticed_removed_and_downloaded_again(fake, tmp_path):
    path = tmp_path / fetched(fake, tmp_path)
    path.write_bytes(CONTENT[:-1] + b"!")
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stdout, fake.asked) == (4, "", [])
    assert "was damaged and has been removed" in done.stderr
    assert "birefcli models pull tiny" in done.stderr
    assert not path.is_symlink()
    assert list(blobs(tmp_path).iterdir()) == []
    assert run(fake, tmp_path, FETCH).returncode == 0
    assert path.read_bytes() == CONTENT


def test_unwritable_memory_of_checksums_stops_nothing(fake, tmp_path):
    (tmp_path / "xdg").write_text("a file where the folder should be")
    assert run(fake, tmp_path, FETCH).returncode == 0
    assert run(fake, tmp_path, FETCH).returncode == 0


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "(HTTP 404); check HF_ENDPOINT"),
        (404, {"X-Error-Code": "EntryNotFound"}, "(HTTP 404); check HF_ENDPOINT"),
        (401, {"X-Error-Message": "Invalid credentials"}, "(HTTP 401); it may have become private"),
        (403, {"X-Error-Code": "GatedRepo"}, "(HTTP 403); it may have become private"),
        (503, {}, "does not serve it now (HTTP 503); download it where there is a network"),
    ],
)
def test_refusal_of_the_hub_is_one_line_that_says_what_to_do(fake, tmp_path, status, headers, told):
    fake.status, fake.headers = status, headers
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert "model=mini" in done.stderr


def test_server_that_is_no_hub_is_told_apart(fake, tmp_path):
    fake.headers = {"X-Repo-Commit": ""}
    fake.status = 200
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 4
    assert "does not answer like a Hugging Face Hub" in done.stderr


def test_token_goes_to_the_hub_and_no_further(fake, tmp_path):
    assert run(fake, tmp_path, FETCH, HF_TOKEN="hf_secret").returncode == 0
    assert {token for path, token in fake.tokens if "resolve" in path} == {"Bearer hf_secret"}
    assert {token for path, token in fake.tokens if "bytes" in path} == {None}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_token_goes_to_no_other_port_and_no_other_host(fake, tmp_path, host):
    fake.storage = fake.storage.replace("127.0.0.1", host)
    assert run(fake, tmp_path, FETCH, HF_TOKEN="hf_secret").returncode == 0
    assert {token for path, token in fake.tokens if "bytes" in path} == {None}


def with_password(url, user="me", password="s3cr%3At-word"):
    return url.replace("://", f"://{user}:{password}@")


def test_password_of_the_hub_is_sent_to_the_hub_alone_and_never_shown(fake, tmp_path):
    url = with_password(fake.url)
    done = run(fake, tmp_path, FETCH, url=url)
    assert (done.returncode, done.stderr) == (0, "")
    assert {token for path, token in fake.tokens if "bytes" in path} == {None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 404},
        {"status": 401},
        {"status": 503},
        {"status": 200, "headers": {"X-Repo-Commit": ""}},
        {"cut_after": 1000},
        {"cut_after": CUT},
        {"etag": "../../../../stolen"},
        {"storage": "http://me:s3cr%3At-word@127.0.0.1:9"},
        {"storage": "http://127.0.0.1:9/signed?Signature=s3cr%3At-word&"},
        {"storage": "nonsense://me:s3cr%3At-word@127.0.0.1:9"},
        None,
    ],
    ids=str,
)
def test_no_password_and_no_token_is_in_any_message(fake, tmp_path, wrong):
    """Each way a download fails, with passwords in all that can have them."""
    url = with_password(fake.url if wrong is not None else unused_url())
    for name, value in (wrong or {}).items():
        setattr(fake, name, value)
    done = run(fake, tmp_path, FETCH, url=url, HF_TOKEN="hf_s3cr:t-word")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "word" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*stolen*"))


@pytest.mark.parametrize("scheme", ["http://", "", "socks9://"])
def test_password_of_a_proxy_is_in_no_message(fake, tmp_path, scheme):
    proxy = f"{scheme}me:s3cr%3At-word@127.0.0.1:9"
    done = run(fake, tmp_path, FETCH, HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "word" not in done.stderr


def test_users_own_file_that_is_linked_in_the_cache_survives_a_download(fake, tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"mine")
    entry = blobs(tmp_path).parent / "snapshots" / COMMIT / "model.safetensors"
    entry.parent.mkdir(parents=True)
    entry.symlink_to(mine)
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 4
    assert f"led to another file ({mine}); that is left" in done.stderr
    assert run(fake, tmp_path, FETCH).returncode == 0
    assert entry.read_bytes() == CONTENT
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", ["", ".incomplete"])
@pytest.mark.parametrize("linked", [False, True])
def test_wrong_bytes_under_the_name_of_the_download_are_replaced(fake, tmp_path, suffix, linked):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"mine")
    blob = blobs(tmp_path) / f"{fake.sha256}{suffix}"
    blob.parent.mkdir(parents=True)
    if linked:
        blob.symlink_to(mine)
    else:
        blob.write_bytes(CONTENT[::-1])
    first = run(fake, tmp_path, FETCH)
    # A part of the right length is only found to be wrong once it is whole.
    assert first.returncode == (4 if suffix and not linked else 0)
    done = run(fake, tmp_path, FETCH)
    assert (tmp_path / done.stdout.strip()).read_bytes() == CONTENT
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", ["", ".incomplete"])
def test_pipe_in_the_place_of_a_download_is_not_waited_for(fake, tmp_path, suffix):
    blobs(tmp_path).mkdir(parents=True)
    os.mkfifo(blobs(tmp_path) / f"{fake.sha256}{suffix}")
    done = run(fake, tmp_path, FETCH)
    assert (tmp_path / done.stdout.strip()).read_bytes() == CONTENT


@pytest.mark.slow
def test_download_that_is_killed_at_any_moment_ends_with_the_right_file(fake, tmp_path):
    """Forty kills; between them no damaged file is ever handed out."""
    chance = random.Random(16)
    fake.pause = 0.1
    killed = done = 0
    while killed < 40:
        process = subprocess.Popen(
            script(fake, FETCH),
            env=environment(tmp_path, fake.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            process.wait(chance.uniform(0.2, 3.0))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        out, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), err
        if process.returncode == 0:
            done += 1
            path = Path(out.decode().strip())
            assert path.read_bytes() == CONTENT
            shutil.rmtree(tmp_path / "hf")
    fake.pause = 0
    last = run(fake, tmp_path, FETCH)
    assert (tmp_path / last.stdout.strip()).read_bytes() == CONTENT
    assert [path.name for path in blobs(tmp_path).iterdir()] == [fake.sha256]
    print(f"{killed} kills, {done} whole downloads between them")


def test_too_small_disk_is_told_before_the_download(fake, tmp_path):
    body = "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(9, 8, 1)\n"
    done = run(fake, tmp_path, body + FETCH)
    assert done.returncode == 4
    assert "no space for its 4 MB" in done.stderr
    assert str(tmp_path / "hf" / "hub") in done.stderr
    assert fake.delivered == 0


def test_disk_that_fills_up_on_the_way_is_told_as_such(fake, tmp_path):
    body = f"""
def full(part, data):
    raise OSError({errno.ENOSPC}, "No space left on device")
download._Part.write = full
"""
    done = run(fake, tmp_path, body.strip() + "\n" + FETCH)
    assert done.returncode == 4
    assert "no space for its 4 MB" in done.stderr
    assert done.stderr.count("\n") == 1


def test_cache_that_cannot_be_written_is_told(fake, tmp_path):
    (tmp_path / "hf").write_text("a file where the folder should be")
    done = run(fake, tmp_path, FETCH)
    assert done.returncode == 4
    assert "the cache cannot be written" in done.stderr
    assert "HF_HOME" in done.stderr


def test_programs_that_fetch_at_once_transfer_the_file_once(fake, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: run(fake, tmp_path, FETCH), range(3)))
    assert [d.returncode for d in done] == [0, 0, 0]
    assert fake.delivered == len(CONTENT)


def test_looking_into_the_cache_imports_little(fake, tmp_path):
    body = """
hub.state(tiny), cache.cached(tiny)
assert not {"torch", "httpx", "httpx2", "requests", "tqdm"} & {*sys.modules}
"""
    done = run(fake, tmp_path, body, forked=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_file_kept_in_the_hubs_chunk_store_is_fetched_over_plain_http(fake, tmp_path):
    fake.headers = {"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": f"{fake.url}/api/xet-token"}
    done = run(fake, tmp_path, FETCH)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / done.stdout.strip()).read_bytes() == CONTENT


def test_cache_without_symlinks_holds_the_file_once(fake, tmp_path):
    body = """
from huggingface_hub import file_download
file_download.are_symlinks_supported = lambda cache_dir=None: False
"""
    body = body.strip() + "\n" + FETCH
    done = run(fake, tmp_path, body)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / done.stdout.strip()
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()
    assert list(blobs(tmp_path).iterdir()) == []
    fake.asked.clear()
    assert run(fake, tmp_path, body).stdout == done.stdout
    assert fake.asked == []


def test_mirror_with_names_of_its_own_for_files_is_served_and_verified(fake, tmp_path):
    fake.etag = "some-mirror-1234"
    path = tmp_path / fetched(fake, tmp_path)
    assert run(fake, tmp_path, FETCH).returncode == 0
    path.write_bytes(CONTENT[::-1])
    assert run(fake, tmp_path, FETCH).returncode == 4
    assert fake.asked == []


@pytest.mark.parametrize("body", [FETCH, "hub.verify(tiny)"])
def test_cached_file_that_cannot_be_read_is_told(fake, tmp_path, body):
    path = fetched(fake, tmp_path)
    broken = """
def fails(path):
    raise OSError(5, "Input/output error", str(path))
checksum.remembered = lambda path: None
checksum.measure_sha256 = fails
"""
    done = run(fake, tmp_path, broken.strip() + "\n" + body)
    assert done.returncode == 4
    assert f"{path} cannot be read (Input/output error)" in done.stderr


def test_removal_that_the_system_forbids_is_not_reported_as_done(fake, tmp_path):
    path = fetched(fake, tmp_path)
    forbid = """
import os, shutil, pathlib
def fails(*args, **more):
    raise PermissionError(13, "Permission denied")
os.unlink = os.remove = shutil.rmtree = pathlib.Path.unlink = fails
"""
    done = run(fake, tmp_path, forbid.strip() + "\nhub.remove(tiny)")
    assert done.returncode == 4
    assert "not all of it could be deleted" in done.stderr
    assert Path(path).read_bytes() == CONTENT
