"""``birefcli train`` as users run it: data, stops and kills, several processes, what it leaves."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import TIMEOUT, TINY, wait_for
from support import fill, last_write
from typer.testing import CliRunner

from birefcli.batch import interrupts
from birefcli.birefnet import Config
from birefcli.cli.app import app
from birefcli.cli.train import _stage, _stop_signals
from birefcli.cli.train_reporter import TrainReporter
from birefcli.errors import BirefcliError, ExitCode, OutputError, UsageError
from birefcli.models import weights, zoo
from birefcli.options import Precision
from birefcli.system import atomic
from birefcli.training import setup, validate
from birefcli.training.dataset import DataError, Dataset, find_pairs
from birefcli.training.distributed import ALONE, Rank
from birefcli.training.plan import Initialisation, Plan, hyperparameters
from birefcli.training.run import TrainingRun, prepared
from birefcli.training.same_options import refuse_others
from birefcli.training.sampler import Part, ViewSampler
from birefcli.training.schedule import Hyperparameters, Stage
from birefcli.training.trainer import Trainer, _mixed

SCRATCH = Config(
    "mobilenetv4_conv_small_035", width=8, aspp_width=8, kernels=(3,), gradient_width=4
)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Eight red figures on blue-green walls."""
    folder = tmp_path_factory.mktemp("people")
    for name in ("im", "gt"):
        (folder / name).mkdir()
    for number in range(8):
        rng = np.random.default_rng(number)
        alpha = np.zeros((120, 90), np.uint8)
        x = int(rng.integers(35, 55))
        cv2.ellipse(alpha, (x, 25), (8, 11), 0, 0, 360, 255, -1)
        cv2.ellipse(alpha, (x, 75), (17, 38), 0, 0, 360, 255, -1)
        image = rng.integers(0, 90, (120, 90, 3)).astype(np.uint8)
        image += np.array([120, 60, 0], np.uint8)
        image[alpha > 0] = (20, 30, 200)
        cv2.imwrite(str(folder / "im" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "gt" / f"{number}.png"), alpha)
    return folder


@pytest.fixture(scope="module")
def words(people, tiny_weights):
    """A short training: 6 photos to learn from, 2 held out, 4 epochs of 3 steps."""
    return (
        *("train", people, "--from", tiny_weights, "--size", 64, "--hold-out", 4),
        *("--epochs", 4, "--batch", 2, "--lr", 3e-3, "--threads", 1, "--workers", 1),
        *("--device", "cpu"),
    )


@pytest.fixture(scope="module")
def whole(command, words, tmp_path_factory):
    """What the short training prints, and the weights it writes."""
    output = tmp_path_factory.mktemp("whole") / "new" / "w.safetensors"
    return command(*words, "-o", output), output


@pytest.fixture
def inside(monkeypatch):
    """Run the command in this process: code, what it printed, what it raised."""
    threads = torch.get_num_threads()
    monkeypatch.setattr("torch.set_num_threads", lambda n: None)

    def run(*words):
        result = CliRunner().invoke(app, list(map(str, words)))
        error = result.exception
        if isinstance(error, BirefcliError):
            return error.exit_code, f"{result.stderr}{error}"
        assert isinstance(error, SystemExit | None), error
        return result.exit_code, result.stderr

    yield run
    assert torch.get_num_threads() == threads


def log_of(output):
    path = output.with_suffix(".train") / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for_log(output, lines):
    path = output.with_suffix(".train") / "log.jsonl"
    wait_for(lambda: path.is_file() and path.read_text().count("\n") >= lines, "a step")


def apart(one, other):
    """How far two files of weights are apart: the length of all differences as one vector."""
    pairs = zip(weights.read(one)[0].values(), weights.read(other)[0].values(), strict=True)
    return sum(float((a.double() - b.double()).square().sum()) for a, b in pairs) ** 0.5


def same_weights(one, other, start):
    """Whether two trainings from one start ended with the same weights, whichever are their best.

    That is to a quarter of the way: what filters and sums round by where memory lies is carried on,
    and at this rate it grows from step to step. With one thread and with two they are a tenth of
    the way apart, and with two seeds half of it.
    """
    ends = [last if (last := beside(w, "last")).exists() else w for w in (one, other)]
    return apart(*ends) < 0.25 * apart(ends[0], start)


def beside(output, name):
    return output.with_suffix(".train") / f"{name}.safetensors"


def same_log(one, other):
    """Whether two trainings said the same, but for what they round and carry on."""
    assert [entry.keys() for entry in one] == [entry.keys() for entry in other]
    for a, b in zip(one, other, strict=True):
        assert (a["step"], a.get("epoch")) == (b["step"], b.get("epoch"))
        close = 1e-4 if a["step"] < 2 else 0.2
        for figure in {"loss", "MAD", "lr"} & a.keys():
            assert a[figure] == pytest.approx(b[figure], rel=close), (a["step"], figure)
    return True


SLOW = """\
import time
from birefcli.training.trainer import Trainer
plain = Trainer.advance
def advance(*given, **more):
    time.sleep(0.5)
    return plain(*given, **more)
Trainer.advance = advance
"""
"""Steps take half a second: a training is not over while it is looked at, stopped or killed."""


def text(result):
    return result.stderr.decode()


def test_a_training_learns_and_leaves_weights_a_log_and_pictures(whole, people):
    result, output = whole
    assert result.returncode == 0, text(result)
    assert result.stdout == b""
    assert "6 photos to learn from, 2 held out" in text(result)
    found = weights.resolve(str(output))
    assert found.size == (64, 64)
    assert weights.load_network(found).config == TINY
    log = log_of(output)
    scores = [entry for entry in log if "epoch" in entry]
    assert [entry["epoch"] for entry in scores] == list(range(5))
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 13))
    assert scores[-1]["MAD"] < 0.9 * scores[0]["MAD"]
    best = min(scores[1:], key=lambda entry: entry["MAD"])
    change = f"MAD {scores[0]['MAD']:.4f} before, {best['MAD']:.4f} after"
    assert f"held-out photos, at 64×64: {change}" in text(result)
    assert "is for 96×64, and all scores here, before too, are at 64×64" in text(result)
    assert f"the result is epoch {best['epoch']}'s, " in text(result)
    folder = output.with_suffix(".train")
    assert {p.name for p in folder.iterdir()} - {"last.safetensors"} == {
        *("checkpoint.pt", "log.jsonl", "held_out.txt", "best.safetensors"),
        *(f"epoch-000{epoch}.png" for epoch in range(5)),
    }
    held_out = [f"{people}/im/{n}.png" for n in (0, 4)]
    assert (folder / "held_out.txt").read_text().split() == held_out
    picture = cv2.imread(str(folder / "epoch-0004.png"))
    assert picture is not None
    assert picture.shape[0] > 2 * 240


@pytest.mark.slow
def test_the_same_command_in_this_process_comes_to_the_same_weights(
    whole, inside, words, tmp_path, tiny_weights
):
    output = tmp_path / "w.safetensors"
    assert inside(*words, "-o", output)[0] == 0
    assert same_log(log_of(output), log_of(whole[1]))
    assert same_weights(output, whole[1], tiny_weights)
    assert beside(output, "best").read_bytes() == output.read_bytes()
    assert weights.load_network(weights.resolve(str(output))).config == TINY


@pytest.mark.slow
def test_the_result_is_the_best_epoch_also_after_going_on_with_more(
    inside, words, tmp_path, monkeypatch
):
    def run(epochs, *mads):
        scores = iter(mads)
        monkeypatch.setattr(
            validate, "mean", lambda _: validate.ValidationScore(0.9, next(scores), 0.1, 1.0)
        )
        code, said = inside(*words, "-o", output, "--epochs", epochs)
        assert code == 0
        assert next(scores, None) is None
        return said

    output = tmp_path / "w.safetensors"
    last, best = (beside(output, name) for name in ("last", "best"))
    said = run(2, 0.5, 0.25, 0.375)
    assert "held-out photos, at 64×64: MAD 0.5000 before, 0.2500 after" in said
    where = f"the best by validation; the last epoch's, MAD 0.3750, is in {last}"
    assert f"the result is epoch 1's, {where}" in said
    first = output.read_bytes()
    assert best.read_bytes() == first != last.read_bytes()
    assert "resumes after step" in (said := run(3, 0.3125))
    assert "the result is epoch 1's, the best" in said
    assert output.read_bytes() == first
    folder = output.with_suffix(".train")
    (folder / "log.jsonl").unlink()  # it is for plots: nothing hangs on it
    assert "the last epoch's, MAD 0.3125, is in" in run(3)
    saved = torch.load(folder / "checkpoint.pt")
    del saved["notes"]["last"]  # as earlier versions wrote it
    torch.save(saved, folder / "checkpoint.pt")
    assert "the last epoch's, MAD 0.3125, is in" in run(3, 0.3125)
    said = run(4, 0.125)
    assert "the result is epoch 4's, the last and the best by validation" in said
    assert output.read_bytes() == best.read_bytes() != first
    assert not last.exists()
    run(5, 0.25)
    best.unlink()
    said = run(6, 0.375)
    assert f"{best} is not there: the last epoch's weights are written instead" in said
    assert "the result is epoch 6's, the last\n" in said


def test_without_validation_or_progress_the_result_says_what_it_is(
    inside, words, tmp_path, monkeypatch
):
    output = tmp_path / "w.safetensors"
    words = (*words, "--batch", 6)  # a step is an epoch
    code, said = inside(*words, "-o", output, "--epochs", 1, "--hold-out", 0)
    assert code == 0
    assert "the result is the last epoch's: no photo is held out" in said
    worse = iter((0.125, 0.5, 0.25))
    monkeypatch.setattr(
        validate, "mean", lambda _: validate.ValidationScore(0.9, next(worse), 0.1, 1.0)
    )
    code, said = inside(*words, "-o", output, "--epochs", 2, "--restart")
    assert code == 0
    assert "the result is epoch 2's, the last and the best by validation" in said
    assert "no epoch was better than its start" in said
    assert "  best\n" not in said


def test_killed_and_run_again_it_comes_to_the_same_losses_and_weights(
    whole, command, start, words, tmp_path, tiny_weights
):
    broken = tmp_path / "broken.safetensors"
    process = start(*words, "-o", broken, "--every", 0, first=SLOW)
    wait_for_log(broken, 6)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not broken.exists()
    assert len(log_of(broken)) < len(log_of(whole[1]))
    result = command(*words, "-o", broken)
    assert result.returncode == 0, text(result)
    assert "resumes after step" in text(result)
    assert same_log(log_of(broken), log_of(whole[1]))
    assert same_weights(broken, whole[1], tiny_weights)


@pytest.mark.slow
def test_killed_twenty_times_at_random_it_comes_to_the_same_losses_and_weights(
    whole, command, start, words, tmp_path, tiny_weights
):
    chance = random.Random(20)
    broken = tmp_path / "broken.safetensors"
    # How long a start takes differs from machine to machine: kills fall before, in and after steps.
    began = time.monotonic()
    usual = tmp_path / "usual.safetensors"
    assert command(*words, "-o", usual, "--every", 0).returncode == 0
    longest = time.monotonic() - began
    ended = 0
    for _ in range(20):
        process = start(*words, "-o", broken, "--every", 0)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0, longest / 4))
        process.kill()
        process.communicate()
        ended += process.returncode == 0
        if broken.exists():  # whole, or not there
            assert same_weights(broken, whole[1], tiny_weights)
    assert ended < 20
    result = command(*words, "-o", broken)
    assert result.returncode == 0, text(result)
    assert same_log(log_of(broken), log_of(whole[1]))
    assert same_weights(broken, whole[1], tiny_weights)
    folder = broken.with_suffix(".train")
    assert not list(folder.glob("*.part")) + list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        pytest.param(signal.SIGTERM, ExitCode.TERMINATED, marks=pytest.mark.slow),
    ],
)
def test_stopped_it_keeps_the_step_it_was_at(start, inside, words, tmp_path, number, code):
    output = tmp_path / "w.safetensors"
    words = (*words, "--epochs", 1, "--hold-out", 0)
    process = start(*words, "-o", output, first=SLOW)
    wait_for_log(output, 2)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code
    steps = max(entry["step"] for entry in log_of(output))
    assert f"stopped after step {steps}; the same command resumes" in stderr.decode()
    assert not output.exists()
    code, stderr = inside(*words, "-o", output)
    assert f"resumes after step {steps} of 4" in stderr
    assert code == 0
    assert [e["step"] for e in log_of(output) if "loss" in e] == list(range(1, 5))


def test_a_second_ctrl_c_ends_it_at_once_and_says_how_it_goes_on(monkeypatch, capsys):
    codes = []
    monkeypatch.setattr(interrupts, "_asked", None)
    monkeypatch.setattr(interrupts, "later", lambda *_: None)
    monkeypatch.setattr(interrupts, "leave", codes.append)
    with TrainReporter(quiet=False, bar=False) as reporter, _stop_signals(reporter, ALONE):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
    assert codes == [ExitCode.TERMINATED]
    resumes = "stopped at once; the same command resumes from its last checkpoint"
    assert capsys.readouterr().err.splitlines() == ["stopping after this step", resumes]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_one_others(
    inside, people, tiny_weights, tmp_path
):
    outputs = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for output, seed in zip(outputs, (1, 1, 2), strict=True):
        words = ("train", people, "--from", tiny_weights, "--stage", "64x2x2", "--seed", seed)
        assert inside(*words, "-o", output, "--workers", seed)[0] == 0
    assert apart(*outputs[:2]) < 0.1 * apart(*outputs[1:])


def test_bad_data_is_listed_before_anything_is_trained(command, words, tmp_path, people):
    for name in ("im", "gt"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(4):
            target = tmp_path / "d" / name / f"{i}.png"
            target.write_bytes((people / name / f"{i}.png").read_bytes())
    (tmp_path / "d" / "gt" / "1.png").write_bytes(b"")
    (tmp_path / "d" / "im" / "2.png").write_bytes(b"GIF89a")
    output = tmp_path / "w.safetensors"
    words = [tmp_path / "d" if word == people else word for word in words]
    result = command(*words, "-o", output)
    assert result.returncode == ExitCode.NO_INPUT
    lines = text(result).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"{tmp_path}/d/gt/1.png",
        f"{tmp_path}/d/im/2.png",
        "birefcli",
    ]
    assert lines[2] == "birefcli: 2 files are not as training needs them; nothing done"
    assert not output.exists()
    assert not output.with_suffix(".train").exists()


def by_torchrun(words, environment):
    """What processes say that ``torchrun`` has started."""
    run = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "birefcli", *map(str, words)),
    ]
    result = subprocess.run(run, env=environment, capture_output=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 0, text(result)
    return text(result)


@pytest.fixture
def as_torchrun(start):
    """Start two processes with the variables and the store that ``torchrun`` would give them.

    It takes seconds to start them, as each imports torch.
    """

    def run(words, environment):
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        told |= {"WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        told |= {name: environment[name] for name in {"GLOO_SOCKET_IFNAME"} & environment.keys()}
        both = [start(*words, RANK=rank, LOCAL_RANK=rank, **told) for rank in ("0", "1")]
        said = "".join(process.communicate(timeout=TIMEOUT)[1].decode() for process in both)
        assert [process.returncode for process in both] == [0, 0], said
        return said

    return run


@pytest.mark.parametrize("torchrun", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_several_processes_average_their_gradients_and_one_writes(
    tmp_path, people, tiny_weights, environment, as_torchrun, torchrun
):
    output = tmp_path / "w.safetensors"
    words = (
        *("train", people, "-o", output, "--from", tiny_weights),
        *("--hold-out", "4", "--stage", "64x1x4", "--device", "cpu", "--threads", "1"),
    )
    env = dict(environment)
    for name in {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}:
        env["GLOO_SOCKET_IFNAME"] = name  # a machine's own name need not lead anywhere
    said = (by_torchrun if torchrun else as_torchrun)(words, env)
    assert said.count("6 photos to learn from") == 1
    log = log_of(output)
    assert [entry["step"] for entry in log] == [0, 1, 1]

    # The same step by hand: the mean of both halves' gradients, each with its own batch norm.
    pairs = [pair for i, pair in enumerate(find_pairs([people])[0]) if i % 4]
    dataset = Dataset(pairs, longest=256, soften=True, budget=10**9, foreground=True)
    network = weights.load_network(weights.resolve(str(tiny_weights))).requires_grad_(True)
    state = torch.load(output.with_suffix(".train") / "checkpoint.pt", weights_only=True)
    plan = Plan((people,), output, stages=(Stage(64, 1, 4),))
    given = hyperparameters(plan, Initialisation(64, published=True, tuned=True), 6)
    trainer = Trainer(network, given)
    losses = []
    for rank in (0, 1):
        batch = next(ViewSampler(dataset, given, rank, 2).from_step(0, 1))
        torch.manual_seed(_mixed(given.seed, 0, rank))
        loss, _ = trainer._loss(*batch.tensors(torch.device("cpu")))
        (loss / 2).backward()
        losses.append(loss.item())
    assert log[1]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-4)
    parameters = [p for group in trainer.optimiser.param_groups for p in group["params"]]
    gradient = torch.cat([p.grad.flatten() for p in parameters])
    norm = float(gradient.norm())
    assert log[1]["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    first = [state["optimiser"]["state"][i]["exp_avg"].flatten() for i in range(len(parameters))]
    clipped = gradient * min(1, given.clip / norm)
    assert (torch.cat(first) - 0.1 * clipped).norm() < 1e-3 * (0.1 * clipped).norm()


def test_a_batch_that_processes_cannot_share_is_refused():
    given = Hyperparameters((Stage(64, 1, 6),))
    for world, why in ((4, "cannot be divided among 4"), (6, "2 photos a step or more")):
        with pytest.raises(UsageError, match=why):
            setup.check_batches(given, Rank(0, world, 0))


def test_trained_from_scratch_it_has_the_architecture_of_mini(tmp_path, people, monkeypatch):
    monkeypatch.setattr(setup, "MINI", SCRATCH)
    plan = Plan((people,), tmp_path / "w.safetensors", stages=(Stage(64, 2, 2),), device="cpu")
    with prepared(plan) as run:
        assert run()
    assert weights.load_network(weights.resolve(str(plan.output))).config == SCRATCH
    assert run.hyperparameters.lr == 1.5e-3


@pytest.mark.slow
def test_a_finished_training_is_not_done_again_but_may_be_prolonged(inside, words, tmp_path):
    output = tmp_path / "w.safetensors"
    asked = [*words, "-o", output]
    epochs = asked.index("--epochs") + 1
    asked[epochs] = 1
    assert inside(*asked)[0] == 0
    before, written = weights.read(output)[0], last_write(output)
    code, stderr = inside(*asked)
    assert code == 0
    ended = f"trained to the end already; {output} stays as it is, and --restart starts anew"
    assert ended in stderr.splitlines()
    assert "written" not in stderr
    assert "the result is epoch 1's, the last and the best by validation" in stderr
    assert last_write(output) == written
    output.unlink()
    code, stderr = inside(*asked)
    assert "trained to the end already; what is left is to write its weights" in stderr
    assert f"{output}: written" in stderr
    assert all(torch.equal(a, before[k]) for k, a in weights.read(output)[0].items())
    asked[epochs] = 2
    _, stderr = inside(*asked)
    assert "resumes after step 3 of 6" in stderr
    assert any(not torch.equal(a, before[k]) for k, a in weights.read(output)[0].items())
    asked[epochs] = 1
    assert inside(*asked, "--restart", "-q") == (0, "")
    assert [e["step"] for e in log_of(output)] == [0, 1, 2, 3, 3]
    assert not (output.with_suffix(".train") / "epoch-0002.png").exists()


def test_options_that_train_otherwise_are_refused_before_photos_are_read(
    inside, words, tmp_path, monkeypatch
):
    output = tmp_path / "w.safetensors"
    asked = [*words, "-o", output, "--epochs", 1, "--no-soften", "--hold-out", 0, "--quiet"]
    assert inside(*asked) == (0, "")
    monkeypatch.setattr(TrainingRun, "_check_photos", lambda _: pytest.fail("photos are read"))
    folder = output.with_suffix(".train")
    state = [(path, last_write(path)) for path in (output, *sorted(folder.iterdir()))]
    same = "give the same options again, or --restart, or another --output"
    other = "--epochs", 2, "--size", 96, "--batch", 3, "--lr", 1e-4, "--seed", 5, "--soften"
    changed = "--size 64 (now 96), --batch 2 (now 3), --lr 0.003 (now 0.0001), --seed 0 (now 5)"
    for more, differing in {
        other: f"{changed}, --soften no (now yes)",
        ("--from", "mini"): f"--from {os.path.realpath(words[3])} (now mini)",
    }.items():
        said = f"{folder / 'checkpoint.pt'}: its training began with {differing}; {same}"
        assert inside(*asked, *more) == (ExitCode.USAGE, said)
    assert "other photos" in inside(*asked, "--hold-out", 3)[1]
    assert [(path, last_write(path)) for path in (output, *sorted(folder.iterdir()))] == state


def test_fewer_epochs_are_other_options_and_more_are_not():
    begun = {"epochs": "3", "size": "64"}
    refuse_others(Path("c"), begun, {"epochs": "4", "size": "64", "batch": "8"})
    for epochs in ("3.0", "4", "none"):
        with pytest.raises(UsageError, match=r"began with epochs .* \(now 3\); give the same"):
            refuse_others(Path("c"), {"epochs": epochs}, {"epochs": "3"})


def test_weights_that_are_no_training_of_ours_are_not_replaced(inside, words, tmp_path):
    output = tmp_path / "w.safetensors"
    for content, more, text in (
        (zoo.MINI_FILE.read_bytes(), (), "is there already; name another file, or --restart"),
        (b"mine", ("--restart",), "is there and was not made by birefcli train; name another file"),
        (safetensors(), ("--restart",), "is there and was not made by birefcli train"),
    ):
        output.write_bytes(content)
        code, stderr = inside(*words, "-o", output, *more)
        assert code == ExitCode.OUTPUT
        assert text in stderr
        assert output.read_bytes() == content
        assert not output.with_suffix(".train").exists()


def safetensors() -> bytes:
    """Another program's: without what a network of ours says of itself."""
    header = b'{"__metadata__": {"format": "pt"}}'
    return len(header).to_bytes(8, "little") + header


def test_files_of_the_folder_that_are_no_trainings_stay(tmp_path):
    plan = Plan((), tmp_path / "w.safetensors", restart=True)
    plan.folder.mkdir()

    def refused(*names):
        with pytest.raises(OutputError, match="was not made by birefcli train; move it") as error:
            setup.prepare_folder(plan)
        return any(str(error.value).startswith(f"{plan.folder / name}: ") for name in names)

    for path in (plan.output, plan.folder / "epoch-0001.png"):
        path.touch()  # as mktemp makes it
    setup.prepare_folder(replace(plan, restart=False))
    (plan.folder / setup.CHECKPOINT).touch()
    os.utime(plan.folder / setup.CHECKPOINT, (0, 0))
    assert not setup.is_result_newest(plan)
    plan.output.write_bytes(b"weights")
    assert setup.is_result_newest(plan)
    for path in (plan.output, plan.folder / setup.CHECKPOINT):
        path.unlink()
    (plan.folder / "epoch-0001.png").write_bytes(b"a picture")
    (plan.folder / "of mine.txt").write_bytes(b"no name of ours")
    assert refused("epoch-0001.png")
    (plan.folder / setup.LOG).write_text('{"event": "of another program"}\n')
    assert refused(setup.LOG)
    for line in ('{"step": 1, "loss": 0.5}\n', '{"epoch": 0, "step": 0, "IoU": 1.0}\n', ""):
        (plan.folder / setup.LOG).write_text(line)
        setup.prepare_folder(plan)
    (plan.folder / setup.LOG).unlink()
    torch.save({"model": {}}, plan.folder / setup.CHECKPOINT)
    assert refused(setup.CHECKPOINT)
    (plan.folder / setup.CHECKPOINT).write_bytes(b"damaged")
    assert refused(setup.CHECKPOINT)
    (plan.folder / setup.LOG).write_text('{"step": 1, "loss": 0.5}\n')
    setup.prepare_folder(plan)
    torch.save(dict.fromkeys(("network", "averaged", "optimiser")), plan.folder / setup.CHECKPOINT)
    (plan.folder / setup.LOG).unlink()
    setup.prepare_folder(plan)


def test_parts_that_a_killed_training_left_are_removed(tmp_path):
    plan = Plan((), tmp_path / "w.safetensors")
    plan.folder.mkdir()
    for folder in (tmp_path, plan.folder):
        part = folder / f"{atomic.PART}1-aaaaaaaa{atomic.PART_END}"
        part.write_bytes(b"ha")
        os.utime(part, (0, 0))
    setup.prepare_folder(plan)
    assert list(tmp_path.rglob("*")) == [plan.folder]


def test_two_trainings_do_not_write_the_same_weights(inside, start, words, tmp_path):
    output = tmp_path / "w.safetensors"
    process = start(*words, "-o", output, first=SLOW)
    wait_for_log(output, 1)
    code, stderr = inside(*words, "-o", output)
    process.kill()
    assert code == ExitCode.BUSY
    assert f"{output}: another training is writing it" in stderr


def test_a_full_disk_is_reported_and_leaves_no_checkpoint(command, words, tmp_path, small_disk):
    fill(small_disk / "filler")
    result = command(*words, "-o", small_disk / "w.safetensors")
    assert result.returncode == ExitCode.OUTPUT
    assert "cannot be written" in text(result)
    assert "Traceback" not in text(result)


@pytest.mark.parametrize(
    ("more", "code", "expected"),
    [
        (["-o", "w.pth"], ExitCode.USAGE, "ends in .safetensors"),
        (["-o", "w.safetensors", "--size", "100"], ExitCode.USAGE, "multiple of 32"),
        (["-o", "w.safetensors", "--stage", "64x5"], ExitCode.USAGE, "like 224x2000x16"),
        (["-o", "w.safetensors", "--stage", "64x5x4", "--epochs", "2"], ExitCode.USAGE, "leave"),
        (["-o", "w.safetensors", "--from", "not"], ExitCode.MODEL, "no model is called 'not'"),
        (["-o", "w.safetensors", "--lr", "-1"], ExitCode.USAGE, "above 0"),
        (["-o", "w.safetensors", "--device", "tpu"], ExitCode.USAGE, "--device tpu"),
        (["-o", "w.safetensors", "--precision", "fp16", "--device", "cpu"], ExitCode.USAGE, "fp32"),
        (["-o", "w.safetensors", "--shares", "1,2"], ExitCode.USAGE, "2 given, and DATA has 1"),
        (["-o", "w.safetensors", "--shares", "1,-2"], ExitCode.USAGE, "above 0, like 3,1,1"),
        (["-o", "w.safetensors", "--shares", ""], ExitCode.USAGE, "above 0, like 3,1,1"),
        (["-o", "w.safetensors", "--backgrounds", "PEOPLE"], ExitCode.USAGE, "to train on; name"),
        (["-o", "w.safetensors", "--backgrounds", "not"], ExitCode.NO_INPUT, "no such folder"),
        (["-o", "w.safetensors", "--validate", "not"], ExitCode.NO_INPUT, "no such folder"),
        ([], ExitCode.USAGE, "--output FILE.safetensors"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_line(
    inside, people, tmp_path, monkeypatch, more, code, expected
):
    monkeypatch.chdir(tmp_path)
    more = [str(people) if word == "PEOPLE" else word for word in more]
    found, message = inside("train", people, *more)
    assert found == code
    assert expected in message
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_model_that_cannot_be_had_is_reported_with_the_option_of_train(command, people, tmp_path):
    result = command("train", people, "-o", tmp_path / "w.safetensors", "--from", "lite")
    assert result.returncode == ExitCode.MODEL
    assert "or use `--from mini`" in text(result)


def test_photos_to_score_on_may_be_a_folder_of_their_own(people, tmp_path):
    plan = Plan((people,), tmp_path / "w.safetensors", validate=(people,))
    with pytest.raises(DataError, match="is in the data and in validate; name other folders"):
        setup.find_data(plan)
    for name in ("im", "gt"):
        (tmp_path / "v" / name).mkdir(parents=True)
        (tmp_path / "v" / name / "a.png").write_bytes((people / name / "3.png").read_bytes())
    found = setup.find_data(Plan((people,), tmp_path / "w", validate=(tmp_path / "v",)))
    assert (len(found.training), len(found.held_out)) == (8, 1)


def test_a_single_photo_is_not_held_out_and_trained_on(people, tmp_path):
    for name in ("im", "gt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "3.png").write_bytes((people / name / "3.png").read_bytes())
    with pytest.raises(DataError, match="would be held out"):
        setup.find_data(Plan((tmp_path,), tmp_path / "w"))
    found = setup.find_data(Plan((tmp_path,), tmp_path / "w", hold_out=0))
    assert (len(found.training), len(found.held_out)) == (1, 0)


def test_each_folder_holds_out_its_own_part_and_keeps_its_share(people, tmp_path):
    for name in ("im", "gt"):
        (tmp_path / "more" / name).mkdir(parents=True)
        for number in range(4):
            content = (people / name / f"{number}.png").read_bytes()
            (tmp_path / "more" / name / f"{number}.png").write_bytes(content)
    folders = (people, tmp_path / "more")
    plan = Plan(folders, tmp_path / "w", hold_out=4, shares=(1.0, 3.0))
    found = setup.find_data(plan)
    assert [pair.image.parent.parent for pair in found.held_out] == [
        *[people] * 2,
        tmp_path / "more",
    ]
    assert found.parts == [Part(6, 1.0), Part(3, 3.0)]
    plain = setup.find_data(replace(plan, shares=()))
    assert plain.parts == [Part(6, 6), Part(3, 3)]


def test_a_background_that_cannot_be_read_is_listed_with_the_photos(command, people, tmp_path):
    (tmp_path / "walls").mkdir()
    (tmp_path / "walls" / "a.png").write_bytes(b"no picture")
    words = ("train", people, "-o", tmp_path / "w.safetensors", "--backgrounds", tmp_path / "walls")
    result = command(*words)
    assert result.returncode == ExitCode.NO_INPUT
    assert f"{tmp_path / 'walls' / 'a.png'}: " in text(result)
    (tmp_path / "walls" / "a.png").rename(tmp_path / "walls" / "a.txt")
    result = command(*words)
    assert result.returncode == ExitCode.NO_INPUT
    assert f"{tmp_path / 'walls'}: no picture in it" in text(result)


def test_stages_are_read_as_size_steps_batch():
    assert _stage("224x2000x16") == Stage(224, 2000, 16)
    for wrong in ("100x5x4", "64x5x1", "64x5", "64x0x2", "ax5x4"):
        with pytest.raises(UsageError):
            _stage(wrong)


@pytest.mark.gpu
def test_on_a_gpu_it_trains_in_half_precision(people, tmp_path, tiny_weights):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for precision in (Precision.AUTO, Precision.FP16, Precision.FP32):
        plan = Plan(
            (people,),
            tmp_path / f"{precision.value}.safetensors",
            model=str(tiny_weights),
            stages=(Stage(64, 12, 4),),
            lr=3e-3,
            precision=precision,
            hold_out=4,
        )
        assert setup.placement_for(plan, ALONE).device.type == "cuda"
        with prepared(plan) as run:
            assert run()
        assert run.best["MAD"] < run.first["MAD"]
