"""Every option that takes a path, given every kind of path that leads nowhere good.

As a script it tries the whole table and prints what ended otherwise than it should. For root it
is to be started within ``setpriv --bounding-set=-dac_override,-dac_read_search``.
"""

import contextlib
import gc
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

LIMIT = 60  # seconds for one command: none of them may wait for a pipe
HINT = re.compile(rb"Traceback|a bug|Errno|Warning")

SHORT = "--epochs 1 --size 32 --batch 2"
OPTIONS = {
    "matte input": "matte {} -o out",
    "matte second input": "matte a.png {} -o out",
    "matte output": "matte a.png -o {}",
    "matte output folder": "matte a.png -o {}/",
    "matte output below": "matte im -o {}/deep/er",
    "matte output file": "matte a.png -o {}/x.png",
    "matte list": "matte --files-from {} -o out",
    "matte failures": "matte a.png none.png -o out --failed-to {}",
    "matte background": "matte a.png -o out --write composite --background {}",
    "matte model": "matte a.png -o out --model {}",
    "matte model file": "matte a.png -o out --model {}.safetensors",
    "matte dry run": "matte {} -o {} --dry-run",
    "bench photo": "bench {} --count 1 --repeat 1",
    "bench against": "bench a.png --repeat 1 --against {}",
    "bench onnx": "bench a.png --repeat 1 --against {}.onnx",
    "bench background": "bench a.png --repeat 1 --write composite --background {}",
    "bench model": "bench a.png --repeat 1 --model {}.pth",
    "score predictions": "score {} gt",
    "score truths": "score gt {}",
    "score both": "score {} {}",
    "score trimaps": "score gt gt --trimaps {}",
    "score foregrounds": "score gt gt --foregrounds {}",
    "score photos": "score gt gt --report r.html --photos {}",
    "score report": "score gt gt --report {}.html",
    "score report below": "score gt gt --report {}/r.html",
    "score model": "score im gt --model {}.pt",
    "sheet input": "sheet {} -o s.png",
    "sheet output": "sheet cut -o {}.png",
    "sheet output below": "sheet cut -o {}/s.png",
    "sheet font": "sheet cut -o s.png --font {}",
    "sheet pairs": "sheet cut -o s.html --pairs {}",
    "train data": "train {} -o w.safetensors --from mini SHORT",
    "train output": "train . -o {}.safetensors --from mini SHORT",
    "train output below": "train . -o {}/w.safetensors --from mini SHORT",
    "train validate": "train . -o w.safetensors --from mini SHORT --validate {}",
    "train from": "train . -o w.safetensors --from {}.pth",
    "train backbone": "train . -o w.safetensors --backbone {}",
    "export model": "export {}.pth -o m.onnx",
    "export output": "export file.safetensors -o {}.onnx",
    "export output below": "export file.safetensors -o {}/m.onnx",
    "models list": "HF_HOME={} models list",
    "models path": "HF_HOME={} models path portrait",
    "models verify": "HF_HOME={} models verify",
    "models pull": "HF_HOME={} models pull portrait",
    "models remove": "HF_HOME={} models remove portrait --yes",
    "the cache": "HF_HOME={} matte a.png -o out --model portrait",
    "the digests": "XDG_CACHE_HOME={} matte a.png -o out --existing overwrite",
    "temporary files": "TMPDIR={} bench --count 1 --repeat 1 --megapixels 0.01",
    "doctor": "HF_HOME={} XDG_CACHE_HOME={} TMPDIR={} doctor --no-measure",
}
"""Command lines, with ``{}`` where the path goes; variables of the environment before them."""

BEFORE_FORKING = (
    *("birefcli.cli.app", "birefcli.cli.failures", "birefcli.batch.pipeline", "birefcli.doctor"),
    *("birefcli.batch.executor", "birefcli.models.load", "birefcli.products.background"),
    *("birefcli.scoring.run", "birefcli.review.contact_sheet", "birefcli.training.run"),
    *("birefcli.bench.run", "safetensors.torch", "rich.progress"),
    *(f"birefcli.cli.{name}" for name in ("matte", "score", "sheet", "train", "bench", "doctor")),
    *("birefcli.cli.models", "birefcli.cli.export", "birefcli.models.onnx_export", "pydantic"),
    *("birefcli.__main__", "birefcli.cli.process", "birefcli.cli.score_reporter"),
    *("birefcli.cli.terminal", "birefcli.system.ending", "birefcli.system.allocator"),
    *("birefcli.batch.run", "birefcli.batch.notices", "birefcli.cli.batch_reporter"),
    *("pydantic.type_adapter", "pydantic.types", "typer._adapters", "PIL.PngImagePlugin"),
)
"""What commands import, once for all of them: hundreds of imports take minutes."""

FED = ("matte input", "matte second input", "matte list")
"""Where a named pipe may be named: it is waited for until somebody writes to it."""

PATHS = {
    "below a locked folder": "locked/x",
    "a locked folder": "locked",
    "below a file": "file/x",
    "a file": "file",
    "a folder": "folder",
    "a loop": "loop",
    "below a loop": "loop/x",
    "a long name": "n" * 300,
    "a long path": "/".join(["d" * 200] * 25),
    "a zero byte": "./a\0b",
    "a device": "/dev/full",
    "an endless device": "/dev/zero",
    "a pipe": "pipe",
    "a link to nothing": "dangling",
    "nothing": "none/x",
}


def prepare(folder: Path) -> None:
    """What command lines name: photos, masks, and what is in the way."""
    import numpy as np
    from PIL import Image

    pixels = np.random.RandomState(0).randint(0, 256, (32, 32, 4)).astype(np.uint8)
    pixels[:, :, 3] = np.where(np.arange(32) < 16, 255, 0)
    for name in ("im", "gt", "cut", "locked", "folder"):
        (folder / name).mkdir()
    for number in range(4):
        Image.fromarray(pixels).convert("RGB").save(folder / "im" / f"{number}.png")
        Image.fromarray(pixels[:, :, 3]).save(folder / "gt" / f"{number}.png")
    Image.fromarray(pixels).save(folder / "cut" / "c.png")
    Image.fromarray(pixels).convert("RGB").save(folder / "a.png")
    (folder / "file").write_text("text")
    for suffix in (".safetensors", ".pth", ".pt", ".onnx", ".html", ".png"):
        (folder / f"file{suffix}").write_text("text")
        (folder / f"folder{suffix}").mkdir()
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
        os.mkfifo(folder / f"pipe{suffix}")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere/x")
    os.mkfifo(folder / "pipe")
    (folder / "locked").chmod(0)


def tried(folder: Path, line: str, path: str) -> tuple[int, bytes]:
    """Exit code of a command line and what it says, run in a process of its own."""
    said = tempfile.TemporaryFile()  # noqa: SIM115
    process = os.fork()
    if process == 0:
        code = 99
        try:
            os.chdir(folder)
            for number, file in enumerate((os.open(os.devnull, os.O_RDWR), *[said.fileno()] * 2)):
                os.dup2(file, number)
            code = _run(line, path)
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(_waited(process))
    said.seek(0)
    return status, said.read()


def _waited(process: int) -> int:
    end = time.monotonic() + LIMIT
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _run(line: str, path: str) -> int:
    from birefcli.__main__ import main

    words = [word.replace("{}", path) for word in line.replace("SHORT", SHORT).split()]
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        os.environ[name] = value
    tempfile.tempdir = None
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    sys.argv = ["birefcli", *words]
    try:
        main()
    except SystemExit as left:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        return left.code if isinstance(left.code, int) else 98
    return 97


def wrong(code: int, said: bytes) -> str | None:
    """What is wrong with how a command ended; None for nothing."""
    if code not in (0, 1, 2, 3, 4, 5):
        return f"exit code {code}"
    if HINT.search(said):
        return "words for programmers"
    if code and not said.strip():
        return "ends without a word"
    return None


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder to try in."""
    folder = Path(tempfile.mkdtemp(prefix="bad-paths-"))
    try:
        prepare(folder)
        yield folder
    finally:
        (folder / "locked").chmod(0o755)
        shutil.rmtree(folder)


def table(lines: "dict[str, str]", paths: "dict[str, str]") -> Iterator[tuple[str, int, bytes]]:
    """Every line with every path, in a folder of its own for each line."""
    for what, line in lines.items():
        with place() as folder:
            for kind, path in paths.items():
                if "\0" in path and "={}" in line:
                    continue  # no variable can hold it
                if kind == "a pipe" and what in FED:
                    continue
                yield f"{what}, {kind}", *tried(folder, line, path)


def main() -> None:
    """Try all, or the lines that are named, with commas."""
    named = sys.argv[1].split(",") if sys.argv[1:] and sys.argv[1] else list(OPTIONS)
    os.environ.update(HF_HUB_OFFLINE="1", BIREFCLI_MODEL="mini", CUDA_VISIBLE_DEVICES="")
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    for module in BEFORE_FORKING:
        import_module(module)
    Image.init()  # which imports a module for each format
    gc.freeze()  # what is shared is not looked through, nor copied for that
    assert "huggingface_hub" not in sys.modules, "it reads HF_HOME when it is imported"
    count = bad = 0
    lines = {what: line for what, line in OPTIONS.items() if what in named}
    for what, code, said in table(lines, PATHS):
        count += 1
        fault = wrong(code, said)
        bad += fault is not None
        if fault or "-v" in sys.argv:
            print(f"{what}: {code} {fault or ''}\n    {said[-400:]!r}", flush=True)
    print(f"{count} tried, {bad} wrong")


if __name__ == "__main__":
    main()
