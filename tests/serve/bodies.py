"""Photos, and bodies of requests that bring them."""

import base64
import io
import json
from pathlib import Path

from PIL import Image

SAMPLE = Path(__file__).parents[2] / "samples" / "grace_hopper.jpg"
BOUNDARY = "0123456789abcdef"


def file_of(seed: int) -> bytes:
    """A small portrait's file, 120×140 for seed 0, another for each."""
    out = io.BytesIO()
    with Image.open(SAMPLE) as opened:
        opened.resize((120 + seed, 140), box=(0, 0, 512, 600 - seed)).save(out, "PNG")
    return out.getvalue()


def data_url(data: bytes) -> str:
    """A file as clients send it in JSON; of a type that says nothing."""
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def form(*parts: tuple[str, str | bytes]) -> tuple[bytes, str]:
    """A form's body and type: bytes are files."""
    out = []
    for name, value in parts:
        file = f'; filename="{name}.bin"' if isinstance(value, bytes) else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        out += [head.encode(), value if isinstance(value, bytes) else value.encode(), b"\r\n"]
    out.append(f"--{BOUNDARY}--\r\n".encode())
    return b"".join(out), f"multipart/form-data; boundary={BOUNDARY}"


def as_json(**fields: object) -> tuple[bytes, str]:
    """A body of JSON, and its type."""
    return json.dumps(fields).encode(), "application/json"
