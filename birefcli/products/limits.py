"""What no product can be: told before any work, for all faces."""

from birefcli import values
from birefcli.errors import Message, Option, UsageError
from birefcli.options import Align, Format, Product, Rendering, Size


def check_rendering(rendering: Rendering) -> None:
    """Raise UsageError where a format cannot hold what is asked for, or no photo be laid out so."""
    _check_bits(rendering)
    _check_quality(rendering)
    _check_levels(rendering)
    _check_transparency(rendering)
    _check_layout(rendering)
    _check_codec(rendering.format)


def _check_bits(rendering: Rendering) -> None:
    format_, bits = rendering.format, rendering.bits
    if bits not in format_.bits:
        held = " or ".join(str(each) for each in format_.bits if each > 1)
        deep = {16: "; use png or tiff", 1: "; use png"}.get(bits, "")
        raise UsageError(f"{format_.value} holds {held} bits{deep}", option="bits", value=bits)
    if bits == 1 and (rendering.products != (Product.MASK,) or rendering.threshold is None):
        text = "1 bit holds a mask without grey, alone: "
        ways = Option("write", "mask"), " and ", Option("threshold", "0.5")
        raise UsageError(Message(text, *ways), option="bits", value=1)


def _check_quality(rendering: Rendering) -> None:
    quality, format_ = rendering.quality, rendering.format
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError("give a whole number from 1 to 100", option="quality", value=quality)
    for name in ("quality", "max_bytes"):
        if not format_.has_quality and (value := getattr(rendering, name)) is not None:
            text = f"{format_.value} loses nothing: use jpg, webp or avif"
            raise UsageError(text, option=name, value=value)


def _check_levels(rendering: Rendering) -> None:
    """Raise UsageError for few levels in a format that would make more of them."""
    if Product.TRIMAP in rendering.products:
        what = "a trimap has three levels"
    elif Product.MASK in rendering.products and rendering.threshold is not None:
        what = "a mask with a threshold has two levels"
    else:
        return
    name = rendering.format.value
    if rendering.format in (Format.JPG, Format.AVIF):
        text = f"{what}, and {name} makes more of them; use png, tiff or webp"
        raise UsageError(text, option="format", value=name)
    for option in ("quality", "max_bytes"):
        if (value := getattr(rendering, option)) is not None:
            text = f"{what}, and a lossy {name} makes more of them; leave it out, or use png"
            raise UsageError(text, option=option, value=value)


def _check_transparency(rendering: Rendering) -> None:
    transparent = [kind.value for kind in rendering.products if kind.has_alpha]
    if rendering.format is Format.JPG and transparent:
        ways = f"jpg cannot hold a {transparent[0]}: use ", Option("write", "composite"), ", or png"
        raise UsageError(Message(*ways))


def _check_codec(format_: Format) -> None:
    if format_ is not Format.AVIF:
        return
    from birefcli.images.codecs import can_write_avif  # libraries of pictures take their time

    if not can_write_avif():
        text = "this Pillow writes no AVIF: pip install -U pillow, or use webp"
        raise UsageError(text, option="format", value=format_.value)


def _check_layout(rendering: Rendering) -> None:
    """Raise UsageError for a layout that no photo can have."""
    canvas = rendering.canvas
    if canvas is None:
        return
    subject = "fill" if canvas.fill is not None else "head" if canvas.head is not None else None
    if canvas.fill is not None and canvas.head is not None:
        raise UsageError(Message(Option("fill"), " and ", Option("head"), ": choose one"))
    if canvas.head is not None and canvas.align is not Align.CENTRE:
        raise UsageError(Message(Option("head"), " and ", Option("align"), ": choose one"))
    if rendering.crop and subject is not None:
        raise UsageError(Message(Option("crop"), " and ", Option(subject), ": choose one"))
    if canvas.size is None:
        return
    if rendering.resize is not None:
        raise UsageError(
            Message(Option("canvas"), " says the size; leave ", Option("resize"), " out")
        )
    _check_size(canvas.size, rendering.format, canvas.fill or canvas.head or 1.0)


def _check_size(size: Size, format_: Format, share: float) -> None:
    """``share``: of a canvas of this size, that the subject takes."""

    def wrong(text: str) -> UsageError:
        return UsageError(text, option="canvas", value=size)

    if size.width * size.height > values.MOST_PIXELS:
        raise wrong(f"more than {values.MOST_PIXELS // 10**6} megapixels")
    if share * max(size) < 1:
        raise wrong(f"leaves less than a pixel to a subject that takes {share:.0%} of it")
    longest = format_.longest_side
    if longest is not None and max(size) > longest:
        raise wrong(f"{format_.value} holds no more than {longest} pixels on a side; use png")
