"""The guide to the service does what it says: its blocks are taken from the page and run."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer.main
from conftest import TIMEOUT, wait_for
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from served import Served, serving
from support import Encoded, blocks
from test_recipes import needs

from birefcli.cli.app import app
from birefcli.serve import app as app_of_service
from birefcli.serve.dialects import own
from birefcli.serve.errors import Code

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "man" / "guide" / "serve.md").read_text(encoding="utf-8")
yaml = pytest.importorskip("yaml")


def recipe(title: str, language: str) -> list[str]:
    found: list[str] = blocks(PAGE, title, language)
    return found


def options() -> dict[str, object]:
    """Options of the command, each with its default."""
    command = typer.main.get_command(app).commands["serve"]
    return {name: p.default for p in command.params for name in (*p.opts, *p.secondary_opts)}


@pytest.fixture
def folder(tmp_path, portrait) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(portrait)
    return tmp_path


def run(text: str, cwd: Path, *shell: str, **more: str) -> str:
    """Lines of a shell, or of what ``shell`` names."""
    result = subprocess.run(
        [*(shell or ("sh", "-e", "-c")), text],
        cwd=cwd,
        env={**os.environ, **more},
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# Tables


def rows(title: str) -> list[list[str]]:
    body = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (.*) \|$", body, re.M)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines[1:]]


def test_every_error_stands_in_the_table_with_its_status():
    told = [(status, code.strip("`")) for status, code, _ in rows("Errors")]
    assert sorted(told) == sorted((str(code.status.value), code.word) for code in Code)


def test_every_endpoint_stands_in_the_table():
    told = set()
    for cells in rows("Endpoints"):
        method, _, paths = cells[0].replace("NAME", "{name}").strip("`").partition(" ")
        told |= {(method, path.strip("` ")) for path in paths.split(",")}
    contract = json.loads((Path(app_of_service.__file__).parent / "openapi.json").read_text())
    there = {(method.upper(), path) for path, item in contract["paths"].items() for method in item}
    assert told == there


def test_every_option_stands_in_its_table_with_its_default():
    assert sorted(cells[0].strip("`") for cells in rows("Options")) == sorted(own.OPTIONS)
    for option, default, _ in rows("Limits"):
        number = re.match(r"\d+", default)
        if option and number:
            assert float(number[0]) == options()[option.strip("`")], option


def test_every_metric_stands_in_the_table(mini_service):
    text = mini_service.get("/metrics").body.decode()
    told = {cells[0].strip("`").removesuffix("_total") for cells in rows("Metrics")}
    families = {family.name for family in text_string_to_metric_families(text)}
    assert told == {name for name in families if not name.endswith("_created")}


# First steps


def at(url: str, text: str) -> str:
    """A block for a server that is elsewhere."""
    return text.replace("http://localhost:8000", url).replace(
        "localhost:8000", url.removeprefix("http://")
    )


@needs("curl")
def test_lines_of_curl_give_what_they_say(mini_service, folder, portrait):
    for block in recipe("First steps", "sh"):
        run(at(mini_service.url, block), folder)
    whole = size_of(folder / "a.jpg")
    assert {size_of(folder / name) for name in ("a.png", "mask.png", "white.jpg")} == {whole}
    with Image.open(folder / "a.png") as cutout:
        assert cutout.mode == "RGBA"
    with zipfile.ZipFile(folder / "a.zip") as archive:
        assert archive.namelist() == ["cutout.png", "mask.png"]
    assert set(json.loads((folder / "a.json").read_text())["pictures"]) == {"cutout"}
    assert len(json.loads((folder / "edit.json").read_text())["data"]) == 1
    made = [Encoded((folder / name).read_bytes()) for name in ("removed.png", "a.png")]
    assert made[0] == made[1]


@needs("openssl", "sha256sum")
def test_a_file_of_keys_is_made_and_read(environment, folder):
    [block] = recipe("Keys", "sh")
    run(block, folder, SECRET="open sesame")
    (name, key), (other, digest) = map(str.split, (folder / "keys.txt").read_text().splitlines())
    assert (name, other, digest[:7]) == ("shop", "page", "sha256:")
    with serving(environment, "--model", "mini", "--keys", folder / "keys.txt") as served:
        assert served.get("/v1/models").status == 401
        for secret in (key, "open sesame"):
            assert served.get("/v1/models", X_Api_Key=secret).status == 200


def test_what_it_prints_when_it_is_ready_is_shown(mini_service):
    shown = [line for line in PAGE.splitlines() if line.startswith("birefcli: ")]
    said = [line for line in mini_service.lines if line.startswith("birefcli: ")]
    plain = [line.replace(", gpt-image-2.5-flare", "") for line in said]  # the fixture's alias
    assert [re.sub(r":\d+", ":8000", line) for line in plain] == shown


@pytest.mark.parametrize("number", range(3))
def test_programs_in_python_give_what_they_say(mini_service, folder, monkeypatch, number):
    pytest.importorskip("openai")
    block = recipe("Python", "python")[number]
    monkeypatch.chdir(folder)
    exec(at(mini_service.url, block), {"__name__": "__main__"})
    made = [["a.png"], ["a.jpg.mask.png", "b.jpg.mask.png"], ["chat.png"]][number]
    for name in made:
        assert size_of(folder / name) == size_of(folder / "a.jpg")


# Supervisors


@needs("systemd-analyze")
def test_systemd_takes_the_units(installed, tmp_path):
    script = str(shutil.which("birefcli", path=installed["PATH"]))
    for name, text in zip(
        ("birefcli.service", "birefcli@.service"), recipe("systemd", "systemd"), strict=True
    ):
        (tmp_path / name).write_text(text.replace("/usr/local/bin/birefcli", script))
    run("systemd-analyze verify ./birefcli.service ./birefcli@0.service", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_a_unit_starts_reloads_and_stops_the_server(installed, number, tmp_path):
    unit = recipe("systemd", "systemd")[number]
    words = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.M)[1].replace("%i", "0"))
    assert {word for word in words if word.startswith("--")} <= set(options())
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)[1])
    assert stop > options()["--grace"]
    (tmp_path / "keys.txt").write_text("shop one\n")
    words = [word.replace("/etc/birefcli", str(tmp_path)) for word in words[2:]]
    if number:
        return  # it wants a GPU
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with contextlib.closing(told):
        told.bind(str(tmp_path / "notify"))
        told.settimeout(TIMEOUT)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "BIREFCLI_MODEL": "mini"}
        with serving(installed, *words, **variables) as served:
            assert told.recv(99) == b"READY=1"
            (tmp_path / "keys.txt").write_text("shop one\npage two\n")
            assert "ExecReload=/bin/kill -HUP $MAINPID\n" in unit
            served.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "2 keys read" in served.said)
            assert served.stop() == 0
            assert told.recv(99) == b"STOPPING=1"


def test_what_a_container_asks_of_its_server_is_answered(installed, mini_service, command):
    [text] = recipe("Docker", "dockerfile")
    asked = json.loads(re.search(r"^HEALTHCHECK .* CMD (.*)$", text, re.M)[1])
    variables = dict(re.findall(r"(BIREFCLI_\w+)=(\S+)", text))
    assert set(variables) == {"BIREFCLI_HOST", "BIREFCLI_PORT"}
    ready = {**variables, "BIREFCLI_PORT": str(mini_service.port)}
    assert command(*asked[1:], **ready).returncode == 0
    assert command(*asked[1:], **{**variables, "BIREFCLI_PORT": str(free_port())}).returncode == 1


@needs("hadolint")
def test_hadolint_has_no_complaint(tmp_path):
    (tmp_path / "Dockerfile").write_text(recipe("Docker", "dockerfile")[0])
    run("hadolint --no-color Dockerfile", tmp_path)


def test_a_pod_asks_for_what_there_is_and_waits_long_enough(mini_service):
    deployment, service = yaml.safe_load_all(recipe("Kubernetes", "yaml")[0])
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [port] = container["ports"]
    assert port["containerPort"] == options()["--port"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
        assert mini_service.get(container[probe]["httpGet"]["path"]).status == 200
    arguments = container["args"]
    assert {word for word in arguments if word.startswith("--")} <= set(options())
    grace = float(arguments[arguments.index("--grace") + 1])
    pause = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > grace + pause


# Proxies


@contextmanager
def proxy(words: list[str], port: int, cwd: Path) -> Iterator[Served]:
    """A proxy, once it listens there."""
    process = subprocess.Popen(words, cwd=cwd, stderr=subprocess.PIPE, text=True)
    served = Served(process, [f"listening on http://127.0.0.1:{port}"])
    try:
        end = time.monotonic() + TIMEOUT
        while True:
            assert process.poll() is None, process.stderr.read()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        yield served
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT)


def check_proxy(through: Served, photo: bytes, direct: bytes) -> None:
    """Answers come through a proxy one of whose two servers is gone."""
    for _ in range(4):
        answer = through.post("/v1/matte", photo)
        assert (answer.status, answer.body) == (200, direct)
    assert through.post("/v1/matte", b"no picture").code == "invalid_image"
    assert through.get("/metrics").status == 404


@needs("nginx")
def test_nginx_passes_photos_to_the_server_that_is_there(mini_service, portrait, tmp_path):
    [text] = recipe("nginx", "nginx")
    port = free_port()
    text = text.replace("443 ssl", f"127.0.0.1:{port}")
    text = re.sub(r".*ssl_certificate.*\n", "", text)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{mini_service.port}")
    text = text.replace("127.0.0.1:8001", f"127.0.0.1:{free_port()}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    user = "user root;\n" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(
        f"{user}daemon off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{text}}}\n"
    )
    words = ["nginx", "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    with proxy(words, port, tmp_path) as through:
        direct = mini_service.post("/v1/matte", portrait)
        check_proxy(through, portrait, direct.body)
        name = through.get("/healthz").headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", name)
        wait_for(lambda: f"id={name}" in mini_service.said)
        with contextlib.closing(through.connect()) as connection:
            connection.putrequest("POST", "/v1/matte")
            connection.putheader("Content-Length", "60000000")
            connection.endheaders(b"its first bytes")
            assert connection.getresponse().status == 413


@needs("caddy")
def test_caddy_passes_photos_to_the_server_that_is_there(mini_service, portrait, tmp_path):
    [text] = recipe("Caddy", "caddy")
    port = free_port()
    text = text.replace("photos.example.com {", f"http://127.0.0.1:{port} {{")
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{mini_service.port}")
    text = text.replace("127.0.0.1:8001", f"127.0.0.1:{free_port()}")
    (tmp_path / "Caddyfile").write_text("{\nadmin off\nauto_https off\n}\n" + text)
    words = ["caddy", "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    with proxy(words, port, tmp_path) as through:
        check_proxy(through, portrait, mini_service.post("/v1/matte", portrait).body)


# Prometheus


@needs("promtool")
def test_prometheus_takes_configuration_alerts_and_metrics(mini_service, portrait, tmp_path):
    config, alerts = recipe("Prometheus", "yaml")
    (tmp_path / "birefcli.key").write_text("secret")
    (tmp_path / "birefcli-alerts.yml").write_text(alerts)
    (tmp_path / "prometheus.yml").write_text(config.replace("/etc/prometheus", str(tmp_path)))
    run(
        "promtool check config prometheus.yml && promtool check rules birefcli-alerts.yml", tmp_path
    )
    mini_service.post("/v1/matte", portrait)
    (tmp_path / "metrics").write_bytes(mini_service.get("/metrics").body)
    run("promtool check metrics < metrics", tmp_path)
    used = set(re.findall(r"birefcli_\w+", alerts))
    text = (tmp_path / "metrics").read_text()
    assert {name for name in used if f"\n{name}" not in text} == set()
