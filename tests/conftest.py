"""Fixtures shared by the tests: a tiny network in a file, photos, and the real command."""

import gc
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import in_process
import numpy as np
import pytest
import stores
import torch
from forked_command import Answering
from forks import Forked, Forks, shared
from hypothesis import HealthCheck, settings
from PIL import Image
from served import Served, serving

from birefcli.__main__ import main
from birefcli.birefnet import BiRefNet, Config
from birefcli.models import weights
from birefcli.system import allocator, object_store
from birefcli.system.object_store import ObjectStore, store_for, store_of
from birefcli.system.object_url import parse_url

TINY = Config(  # a Swin: timm costs seconds to import, in every subprocess
    "swin", channels=8, depths=(1, 2, 1, 1), heads=(1, 1, 2, 2), window=4,
    width=8, aspp_width=8, kernels=(1, 3), gradient_width=4,
)  # fmt: skip
# A shell lets what it starts with & ignore Ctrl-C, and nohup a closed terminal; and so would the
# commands that tests end in this way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# What a person, or a service that tests, has set for other programs: colours where no terminal is,
# models, devices. What BIREFCLI_REFERENCE names is for a test.
for _name in list(os.environ):
    if _name.startswith("BIREFCLI_") and _name != "BIREFCLI_REFERENCE":
        del os.environ[_name]
for _name in (
    *("FORCE_COLOR", "PY_COLORS", "CLICOLOR", "CLICOLOR_FORCE", "NO_COLOR", "TERMINAL_WIDTH"),
    *("GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONIOENCODING"),
):
    os.environ.pop(_name, None)
# How long an example takes says nothing on a busy machine. All tests have the same examples
# everywhere; --hypothesis-profile=search looks for new ones.
_slowly = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=40, derandomize=True, **_slowly)
settings.register_profile("thorough", max_examples=500, derandomize=True, **_slowly)
settings.register_profile("search", max_examples=500, **_slowly)
settings.load_profile("quick")
# As many processes as cores test at once: each of them counts in one thread.
_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, torch.get_num_threads() // _processes))
# torch and what it brings hold a million objects that stay; to look through all of them each time
# that tests have made a few takes a tenth of the time of all.
gc.set_threshold(gc.get_threshold()[0], gc.get_threshold()[1], 100)
Command = Callable[..., "subprocess.CompletedProcess[bytes]"]
TIMEOUT = 300.0  # seconds that a command may take, or what a test waits for: a machine may be busy


def only_slow(config: pytest.Config) -> bool:
    """Whether the slow tests are asked for."""
    return str(config.option.markexpr).strip() == "slow"


def pytest_configure(config: pytest.Config) -> None:
    if only_slow(config) and not config.getoption("hypothesis_profile"):
        settings.load_profile("thorough")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Schemathesis makes the tests of one file, and takes long to import."""
    plugins = parent.config.pluginmanager
    if module_path.name == "test_contract.py" and not plugins.has_plugin("schemathesis"):
        plugins.import_plugin("schemathesis.pytest.plugin")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every property is a slow test too: of more examples."""
    if only_slow(config):
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker("slow")


def pytest_collection_finish() -> None:
    """Have no garbage looked for in what is there by now, and stays.

    That takes a tenth of a second and more; pytest does so several times at its end.
    """
    gc.freeze()
    gc.get_freeze_count = lambda: 1  # type: ignore[assignment]  # the count goes through all


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of the family that is as small as can be; input 96×64."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights.save(BiRefNet(TINY), path, config=TINY, size=(96, 64))
    return path


@pytest.fixture(scope="session")
def environment(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a command on the CPU; ``BIREFCLI_MODEL`` names the tiny weights."""
    home = str(tmp_path_factory.mktemp("hub"))
    theirs = ("BIREFCLI", "HF_", "OMP_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
    return {
        **clean,
        "BIREFCLI_MODEL": str(tiny_weights),
        "HF_HOME": home,
        "HF_HUB_OFFLINE": "1",
        "XDG_CACHE_HOME": home,
        "COLUMNS": "80",
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.fixture(scope="session")
def forks() -> Forks | None:
    """Processes of the command that need not import torch, where the system has such."""
    return shared()


@pytest.fixture(scope="session")
def command(environment: dict[str, str], forks: Forks | None) -> Command:
    """Run ``birefcli`` as a user would, ``within`` another command if need be.

    ``forked`` even with variables that Python reads at its start: they are for its workers.
    """

    def run(
        *words: object,
        stdin: bytes = b"",
        cwd: Path | None = None,
        within: Sequence[str] = (),
        forked: bool = False,
        **more: str,
    ):
        env = {**environment, **more}
        if forks is not None and not within and (forked or forks.can_set(env)):
            asked = [os.fspath(word) for word in _words(words)[3:]]
            return forks.run(asked, env, cwd or Path.cwd(), stdin, TIMEOUT)
        return subprocess.run(
            [*within, *_words(words)],
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            cwd=cwd,
            env=env,
        )

    return run


@pytest.fixture(scope="session")
def inside(environment: dict[str, str]) -> Command:
    """Run ``birefcli`` as ``command`` does, in this process (see :mod:`in_process`)."""

    def run(*words: object, stdin: bytes = b"", cwd: Path | None = None, **more: str):
        asked = [os.fspath(word) for word in _words(words)[3:]]
        return in_process.run(asked, {**environment, **more}, cwd or Path.cwd(), stdin)

    return run


AS_MODULE = "\nimport runpy\nrunpy.run_module('birefcli', run_name='__main__', alter_sys=True)\n"
INSTALLED = """\
import sys
sys.argv[0] = "birefcli"
from birefcli.__main__ import main
try:
    main()
except SystemExit as left:
    sys.path.append({tests!r})
    from forks import leave
    leave(left.code)
"""


@pytest.fixture(scope="session")
def shown_help(command: Command) -> Callable[..., str]:
    """Help of a command, of the whole where it has no name, on 80 columns; of daily options."""

    def shown(name: str, option: str = "--help") -> str:
        text: str = command(*name.split(), option, COLUMNS="80").stdout.decode()
        return text

    return cache(shown)


@pytest.fixture(scope="session")
def installed(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Environment of a shell that finds ``birefcli`` on its PATH."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "run.py").write_text(INSTALLED.format(tests=str(Path(__file__).parent)))
    script = folder / "birefcli"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/run.py" "$@"\n')
    script.chmod(0o755)
    root = str(Path(__file__).parent.parent)
    return {**environment, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": root}


@pytest.fixture(scope="session")
def quickly_installed(
    installed: dict[str, str],
    environment: dict[str, str],
    forks: Forks | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """Environment of a shell whose ``birefcli`` is forked from a process that has torch."""
    if forks is None:
        yield installed
        return
    folder = tmp_path_factory.mktemp("forked")
    answering = Answering(forks, folder / "socket")
    plain = Path(str(shutil.which("birefcli", path=installed["PATH"]))).with_name("run.py")
    script = folder / "birefcli"
    asks = Path(__file__).with_name("forked_command.py")
    words = shlex.join(map(str, [sys.executable, "-I", "-S", asks, answering.where, plain]))
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    yield {**environment, "PATH": f"{folder}:{os.environ['PATH']}"}
    answering.close()


@pytest.fixture
def start(
    environment: dict[str, str], forks: Forks | None
) -> "Iterator[Callable[..., subprocess.Popen[bytes] | Forked]]":
    """Start ``birefcli`` and do not wait for it; what still runs when the test ends is killed.

    Not ``forked`` where its start is what is tested. ``first`` is code that is run before.
    """
    started: list[subprocess.Popen[bytes] | Forked] = []

    def begin(
        *words: object,
        within: Sequence[str] = (),
        forked: bool = True,
        first: str = "",
        **more: str,
    ):
        env = {**environment, **more}
        asked = [os.fspath(word) for word in _words(words)[3:]]
        if forks is not None and forked and not within and forks.can_set(env):
            started.append(forks.start(asked, env, Path.cwd(), first=first))
            return started[-1]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        python = ["-c", first + AS_MODULE] if first else ["-m", "birefcli"]
        command = [*within, sys.executable, *python, *asked]
        # Unbuffered: what readline() read too much of, communicate() would not give.
        process = subprocess.Popen(command, env=env, bufsize=0, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _words(words: Iterable[object]) -> "list[str | os.PathLike[str]]":
    plain = [w if isinstance(w, (str, os.PathLike)) else str(w) for w in words]
    return [sys.executable, "-m", "birefcli", *plain]


@pytest.fixture
def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str]]:
    """Exit code and stderr of a command line that is refused.

    Not of a process of its own, which takes longer: nothing is left behind by a refusal.
    """

    def run(*words: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["birefcli", *map(str, words)])
        monkeypatch.setattr(allocator, "keep_freed_memory", lambda: False)
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capsys.readouterr().err

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte of its own, where the system lets tests mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    tried = None
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount"):
        words = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk]
        tried = subprocess.run(words, capture_output=True, check=False)
    if tried is None or tried.returncode:
        pytest.skip("mounting a small disk takes root, and permission")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def remount() -> "Callable[[Path, str], object]":
    """Mount a small disk once more, with other options."""

    def again(disk: Path, options: str):
        return subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)

    return again


@pytest.fixture(scope="session")
def as_user() -> list[str]:
    """A command within which the permissions of files hold, for root too."""
    if not hasattr(os, "geteuid"):
        pytest.skip("no POSIX permissions here")
    if os.geteuid() != 0:
        return []
    words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("permissions do not bind root, and setpriv cannot change that")
    return words


@pytest.fixture(scope="session")
def mini_service(environment: dict[str, str]) -> Iterator[Served]:
    """The photo service with ``mini``, shared by tests that change nothing about it.

    It counts in as many threads as the tests' own process: by their number sums are rounded.
    """
    words = ("--model", "mini", "--alias", "gpt-image-2.5-flare=mini")
    with serving(environment, *words, OMP_NUM_THREADS=str(torch.get_num_threads())) as served:
        yield served


@pytest.fixture(scope="session")
def moto() -> Iterator[int]:
    """Port of a server that speaks S3."""
    with stores.moto_server() as port:
        yield port


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of Azure's emulator, where that is installed (npm install azurite)."""
    if stores.azurite_command() is None:
        pytest.skip("azurite-blob is not on PATH, and AZURITE does not name it")
    with stores.azurite_server(tmp_path_factory.mktemp("azurite")) as port:
        yield port


def _in_bucket(scheme: str, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[stores.Bucket]:
    with stores.new_bucket(scheme, port) as bucket:
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
        store_of.cache_clear()
        yield bucket
        store_of.cache_clear()


@pytest.fixture
def bucket(moto: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[stores.Bucket]:
    """An empty bucket of S3, behind a proxy; this process finds it, and commands by variables."""
    yield from _in_bucket("s3", moto, monkeypatch)


@pytest.fixture
def container(azurite: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[stores.Bucket]:
    """An empty container of Azure, like :func:`bucket`."""
    yield from _in_bucket("az", azurite, monkeypatch)


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put bytes under a URL; every store of this process is memory, made when it is asked for."""
    made: dict[tuple[str, str], ObjectStore] = {}

    def memory(scheme: str, bucket: str) -> ObjectStore:
        from obstore.store import MemoryStore

        return made.setdefault((scheme, bucket), ObjectStore(scheme, bucket, MemoryStore()))

    def write(url: str, data: bytes = b"photo") -> None:
        store_for(parse_url(url)).write(parse_url(url).key, data)

    monkeypatch.setattr(object_store, "store_of", memory)
    return write


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """A JPEG of a person."""
    return (Path(__file__).parents[1] / "samples" / "grace_hopper.jpg").read_bytes()


def wait_for(happened: Callable[[], object], what: str = "what a test waits for") -> None:
    """Wait until something has happened, for as long as a command may take."""
    end = time.monotonic() + TIMEOUT
    while not happened():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen")
        time.sleep(0.02)


def picture(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    """Colour gradients with some noise: every pixel is different, every side too."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.RandomState(seed).randint(0, 20, (height, width))
    bands = [x * 230 // max(1, width), y * 230 // max(1, height), (x + y) * 3 % 200]
    return Image.fromarray(np.stack([b + noise for b in bands], -1).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos, one in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "sub/a.jpg")):
        picture(seed=i).save(folder / name)
    return folder


@pytest.fixture
def shell(quickly_installed: dict[str, str], photos: Path) -> Callable[..., str]:
    """Run lines in a POSIX shell, in the folder that has photos/."""

    def run(text: str, shell: str = "sh", **more: str) -> str:
        result = subprocess.run(
            [shell, "-c", text],
            cwd=photos.parent,
            env={**quickly_installed, **more},
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout.decode()

    return run
