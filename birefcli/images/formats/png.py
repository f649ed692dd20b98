"""PNG beyond what Pillow reads: damaged chunks, large texts and profiles."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from birefcli.errors import PhotoError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ANYWHERE = (*TEXTS, b"eXIf")  # before the pixels or behind them
_SHORTEST = {  # bytes of a chunk; of fewer Pillow makes an error
    **{b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"fcTL": 26, b"fdAT": 4},
}
_XMP = b"XML:com.adobe.xmp"
_PILLOW_INFLATES = 1 << 20  # bytes; of larger texts and profiles it makes an error
_LARGEST_PROFILE = 1 << 25  # bytes, unpacked
_LARGEST_TEXTS = 1 << 24  # bytes of all texts together, unpacked
_MOST_PROFILES = 2  # a file has one; each may take a tenth of a second
_MOST_TIMES = 1032  # bytes of zlib's that one may become
_MOST_EXTRAS = 10_000  # chunks beside those of pixels
_MOST_CHUNKS = 500_000
_UNPACKED = 1 << 22  # bytes of pixels that are unpacked at once to be counted


class Chunk(NamedTuple):
    """One part of a PNG file."""

    data: bytes
    """The file."""
    name: bytes
    start: int
    """Where its body begins."""
    length: int

    @property
    def body(self) -> bytes:
        """What it holds."""
        return self.data[self.start : self.start + self.length]

    @property
    def whole(self) -> memoryview:
        """All of it, from its length to its checksum."""
        return memoryview(self.data)[self.start - 8 : self.start + self.length + 4]

    @property
    def is_sound(self) -> bool:
        """Whether its checksum is that of its bytes."""
        whole = self.whole
        return bytes(whole[self.length + 8 :]) == struct.pack(">I", zlib.crc32(whole[4:-4]))

    @property
    def is_extra(self) -> bool:
        """Whether pixels are what they are without it."""
        colour = self.data[25] if len(self.data) > 25 else 0
        if self.name in (b"PLTE", b"tRNS"):  # colours of a palette, or proposed to displays of few
            return colour not in ((3,) if self.name == b"PLTE" else (0, 2, 3))
        return self.name[:1].islower()


def read_size(start: bytes) -> tuple[int, int]:
    """Width and height by a file's beginning; 0 where it does not say."""
    return struct.unpack(">II", start[16:24]) if start[12:16] == b"IHDR" else (0, 0)


def has_usual_header(file: IO[bytes] | io.BufferedIOBase) -> bool:
    """Whether few chunks and profiles come before the pixels: Pillow unpacks every profile."""
    file.seek(len(SIGNATURE))
    profiles = 0
    for _ in range(_MOST_EXTRAS):
        head = file.read(8)
        name = head[4:]
        if len(head) < 8 or name in (b"IDAT", b"IEND"):
            return True
        profiles += name == b"iCCP"
        if profiles > _MOST_PROFILES:
            return False
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    return False


class Repaired(NamedTuple):
    """A file that Pillow reads at once, made of one that it does not."""

    data: bytes
    profile: bytes | None
    """A colour profile larger than Pillow takes."""
    notes: tuple[str, ...]


def pieces(name: bytes, *body: bytes) -> list[bytes]:
    """A chunk as it stands in a file, not joined: joining pixels twice would hold them twice."""
    checksum = zlib.crc32(name)
    for part in body:
        checksum = zlib.crc32(part, checksum)
    length = sum(map(len, body))
    return [struct.pack(">I", length), name, *body, struct.pack(">I", checksum)]


def packed(name: bytes, body: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return b"".join(pieces(name, body))


def chunks(data: bytes) -> Iterator[Chunk]:
    """Chunks up to the end, or to what is none. Raises PhotoError for too many."""
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha() or at + 12 + length > len(data):
            return
        yield Chunk(data, name, at + 8, length)
        if name == b"IEND":
            return
        at += 12 + length
    raise PhotoError(f"damaged image: more than {_MOST_CHUNKS} PNG chunks")


def text_of(chunk: Chunk, most: int) -> bytes:
    """What a text chunk says, behind its key: nothing where it is packed and more than ``most``."""
    _, _, rest = chunk.body.partition(b"\0")
    start, is_packed = _start_of_text(chunk.name, rest)
    return inflated(rest[start:], most) or b"" if is_packed else rest[start:]


def _start_of_text(name: bytes, rest: bytes) -> tuple[int, bool]:
    """Where a chunk's text begins behind its key, and whether it is packed."""
    if name == b"iTXt":  # behind two marks, the language, and the key in that
        return rest.find(b"\0", rest.find(b"\0", 2) + 1) + 1, rest[:2] == b"\1\0"
    return int(name == b"zTXt"), name == b"zTXt"


def last_chunks(tail: bytes, at: int) -> list[Chunk]:
    """Chunks from ``at`` to the end of a file's last bytes; none where no sound one begins there.

    Or where they do not lead to the file's end: so pixels that look like a chunk are none.
    """
    found = list(chunks(SIGNATURE + tail[at:]))
    if not found or found[-1].name != b"IEND" or not found[0].is_sound:
        return []
    return found if sum(chunk.length + 12 for chunk in found) == len(tail) - at else []


def repaired(data: bytes) -> Repaired | None:
    """Leave out of a PNG what Pillow gives it up for and is no pixel; None where nothing is.

    Texts and EXIF that stand behind the pixels are put before them: Pillow would decode all pixels
    to see them. Raises PhotoError where a chunk is damaged without which there is no picture.
    """
    found = list(chunks(data))
    extras = _Extras(_is_animation_sound(found))
    head: list[bytes | memoryview] = [SIGNATURE]
    rest: list[bytes | memoryview] = []
    for chunk in found:
        moved = bool(rest) and chunk.name in _ANYWHERE
        extras.moved += moved
        parts = rest if chunk.name == b"IDAT" or (rest and not moved) else head
        if chunk.is_extra:
            parts += extras.kept(chunk)
        elif chunk.name in (b"IDAT", b"IEND") or chunk.is_sound:  # pixels have a checksum inside
            parts.append(chunk.whole)
        else:
            raise PhotoError(f"damaged image: wrong checksum in {chunk.name.decode()}")
    end = len(SIGNATURE) + sum(chunk.length + 12 for chunk in found)
    if found and _is_extra_cut_off(data, end):
        extras.damaged += 1
    elif found and found[-1].name != b"IEND":
        rest.append(memoryview(data)[end:])
    if not extras.changed:
        return None
    return Repaired(b"".join((*head, *rest)), extras.profile, extras.notes())


def lacks_rows(data: bytes) -> bool:
    """Whether a PNG that is not interlaced holds fewer pixels than it says: Pillow makes black."""
    (width, height), depth, colour, interlaced = read_size(data), data[24], data[25], data[28]
    channels = {2: 3, 4: 2, 6: 4}.get(colour, 1)
    missing = 0 if interlaced else height * ((width * channels * depth + 7) // 8 + 1)
    unpacker = zlib.decompressobj()
    for chunk in chunks(data):
        if chunk.name != b"IDAT" or missing <= 0:
            continue
        packed = chunk.body
        while packed and missing > 0:
            missing -= len(unpacker.decompress(packed, _UNPACKED))
            packed = unpacker.unconsumed_tail
    return missing > 0


def _is_extra_cut_off(data: bytes, end: int) -> bool:
    """Whether a file ends within a chunk that is no pixels."""
    name = data[end + 4 : end + 8]
    return len(name) == 4 and name.isalpha() and name[:1].islower() and name != b"tRNS"


def _is_animation_sound(found: list[Chunk]) -> bool:
    """Whether the chunks of further frames are whole, and follow each other as they are counted."""
    count = 0
    for chunk in found:
        if chunk.name in _ANIMATION and not (_is_long_enough(chunk) and chunk.is_sound):
            return False
        if chunk.name in _ANIMATION[1:]:
            if int.from_bytes(chunk.body[:4], "big") != count:
                return False
            count += 1
    return True


def _is_long_enough(chunk: Chunk) -> bool:
    return chunk.length >= _SHORTEST.get(chunk.name, 0)


class _Extras:
    """Chunks beside the pixels: which are kept, and what is said of the others."""

    def __init__(self, animated: bool) -> None:
        self.damaged, self.oversized, self.moved = 0, 0, 0
        self.profile: bytes | None = None
        self._animated = animated
        self._count, self._texts, self._profiles, self._repacked = 0, 0, 0, 0

    @property
    def changed(self) -> bool:
        """Whether anything is not as it stands in the file."""
        return bool(self.damaged or self.oversized or self.moved or self._repacked or self.profile)

    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        counts = ((self.damaged, "damaged"), (self.oversized, "oversized"))
        return tuple(
            f"{count} {what} PNG chunk{'s' * (count > 1)} left out"
            for count, what in counts
            if count
        )

    def kept(self, chunk: Chunk) -> list[bytes | memoryview]:
        """The chunk as Pillow reads it, or nothing."""
        self._count += 1
        broken = chunk.name in _ANIMATION and not self._animated
        if broken or not _is_long_enough(chunk) or not chunk.is_sound:
            self.damaged += 1
            return []
        if self._count > _MOST_EXTRAS:
            self.oversized += 1
            return []
        if chunk.name == b"iCCP":
            return self._profile(chunk)
        if chunk.name in TEXTS:
            return self._text(chunk)
        return [chunk.whole]

    def _profile(self, chunk: Chunk) -> list[bytes | memoryview]:
        self._profiles += 1
        if self._profiles > _MOST_PROFILES:
            self.damaged += 1
            return []
        _, _, rest = chunk.body.partition(b"\0")
        profile = inflated(rest[1:], _LARGEST_PROFILE) if rest[:1] == b"\0" else None
        if profile is None:
            self.damaged += 1
            return []
        if len(profile) <= _PILLOW_INFLATES:
            return [chunk.whole]
        self.profile = profile
        return []

    def _text(self, chunk: Chunk) -> list[bytes | memoryview]:
        key, _, rest = chunk.body.partition(b"\0")
        start, is_packed = _start_of_text(chunk.name, rest)
        room = _LARGEST_TEXTS - self._texts
        if room <= 0 or (not is_packed and len(rest) > room):
            self.oversized += 1
            return []
        text = inflated(rest[start:], room) if is_packed else rest
        if text is None:
            # Damaged, or longer: to know so much may have taken as long as to unpack it all.
            self._texts += min(room, chunk.length * _MOST_TIMES)
            self.damaged += 1
            return []
        length = len(text)
        self._texts += length
        if not is_packed or length <= _PILLOW_INFLATES:
            return [chunk.whole]
        if key == _XMP:  # Pillow takes any length that is not packed
            self._repacked += 1
            return [packed(b"iTXt", key + b"\0\0\0" + rest[2:start] + text)]
        self.oversized += 1
        return []


def inflated(stream: bytes, limit: int) -> bytes | None:
    """A zlib stream unpacked; None where it is damaged, cut off or longer than ``limit`` bytes."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(stream, limit)
        found += unpacker.decompress(unpacker.unconsumed_tail, 1)
    except zlib.error:
        return None
    return found if unpacker.eof and len(found) <= limit else None
