"""Lists of names: whatever program wrote them, and what is taken for one by mistake."""

import io
import os
import sys
from pathlib import Path

import pytest

from birefcli.batch import lists
from birefcli.batch.lists import read_list
from birefcli.errors import NoInputError, UsageError
from birefcli.system.text import name_list

MARK = b"\xef\xbb\xbf"


@pytest.fixture
def listed(tmp_path):
    """The names of a list that holds these bytes."""

    def read(data, *, null=False):
        (tmp_path / "list").write_bytes(data)
        return [os.fsencode(name) for name in read_list(str(tmp_path / "list"), null=null)]

    return read


@pytest.mark.parametrize(
    ("data", "null", "names"),
    [
        (b"a.jpg\nb.jpg\n", False, [b"a.jpg", b"b.jpg"]),
        (b"a.jpg\nb.jpg", False, [b"a.jpg", b"b.jpg"]),
        (b"a.jpg\r\n\r\nb.jpg\r\n", False, [b"a.jpg", b"b.jpg"]),
        (MARK + b"a.jpg\r\nb.jpg\r\n", False, [b"a.jpg", b"b.jpg"]),
        (MARK + b"a.jpg\0b.jpg\0", True, [b"a.jpg", b"b.jpg"]),
        (b"a\r.jpg\0new\nline\r\n.jpg\0", True, [b"a\r.jpg", b"new\nline\r\n.jpg"]),
        (b"a.jpg\0b\n.jpg\0", False, [b"a.jpg", b"b\n.jpg"]),
        (b"\xff.jpg\n\xe9 \xfe.jpg\n", False, [b"\xff.jpg", b"\xe9 \xfe.jpg"]),
        (b"\xff\xfe.jpg\n\xfe\xff.jpg\n", False, [b"\xff\xfe.jpg", b"\xfe\xff.jpg"]),
        (b"\xff\xfe.jpg\0", True, [b"\xff\xfe.jpg"]),
        (b"a\0b\0c\0", True, [b"a", b"b", b"c"]),
        (b"  a.jpg \n[1].jpg\n{a}.jpg\n", False, [b"  a.jpg ", b"[1].jpg", b"{a}.jpg"]),
        (b'"a.jpg"\n"b\\t.jpg"\n"c\\n".jpg\n', False, [b'"a.jpg"', b'"b\\t.jpg"', b'"c\\n".jpg']),
        (MARK, False, []),
        (b"\r\n \n", False, []),
    ],
)
def test_names_are_those_that_were_written(listed, data, null, names):
    assert listed(data, null=null) == names


ODD = [
    "/x/a.jpg",
    "/x/new\nline\r.jpg",
    '/x/"b".jpg',
    "/x/c\\n.jpg",
    '"/x/d\\n"',
    '"\n\\"',
    "/x/\udcff",
]


@pytest.mark.parametrize("null", [False, True])
def test_lists_of_failures_can_be_joined_whatever_the_names(listed, null):
    parts = [["/x/plain.jpg"], ODD, [], list(reversed(ODD)), ["/x/last.jpg"]]
    joined = b"".join(name_list(names, null=null) for names in parts)
    assert listed(joined, null=null) == [os.fsencode(name) for part in parts for name in part]


TEXTS = ["photos/a.jpg\r\nb.jpg\r\n", "é.png\nñ.png", "фото/портрет.jpg\r\n", "照片/照片.jpg\r\n"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("marked", [True, False])
def test_wide_text_is_named_with_its_remedy(listed, text, encoding, marked):
    mark = "\ufeff" if marked else ""
    named = encoding[:6].upper()
    with pytest.raises(UsageError, match=rf"list: is {named}; save it as UTF-8$"):
        listed((mark + text).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_of_nothing_but_its_mark_is_named(listed, encoding):
    with pytest.raises(UsageError, match=f"is {encoding[:6].upper()}"):
        listed("\ufeff".encode(encoding))


def test_utf16_with_its_mark_is_named_where_names_should_end_in_nul(listed):
    with pytest.raises(UsageError, match="is UTF-16"):
        listed("a.jpg\r\nb.jpg\r\n".encode("utf-16"), null=True)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(range(256)), r"is a photo \(JPEG\); give a list of names"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"is a photo \(PNG\)"),
        (b"PK\3\4\x14\0\6\0", "is an archive or office document"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b'{"input": "a.jpg", "status": "failed"}\n{"summary": {}}\n', "is JSON"),
        (MARK + b'["a.jpg", "b.jpg"]', "is JSON"),
        (b'[\n  "a.jpg"\n]\n', "is JSON"),
        (b"a" * (lists.LONGEST + 1), "is no list of names"),
        (b"a.jpg\n" + b"a" * (lists.LONGEST + 1) + b"\nb.jpg\n", "is no list of names"),
        (b"a" * (3 * lists.CHUNK), "is no list of names"),
        (bytes(2 * lists.CHUNK), "is no list of names"),
        (b"\r\n" * lists.CHUNK, "is no list of names"),
    ],
)
def test_what_is_no_list_is_refused_in_words_of_one_line(listed, data, told):
    with pytest.raises(UsageError, match=told) as error:
        listed(data)
    assert len(str(error.value)) < 300


class Endless(io.RawIOBase):
    """A stream that gives the same bytes for ever, and counts what was read of it."""

    def __init__(self, data):
        self.data, self.given = data, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        assert self.given < 10_000_000, "it is read without end"
        piece = (self.data * (len(buffer) // len(self.data) + 1))[: len(buffer)]
        buffer[:] = piece
        self.given += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("data", [b"\0", b"\n", b"y\n", b"abc.jpg\0", b"x", b"\r\n\t "])
def test_stream_without_end_is_refused(monkeypatch, data):
    monkeypatch.setattr(lists, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Endless(data))))
    with pytest.raises(UsageError, match="is no list of names, or does not end"):
        read_list("-", null=False)


def test_more_names_than_anybody_has_photos_are_refused(monkeypatch, listed):
    monkeypatch.setattr(lists, "MOST_NAMES", 3)
    assert len(listed(b"a\nb\nc\n")) == 3
    with pytest.raises(UsageError, match="names more than 3 photos; give several lists"):
        listed(b"a\nb\nc\nd\n")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_device_without_end_is_refused(device):
    with pytest.raises(UsageError, match="is no list of names"):
        read_list(device, null=False)


def test_list_comes_through_a_pipe(tmp_path):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"a.jpg\nb.jpg\n")
    try:
        if not Path(f"/dev/fd/{reading}").exists():
            pytest.skip("descriptors have no names here")
        assert read_list(f"/dev/fd/{reading}", null=False) == ("a.jpg", "b.jpg")
    finally:
        os.close(reading)


def test_list_that_cannot_be_read_is_told_with_the_reason(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("none", ".", "file/x", "loop", "n" * 300):
        with pytest.raises(NoInputError) as error:
            read_list(str(tmp_path / name), null=False)
        assert str(error.value).count("\n") == 0


def test_home_in_a_list_is_expanded_unless_a_folder_is_called_so(tmp_path, monkeypatch, listed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert listed(b"~/a.jpg\n~a.jpg\nx/~/a.jpg\n") == [b"/home/me/a.jpg", b"~a.jpg", b"x/~/a.jpg"]
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "a.jpg").touch()
    assert listed(b"~/a.jpg\n~/b.jpg\n") == [b"~/a.jpg", b"/home/me/b.jpg"]


def test_list_is_read_from_a_store(bucket):
    bucket.put("lists/mine.txt", b"a.jpg\ns3://shop/in/b.jpg\n")
    assert read_list(f"{bucket.url}/lists/mine.txt", null=False) == (
        "a.jpg",
        "s3://shop/in/b.jpg",
    )


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("none.txt", "no such object"),
        ("a//b.txt", "empty part"),
        ("", "is a prefix"),
        ("lists/", "is a prefix"),
    ],
)
def test_list_that_is_not_in_its_store_is_told(bucket, key, told):
    with pytest.raises(NoInputError, match=told) as refused:
        read_list(f"{bucket.url}/{key}", null=False)
    assert f"files_from={bucket.url}/{key}: " in str(refused.value)


def test_list_in_a_store_that_is_larger_than_any_list_is_not_read(bucket, monkeypatch):
    monkeypatch.setattr(lists, "MOST_BYTES", 4)
    bucket.put("a.txt", b"a.jpg\n")
    with pytest.raises(UsageError, match="is no list of names"):
        read_list(f"{bucket.url}/a.txt", null=False)
    assert bucket.proxy.count("GET") == 0
