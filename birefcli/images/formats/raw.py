"""Raw files of cameras, whose only picture that Pillow finds is often a thumbnail."""

from collections.abc import Iterator

from birefcli.images.formats.tiff import COMPRESSION, PHOTOMETRIC, START, Directory, read_directory

RAW = "a camera's raw file; develop it first, or use its JPEG"
MAKE, SUB_DIRECTORIES = 271, 330
CFA_SIZE, CFA_PATTERN, LEAF, DNG_VERSION, PRIVATE = 33421, 33422, 34310, 50706, 50740
_SENSOR_VALUES = (32803, 34892)  # photometric: colour filter array, linear raw
_SENSOR_PACKINGS = (32767, 32769, 32770, 34713, 65000, 65535)  # Sony, Samsung, Nikon, Kodak, Pentax
_BEGINNINGS = (
    *(b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM"),  # RAF, X3F, MRW
    *(b"IIRO", b"IIRS", b"MMOR", b"IIU\0"),  # ORF, RW2
    b"II\x1a\0\0\0HEAPCCDR",  # CRW
)
_MOST = 32  # directories looked at


def is_raw(data: bytes) -> bool:
    """Whether a file is what a camera's sensor saw, by its beginning or its TIFF directories.

    A TIFF whose smaller copies lie beside it in directories of their own is none.
    """
    if data.startswith(_BEGINNINGS) or data[4:12] == b"ftypcrx ":
        return True
    if data[:4] not in START:
        return False
    if data[8:10] == b"CR" or data[8:12] in (b"IIII", b"MMMM"):  # CR2, IIQ
        return True
    first = read_directory(data)
    if first is None:
        return False
    if DNG_VERSION in first.entries or LEAF in first.entries:
        return True
    if PRIVATE in first.entries and MAKE in first.entries:  # ARW
        return True
    inner = list(_inner(first))
    if any(_is_sensor(one) for one in (first, *inner, *_following(first))):
        return True
    return any(_pixels(one) > _pixels(first) for one in inner)  # of which the first is a thumbnail


def _inner(outer: Directory) -> Iterator[Directory]:
    for place in outer.numbers(SUB_DIRECTORIES)[:_MOST]:
        if place and (found := read_directory(outer.data, place)) is not None:
            yield found


def _following(first: Directory) -> Iterator[Directory]:
    page: Directory | None = first
    for _ in range(_MOST):
        page = read_directory(first.data, page.next) if page is not None and page.next else None
        if page is None:
            return
        yield page


def _is_sensor(found: Directory) -> bool:
    by_values = found.number(PHOTOMETRIC) in _SENSOR_VALUES
    by_packing = found.number(COMPRESSION) in _SENSOR_PACKINGS
    return by_values or by_packing or CFA_SIZE in found.entries or CFA_PATTERN in found.entries


def _pixels(found: Directory) -> int:
    return found.size[0] * found.size[1]
