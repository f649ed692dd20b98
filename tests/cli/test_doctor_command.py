"""``birefcli doctor`` through the real command: what works, what is broken, what it says of it."""

import json
import re
from pathlib import Path

import pytest

from birefcli import doctor
from birefcli.cli import doctor as doctor_command
from birefcli.models import zoo
from birefcli.options import Precision
from birefcli.system.packages import OPTIONAL

ROOT = Path(__file__).parents[2]


def report(result):
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def plain(command):
    return command("doctor", "--json", "--no-measure", "--device", "cpu")


def test_working_machine_exits_with_zero_and_names_no_fault(plain):
    assert plain.returncode == 0, plain.stdout
    assert report(plain)["usable"] is True
    assert report(plain)["faults"] == []


def test_device_precision_and_batch_come_with_their_reasons(plain):
    computing = report(plain)["computing"]
    assert (computing["device"], computing["precision"], computing["batch"]) == ("cpu", "fp32", 1)
    assert computing["device_why"] == "asked for"
    assert "slower" in computing["precision_why"]
    assert computing["batch_why"]


def test_versions_are_those_of_the_libraries_that_run(plain):
    import PIL
    import torch

    libraries = report(plain)["libraries"]
    assert libraries["torch"] == torch.__version__
    assert libraries["pillow"] == PIL.__version__


def test_codecs_name_the_jpeg_library_and_instructions_of_opencv(plain):
    codecs = report(plain)["codecs"]
    assert re.search(r"\d+\.\d+", codecs["jpeg"])
    assert codecs["opencv_baseline"] != "unknown"
    assert codecs["opencv_used"]  # "none" on a processor that has nothing beyond the baseline


def test_text_says_what_the_json_says(command, plain):
    shown = command("doctor", "--no-measure", "--device", "cpu").stdout.decode()
    for topic in ("machine", "libraries", "computing", "codecs", "extras", "models"):
        assert f"\n{topic}\n" in f"\n{shown}"
    assert report(plain)["libraries"]["torch"] in shown
    assert re.search("\neverything works(; the default model is not downloaded yet: .*)?\n$", shown)


@pytest.mark.parametrize("state", ["missing", "verified"])
def test_the_last_line_says_whether_the_default_model_is_there(state):
    facts = {"models": {"here": {zoo.DEFAULT: {"state": state, "megabytes": None}}}}
    *_, last = doctor_command._lines(doctor.Diagnosis(facts), str)
    missing = f"; the default model is not downloaded yet: birefcli models pull {zoo.DEFAULT}"
    assert last == "everything works" + missing * (state == "missing")


@pytest.mark.parametrize(("load", "said"), [(2.5, True), (1.5, False), (None, False)])
def test_a_machine_that_was_busy_while_it_was_measured_is_a_warning(monkeypatch, load, said):
    monkeypatch.setattr(doctor.machine, "load", lambda: load)
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 2)
    diagnosis = doctor.Diagnosis()
    doctor._check_load(diagnosis)
    assert [str(fault.what) for fault in diagnosis.faults] == [
        "the machine was busy while mini was timed: load 2.5 on 2 cores"
    ] * said
    assert diagnosis.usable


@pytest.mark.slow
def test_measurement_is_of_mini_and_the_estimate_is_called_one(command):
    result = command("doctor", "--device", "cpu")
    shown = result.stdout.decode()
    assert result.returncode == 0
    assert re.search(r"mini seconds +\d+\.\d+", shown)
    assert re.search(r"portrait seconds +[\d.]+ \(an ESTIMATE", shown)


@pytest.mark.slow
def test_torchvision_of_another_torch_is_named_and_survived(command, tmp_path):
    (tmp_path / "torchvision").mkdir()
    text = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    (tmp_path / "torchvision" / "__init__.py").write_text(text)
    path = f"{tmp_path}:{ROOT}"
    result = command("doctor", "--json", "--device", "cpu", PYTHONPATH=path)
    assert result.returncode == 4
    assert result.stderr == b""
    faults = " ".join(f"{f['what']} {f['remedy']}" for f in report(result)["faults"])
    assert "operator torchvision::nms does not exist" in faults
    assert "pip install -U torch torchvision" in faults


def test_cache_in_the_place_of_a_file_is_broken(command, tmp_path):
    (tmp_path / "file").write_text("")
    result = command("doctor", "--json", "--no-measure", HF_HOME=str(tmp_path / "file" / "hub"))
    assert result.returncode == 4
    assert any("is no folder" in fault["what"] for fault in report(result)["faults"])


@pytest.mark.slow
def test_read_only_cache_is_told_and_breaks_nothing(command, tmp_path, as_user):
    (tmp_path / "hub").mkdir(mode=0o555)
    words = ("doctor", "--json", "--no-measure", "--device", "cpu")
    result = command(*words, HF_HOME=str(tmp_path), within=as_user)
    assert result.returncode == 0
    assert "cannot be written" in report(result)["faults"][0]["what"]


def test_damaged_model_is_named_with_the_way_to_replace_it(command, tmp_path):
    lite = zoo.lookup("lite")
    folder = tmp_path / "hub" / f"models--{lite.repo.replace('/', '--')}"
    for name in ("blobs", "snapshots/abc"):
        (folder / name).mkdir(parents=True)
    (folder / "blobs" / lite.sha256).write_bytes(b"too short")
    (folder / "snapshots" / "abc" / lite.filename).symlink_to(f"../../blobs/{lite.sha256}")
    result = command("doctor", "--json", "--no-measure", HF_HOME=str(tmp_path))
    assert report(result)["models"]["here"]["lite"]["state"] == "damaged"
    assert result.returncode == 4
    assert any("models pull lite" in fault["remedy"] for fault in report(result)["faults"])


def test_device_that_is_not_there_is_a_fault_in_one_line(command):
    result = command("doctor", "--json", "--device", "cuda:99")
    assert result.returncode == 4
    assert any("--device cuda:99" in fault["what"] for fault in report(result)["faults"])


def test_device_of_a_variable_is_named_by_the_variable(command):
    shown = command("doctor", "--no-measure", BIREFCLI_DEVICE="cuda:99").stdout.decode()
    assert "BROKEN: computing: BIREFCLI_DEVICE=cuda:99: " in shown
    assert "choose another with --device" in shown


def test_topic_that_cannot_be_examined_is_a_fault_and_the_rest_is_shown(monkeypatch):
    def broken():
        raise RuntimeError("metadata is damaged")

    monkeypatch.setattr(doctor, "_extras", broken)
    found = doctor.examine("cpu", Precision.AUTO, measure=False).as_dict()
    assert found["extras"] == {"failed": "RuntimeError: metadata is damaged"}
    assert found["faults"][0]["what"] == "extras: RuntimeError: metadata is damaged"
    assert found["models"]["here"]


def test_library_names_options_as_python_does():
    found = doctor.examine("cuda:99", Precision.AUTO, measure=False).as_dict()
    assert found["faults"][0]["what"].startswith("computing: device=cuda:99: ")
    assert found["faults"][0]["remedy"] == "choose another with device"


def test_threads_that_are_held_back_are_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(doctor.cpu, "count", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    found = doctor.examine("cpu", Precision.AUTO, measure=False)
    assert any(
        "torch uses 1 of 4 cores: OMP_NUM_THREADS is 1" in str(step) for step in found.advice
    )


@pytest.mark.slow
def test_threads_held_back_by_the_environment_are_told(command):
    result = command("doctor", "--json", "--no-measure", OMP_NUM_THREADS="1")
    if report(result)["machine"]["cores"] > 1:
        assert any("OMP_NUM_THREADS is 1" in step for step in report(result)["faster"])


def test_every_optional_package_is_known_to_the_doctor():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    declared = {
        (re.split("[><=]", need)[0].replace("-", "_"), extra)
        for extra, needs in re.findall(r"^(\w+) = \[(.*)\]", table, re.M)
        if extra != "test"
        for need in re.findall(r'"([^"]+)"', needs)
    }
    known = {(module, extra) for module, (extra, _, _) in OPTIONAL.items()}
    service = {(module, extra) for module, extra in declared if extra == "serve"}
    assert known - service <= declared - service
    # One package may come with two extras: the doctor names the smaller one.
    assert {name for name, _ in known - service} == {name for name, _ in declared - service}
    assert known & service == {("starlette", "serve")}  # which does nothing without the others


def test_half_precision_on_a_cpu_is_not_measured_for_minutes(command):
    told = json.loads(command("doctor", "--device", "cpu", "--precision", "fp16", "--json").stdout)
    assert told["measured"]["mini_seconds"] == "not measured"
