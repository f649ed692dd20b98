import errno
import os
import pickle
import signal
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest
import stores
from obstore.store import LocalStore, MemoryStore

from birefcli.errors import UsageError
from birefcli.system import object_store
from birefcli.system.object_access import open_backend
from birefcli.system.object_store import ObjectStore, store_for, store_of
from birefcli.system.object_url import parse_url

SLOWLY = ("503 SlowDown", "500 InternalError", "502 BadGateway", "429 TooManyRequests")
PHOTO = bytes(range(256)) * 200
WAIT = 120.0  # seconds


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Faults pass within moments, and a test waits no longer for those that do not."""
    monkeypatch.setattr(object_store, "PATIENCE", 3.0)
    monkeypatch.setattr(object_store, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(object_store, "STALL", 1.0)


@pytest.fixture(params=["memory", "local", "s3", pytest.param("az", marks=pytest.mark.slow)])
def store(request, tmp_path):
    """A store of each kind."""
    if request.param == "memory":
        return ObjectStore("s3", "shop", MemoryStore())
    if request.param == "local":
        return ObjectStore("s3", "shop", LocalStore(tmp_path))
    bucket = request.getfixturevalue({"s3": "bucket", "az": "container"}[request.param])
    return store_of(request.param, bucket.name)


@pytest.fixture
def shop(bucket):
    """The store of a bucket of S3."""
    return store_of("s3", bucket.name)


# The same in every store


def test_what_is_written_is_read_again_with_its_size_and_tag(store):
    store.write("in/a b+é.jpg", PHOTO)
    found = store.head("in/a b+é.jpg")
    assert (found.key, found.size) == ("in/a b+é.jpg", len(PHOTO))
    assert found.modified_ns > 1_700_000_000 * 10**9
    assert store.read("in/a b+é.jpg") == PHOTO
    assert store.read("in/a b+é.jpg", found.etag) == PHOTO


def test_a_part_is_read_and_nothing_beyond_the_end(store):
    store.write("a", b"0123456789")
    store.write("empty", b"")
    assert store.read_range("a", 2, 3) == b"234"
    assert store.read_range("a", 8, 4096) == b"89"
    assert store.read_range("a", 0, 0) == b""
    assert store.read("empty") == b""


def test_an_object_is_a_file_of_which_only_what_is_asked_for_is_read(shop, bucket):
    bucket.put("a", PHOTO)
    entry = shop.head("a")
    bucket.proxy.reset()
    with shop.open(entry) as file:
        assert file.seek(0, 2) == len(PHOTO)
        assert bucket.proxy.requests == []
        file.seek(0)
        assert file.read() == PHOTO
    assert bucket.proxy.count("GET", ranged=False) == 1
    with shop.open(entry) as file:
        assert file.read(4) == PHOTO[:4]
        file.seek(100)
        assert file.read() == PHOTO[100:]
        assert file.read() == b""
        file.seek(len(PHOTO) + 5)
        assert file.read() == b""
    bucket.put("a", PHOTO[:-1])
    with shop.open(entry) as file, pytest.raises(OSError) as changed:  # noqa: PT011
        file.read()
    assert changed.value.errno == errno.ESTALE


def test_a_listing_says_of_objects_what_they_say_themselves(store):
    for key in ("in/a.jpg", "in/sub/b.jpg", "in.jpg", "inn/c.jpg"):
        store.write(key, PHOTO)
    listed = sorted(store.list("in"))
    assert [entry.key for entry in listed] == ["in/a.jpg", "in/sub/b.jpg"]
    assert listed == sorted(store.list("in/"))
    assert listed[0] == store.head("in/a.jpg")
    assert len(list(store.list())) == 4
    assert list(store.list("none")) == []


def test_an_object_is_created_only_where_none_is(store):
    store.write("a", b"one", create_only=True)
    with pytest.raises(FileExistsError) as refused:
        store.write("a", b"two", create_only=True)
    assert refused.value.filename == store.url("a")
    assert store.read("a") == b"one"
    store.write("a", b"three")
    assert store.read("a") == b"three"


def test_an_object_that_is_not_there_is_a_file_not_found(store):
    store.write("there", b"")
    for ask in (store.head, store.read, lambda key: store.read_range(key, 0, 9)):
        with pytest.raises(FileNotFoundError) as missing:
            ask("none.jpg")
        assert missing.value.filename == store.url("none.jpg")
        assert missing.value.errno == errno.ENOENT


def test_an_object_that_changed_is_told_by_its_tag(store):
    store.write("a", b"one")
    tag = store.head("a").etag
    store.write("a", b"another")
    for ask in (lambda: store.read("a", tag), lambda: store.read_range("a", 0, 2, tag)):
        with pytest.raises(OSError) as changed:  # noqa: PT011 - errno says which
            ask()
        assert changed.value.errno == errno.ESTALE


def test_whether_a_place_can_be_read_and_written_is_asked_and_nothing_left(store):
    store.write("in/a", b"one")
    store.check_readable("in")
    store.check_readable("empty/")
    store.check_writable("out")
    store.check_writable("in/")
    store.check_writable()
    assert [entry.key for entry in store.list()] == ["in/a"]


# What fails, and what the store says


def test_what_fails_for_a_moment_is_tried_again(shop, bucket):
    bucket.put("a", PHOTO)
    for status, code in (fault.split() for fault in SLOWLY):
        bucket.proxy.fail(status=int(status), code=code, times=2)
        assert shop.read("a") == PHOTO
        bucket.proxy.fail(status=int(status), code=code)
        assert shop.head("a").size == len(PHOTO)
        bucket.proxy.fail(status=int(status), code=code)
        assert len(list(shop.list())) == 1
        bucket.proxy.fail(status=int(status), code=code)
        shop.write("b", PHOTO)
        shop._client().delete("b")


@pytest.mark.parametrize(
    "fault", [{"reset": True}, {"cut_after": 5000}, {"cut_after": 0}, {"stall_after": 5000}]
)
def test_a_connection_that_breaks_or_stalls_is_a_fault_that_passes(shop, bucket, fault):
    bucket.put("a", PHOTO)
    bucket.proxy.fail(**fault)
    assert shop.read("a") == PHOTO
    assert bucket.proxy.count("GET", ".*/a") == 2


def test_an_upload_whose_answer_never_comes_is_sent_again(shop, bucket):
    bucket.proxy.fail(method="PUT", lost=True)
    bucket.proxy.fail(method="PUT", stall_after=0)
    shop.write("a", PHOTO)
    shop.write("a", PHOTO[:99])
    assert bucket.get("a") == PHOTO[:99]
    assert bucket.proxy.count("PUT") >= 3


def test_a_fault_that_stays_is_a_timeout_in_the_stores_word(shop, bucket):
    bucket.put("a", PHOTO)
    assert shop.read("a")
    bucket.proxy.fail(status=503, times=float("inf"))
    with pytest.raises(TimeoutError) as failed:
        shop.read("a")
    assert failed.value.filename == f"{bucket.url}/a"
    word = "SlowDown: Please reduce your request rate. (tried for "
    assert str(failed.value.strerror).startswith(word)
    assert bucket.proxy.count("GET", ".*/a") > 3


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", PermissionError),
        (401, "Unauthorized", PermissionError),
        (403, "InvalidAccessKeyId", PermissionError),
        (404, "NoSuchBucket", FileNotFoundError),
        (400, "AuthorizationHeaderMalformed", OSError),
        (507, "XMinioStorageFull", OSError),
    ],
)
def test_what_will_not_pass_is_told_at_once_in_the_stores_word(shop, bucket, status, code, kind):
    told = "expecting 'eu-west-1' &amp; not\n us-east-1"
    for ask in (
        lambda: shop.read("a"),
        lambda: shop.write("a", b""),
        lambda: next(shop.list()),
        lambda: shop.check_writable("out"),
    ):
        bucket.proxy.reset()
        bucket.proxy.fail(status=status, code=code, message=told)
        with pytest.raises(kind) as refused:
            ask()
        assert refused.value.strerror == f"{code}: expecting 'eu-west-1' & not"
        assert refused.value.filename.startswith(f"{bucket.url}/")
        assert len(bucket.proxy.requests) == 1
        assert (refused.value.errno == errno.ENOSPC) == (status == 507)


def test_a_bucket_that_is_not_there_is_told_by_its_code(bucket):
    missing = store_of("s3", "no-such-bucket")
    for ask in (
        lambda: next(missing.list()),
        lambda: missing.read("a"),
        missing.check_readable,
        lambda: missing.check_writable("out"),
        lambda: missing.write("a", b""),
    ):
        with pytest.raises(FileNotFoundError, match="NoSuchBucket: The specified bucket does not"):
            ask()


def test_a_store_that_nobody_listens_for_is_told_with_the_systems_word(bucket, monkeypatch):
    monkeypatch.setattr(object_store, "UNREACHED", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="cannot be reached") as failed:
        store_of("s3", "elsewhere").check_readable()
    assert "refused" in str(failed.value.strerror).lower()
    assert "Traceback" not in str(failed.value.strerror)


def test_a_bucket_of_another_region_is_told(shop, bucket):
    bucket.proxy.fail(status=301, code="PermanentRedirect")
    with pytest.raises(OSError, match="the bucket is in another region; set AWS_REGION"):
        next(shop.list())


def test_one_line_is_said_and_no_secret_in_it(shop, bucket):
    secret = "https://user:hunter22@proxy/?token=abc"
    bucket.proxy.fail(status=403, code="Denied", message=f"{secret}\x1b[31m{'long ' * 200}")
    with pytest.raises(PermissionError) as refused:
        shop.read("a")
    assert "hunter22" not in refused.value.strerror
    assert "abc" not in refused.value.strerror
    assert "\x1b" not in refused.value.strerror
    assert len(refused.value.strerror) <= 300


# Created once


def test_an_answer_that_was_lost_makes_nobody_of_ours_a_stranger(shop, bucket):
    bucket.proxy.fail(method="PUT", lost=True)
    shop.write("a", PHOTO, create_only=True)
    assert bucket.get("a") == PHOTO
    assert bucket.proxy.count("PUT") == 2


@pytest.mark.parametrize("theirs", [b"another", bytes(len(PHOTO))])
def test_what_another_wrote_meanwhile_exists(shop, bucket, theirs):
    bucket.put("a", theirs)
    bucket.proxy.fail(method="PUT", reset=True)
    with pytest.raises(FileExistsError):
        shop.write("a", PHOTO, create_only=True)
    assert bucket.get("a") == theirs


def test_a_conflict_of_two_writers_is_tried_again(shop, bucket):
    bucket.proxy.fail(method="PUT", status=409, code="ConditionalRequestConflict")
    shop.write("a", PHOTO, create_only=True)
    assert bucket.get("a") == PHOTO


# Before any work


def test_to_ask_whether_a_prefix_can_be_written_takes_one_request_that_stores_nothing(shop, bucket):
    shop.check_writable("out/")
    assert [request.method for request in bucket.proxy.requests] == ["PUT"]
    assert bucket.names() == []


def test_a_store_without_conditions_is_left_as_it_was(shop, bucket):
    bucket.put("out/a", PHOTO)
    bucket.proxy.fail(method="PUT", drop_headers=("If-Match",))
    shop.check_writable("out/")
    assert [request.method for request in bucket.proxy.requests] == ["PUT", "DELETE"]
    assert bucket.names() == ["out/a"]


def test_what_may_be_listed_and_not_read_is_refused_in_the_stores_word(shop, bucket):
    bucket.put("in/a", PHOTO)
    refusal = {"status": 403, "code": "AccessDenied", "message": "not you", "times": 99}
    bucket.proxy.fail(key=".*/a", **refusal)
    with pytest.raises(PermissionError, match="AccessDenied: not you"):
        shop.check_readable("in")


@pytest.mark.slow
def test_azure_refuses_a_wrong_key_and_a_container_that_is_not_there(container, monkeypatch):
    missing = store_of("az", "no-such-container")
    for ask in (missing.check_readable, missing.check_writable):
        with pytest.raises(FileNotFoundError) as refused:
            ask()
        word = "ContainerNotFound: The specified container does not exist."
        assert refused.value.strerror == word
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA" + stores.AZURE_KEY[4:])
    store_of.cache_clear()
    denied = store_of("az", container.name)
    for ask in (denied.check_readable, denied.check_writable):
        with pytest.raises(PermissionError, match="AuthorizationFailure: "):
            ask()
    assert container.names() == []


# Listings


def test_a_long_listing_comes_in_pages_and_goes_on_after_a_fault(monkeypatch):
    monkeypatch.setattr(object_store, "PAGE", 3)
    with stores.moto_server(page=3) as port, stores.new_bucket("s3", port) as many:
        for name, value in many.variables.items():
            monkeypatch.setenv(name, value)
        keys = [f"in/{i:02}.jpg" for i in range(20)]
        for key in keys:
            many.put(key, b"")
        listing = ObjectStore("s3", many.name).list("in")
        assert next(listing).key == keys[0]
        assert len(many.proxy.requests) == 1  # and not all pages before the first object
        many.proxy.fail(status=503)
        many.proxy.fail(listing=True, cut_after=100)
        assert [entry.key for entry in listing] == keys[1:]
        assert many.proxy.count(listing=True) == 7 + 2


def test_a_name_that_is_no_path_spoils_its_own_folder_only(shop, bucket):
    good = ["in/a.jpg", "in/a/b.jpg", "in/c/d/e.jpg", "in/z.jpg"]
    for key in (*good, "in/bad//b.jpg", "in/bad/c.jpg", "in/worse/../x.jpg", "in/w/x\ty.jpg"):
        bucket.put(key, b"")
    with pytest.raises(OSError, match="holds 'in/bad//', which is no path"):
        list(shop.list("in"))
    refused = []
    assert sorted(entry.key for entry in shop.list("in", refused.append)) == good
    assert sorted(error.filename for error in refused) == [
        f"{bucket.url}/in/{folder}/" for folder in ("bad", "w", "worse")
    ]
    assert list(shop.list("in/c")) == list(shop.list("in/c/d"))


def test_marks_of_folders_are_no_hindrance(shop, bucket):
    bucket.put("in/sub/", b"")
    bucket.put("in/sub/a.jpg", PHOTO)
    shop.check_readable("in")
    assert "in/sub/a.jpg" in [entry.key for entry in shop.list("in")]


# In many threads, and other processes


def test_many_threads_share_a_client(shop, bucket):
    for i in range(20):
        bucket.put(f"in/{i}", bytes([i]) * 5000)
    with ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(lambda i: shop.read_range(f"in/{i % 20}", 0, 4096), range(200)))
    assert parts == [bytes([i % 20]) * 4096 for i in range(200)]
    assert bucket.proxy.count("GET", ranged=True) == 200


def test_a_client_travels_by_its_name(shop, bucket):
    assert pickle.loads(pickle.dumps(shop)) is shop
    assert store_for(parse_url(f"{bucket.url}/in/a.jpg")) is shop
    assert bucket.variables["AWS_SECRET_ACCESS_KEY"].encode() not in pickle.dumps(shop)


def test_an_error_travels_with_all_it_says(shop):
    with pytest.raises(FileNotFoundError) as missing:
        shop.read("none")
    other = pickle.loads(pickle.dumps(missing.value))
    assert (other.code, other.status, str(other)) == ("NoSuchKey", 404, str(missing.value))
    assert isinstance(other, FileNotFoundError)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_a_signal_is_heard_while_a_store_does_not_answer(shop, bucket, monkeypatch):
    class HeardError(Exception):
        pass

    def hear(*_):
        raise HeardError

    monkeypatch.setattr(object_store, "STALL", WAIT)
    bucket.put("a", PHOTO)
    bucket.proxy.fail(stall_after=5)
    bucket.proxy.before = lambda _: os.kill(os.getpid(), signal.SIGUSR1)
    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with pytest.raises(HeardError):
            shop.read("a")
        others = [t for t in threading.enumerate() if t.name.startswith("Thread-") and t.daemon]
        assert any("run" in t.name for t in others)  # it is still at it
    finally:
        signal.signal(signal.SIGUSR1, before)
        bucket.proxy.closing.set()


# Without the package


def test_without_the_package_one_line_says_how_to_have_it(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "obstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"pip install 'birefcli\[cloud\]'"):
        ObjectStore("s3", "shop").read("a")


# Where credentials are found


@pytest.fixture
def nothing_set(monkeypatch, tmp_path):
    """No variable of any store, and a home without files."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path


def test_keys_region_and_endpoint_of_a_profile_are_used(nothing_set, monkeypatch):
    (nothing_set / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = one\naws_secret_access_key = s1\n"
        "[shop]\naws_access_key_id = two\naws_secret_access_key = s2\naws_session_token = t2\n"
    )
    (nothing_set / ".aws" / "config").write_text(
        "[default]\nregion = eu-west-1\n"
        "[profile shop]\nregion = eu-north-1\nendpoint_url = http://127.0.0.1:9000\n"
    )
    config = open_backend("s3", "b", 9).config
    assert (config["access_key_id"], config["region"]) == ("one", "eu-west-1")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    shop = open_backend("s3", "b", 9)
    assert (shop.config["access_key_id"], shop.config["region"]) == ("two", "eu-north-1")
    assert (shop.config["session_token"], shop.config["endpoint"]) == (
        "t2",
        "http://127.0.0.1:9000",
    )
    assert str(shop.client_options["allow_http"]).lower() == "true"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "three")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    config = open_backend("s3", "b", 9).config
    assert config["region"] == "us-west-2"
    assert "access_key_id" not in config  # obstore finds those of the environment by itself


def test_a_profile_that_signs_on_elsewhere_is_followed_by_boto3_or_told(nothing_set, monkeypatch):
    lines = "[profile work]\ncredential_process = /nowhere/tool\nregion = eu-west-1\n"
    (nothing_set / ".aws" / "config").write_text(lines)
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    with pytest.raises(PermissionError, match=r"the profile work signs on.*pip install boto3"):
        store_of("s3", "signed-on").check_readable()


def test_without_credentials_one_line_says_where_they_may_be(nothing_set, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PermissionError, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        ObjectStore("s3", "b").check_readable()
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(PermissionError, match="the profile gone has no credentials"):
        ObjectStore("s3", "b").check_readable()
    with pytest.raises(OSError, match="no storage account; set AZURE_STORAGE_ACCOUNT_NAME"):
        ObjectStore("az", "b").check_readable()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(OSError, match=r"/nowhere\.json"):
        ObjectStore("gs", "b").check_readable()


def test_azure_is_found_by_the_variables_of_its_own_tools(nothing_set, monkeypatch):
    text = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.x"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    config = open_backend("az", "c", 9).config
    assert (config["account_name"], config["account_key"]) == ("acc", "a2V5")
    assert config["endpoint"] == "https://acc.blob.core.x"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "other")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V6")
    config = open_backend("az", "c", 9).config
    assert (config["account_name"], config["account_key"]) == ("other", "a2V6")


def test_googles_emulator_is_found_by_the_variable_of_its_own_tools(nothing_set, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")
    found = open_backend("gs", "b", 9)
    assert found.config["base_url"] == "http://127.0.0.1:4443"
    assert str(found.client_options["allow_http"]).lower() == "true"


ONE_LINE = [
    ("s3", "AWS_ACCESS_KEY_ID"),
    ("s3", "AWS_SECRET_ACCESS_KEY"),
    ("s3", "AWS_SESSION_TOKEN"),
    ("s3", "AWS_REGION"),
    ("s3", "AWS_ENDPOINT_URL"),
    ("gs", "GOOGLE_BASE_URL"),
    ("az", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("az", "AZURE_STORAGE_CONNECTION_STRING"),
]


@pytest.mark.parametrize(("scheme", "name"), ONE_LINE)
def test_a_setting_that_ends_in_a_line_break_is_refused_by_its_name(
    nothing_set, monkeypatch, scheme, name
):
    """As it does in a secret of Kubernetes that was made by echo."""
    monkeypatch.setenv(name, "http://hidden:1\n")
    with pytest.raises(OSError, match=f"the variable {name} ends in a line break") as refused:
        ObjectStore(scheme, "b").check_readable()
    assert refused.value.errno == errno.EINVAL
    assert "hidden" not in str(refused.value)
    monkeypatch.setenv(name, "hid\nden")
    with pytest.raises(OSError, match=f"the variable {name} has a control character in it"):
        ObjectStore(scheme, "b").check_readable()


def test_what_is_no_address_is_refused_by_the_name_of_who_gives_it(nothing_set, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;BlobEndpoint=a:pw@host")
    with pytest.raises(OSError, match=r"BlobEndpoint in AZURE_.* is no address") as refused:
        ObjectStore("az", "b").check_readable()
    assert "pw" not in str(refused.value)
    (nothing_set / ".aws" / "config").write_text("[default]\nendpoint_url = 127.0.0.1:9\n")
    with pytest.raises(OSError, match="the profile's endpoint_url is no address"):
        ObjectStore("s3", "b").check_readable()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "user:password@127.0.0.1:9")
    with pytest.raises(OSError, match="the variable AWS_ENDPOINT_URL is no address") as refused:
        ObjectStore("s3", "b").check_readable()
    assert "password" not in str(refused.value)


def test_where_the_client_itself_breaks_off_one_line_says_so():
    """What it raises then is no Exception, and would pass every handler."""

    class Broken:
        def head(self, key):
            raise PanicException("called unwrap() on https://me:password@host")

    class PanicException(BaseException):
        pass

    with pytest.raises(OSError, match=r"obstore broke off .*; check the endpoint") as told:
        ObjectStore("s3", "b", Broken()).head("a.jpg")
    assert told.value.errno == errno.EINVAL
    assert told.value.filename == "s3://b/a.jpg"
    assert "password" not in str(told.value)


def test_keys_in_variables_need_no_home(nothing_set, monkeypatch):
    """A container may run as a user whom its system does not know."""
    pytest.importorskip("pwd")
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.delenv(name)

    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert open_backend("s3", "b", 9).config["region"] == "eu-west-1"


def test_what_boto3_says_is_said_without_secrets(nothing_set, monkeypatch):
    lines = "[profile work]\ncredential_process = /nowhere/tool\n"
    (nothing_set / ".aws" / "config").write_text(lines)
    monkeypatch.setenv("AWS_PROFILE", "work")

    class Refused:
        def __init__(self):
            raise RuntimeError("asked https://me:password@host/?token=abcdef\nin vain")

    module = types.ModuleType("obstore.auth.boto3")
    module.Boto3CredentialProvider = Refused
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", module)
    with pytest.raises(PermissionError, match=r"gives no credentials \(asked") as refused:
        ObjectStore("s3", "b").check_readable()
    said = str(refused.value)
    assert "password" not in said
    assert "abcdef" not in said
    assert "\n" not in said
