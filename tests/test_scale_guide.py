"""The guide to more than one machine does what it says: its blocks are taken from the page."""

import json
from pathlib import Path

import pytest
from support import blocks
from test_recipes import ALL, made, needs

from birefcli.batch.shard import SCHEDULERS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "man" / "guide" / "scale.md").read_text(encoding="utf-8")
SHARDS = "Shards"


def block(language: str, number: int = 0) -> str:
    text: str = blocks(PAGE, SHARDS, language)[number]
    return text


def dry_runs_of(shell, command, count, **told):
    """What the parts of a command would do, together; ``told``: variables with the number."""
    names = []
    for number in range(count):
        variables = {name: value.format(number) for name, value in told.items()}
        out = shell(f"{command} --dry-run", **variables)
        names += [line.partition(":")[0] for line in out.splitlines() if ": pending" in line]
    return sorted(names)


def test_the_shards_of_the_page_are_one_whole(shell, photos):
    shell(block("sh"))
    assert made(photos.parent / "cutouts") == ALL


@pytest.mark.slow
def test_each_task_of_the_slurm_array_does_its_part(shell, photos):
    script = block("sbatch")
    assert "#SBATCH --array=0-7\n" in script
    last = script.replace("\\\n", "").splitlines()[-1]
    assert last.startswith("exec birefcli "), "a shell would end by SIGTERM, and birefcli with it"
    for number in range(8):
        told = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "8"}
        shell(script, **told, SLURM_ARRAY_TASK_MIN="0")
    assert made(photos.parent / "cutouts") == ALL
    assert len(list(photos.parent.glob("failed-*.txt"))) == 8


@pytest.mark.slow
def test_the_pods_of_the_kubernetes_job_are_the_parts(shell, photos):
    yaml = pytest.importorskip("yaml")
    spec = yaml.safe_load(block("yaml"))["spec"]
    assert spec["completionMode"] == "Indexed"
    [container] = spec["template"]["spec"]["containers"]
    [rule] = [r for r in spec["podFailurePolicy"]["rules"] if r["action"] == "FailIndex"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    words = [word.replace("/shop/", "") for word in container["command"]]
    assert f"auto/{spec['completions']}" in words
    command, count = " ".join(words), spec["completions"]
    assert len(dry_runs_of(shell, command, count, JOB_COMPLETION_INDEX="{}")) == len(ALL)


@pytest.mark.slow
def test_the_array_job_of_aws_is_the_parts(shell, photos):
    job = json.loads(block("json"))
    size = job["arrayProperties"]["size"]
    assert len(job["retryStrategy"]["evaluateOnExit"]) <= 5  # AWS takes no more
    words = job["containerOverrides"]["command"]
    local = {"s3://shop/in/": "photos/", "s3://shop/out/": "cutouts/"}
    command = " ".join(local.get(word, word) for word in words)
    told = {"AWS_BATCH_JOB_ARRAY_INDEX": "{}", "AWS_BATCH_JOB_ARRAY_SIZE": str(size)}
    assert len(dry_runs_of(shell, command, size, **told)) == len(ALL)


@pytest.mark.slow
@needs("parallel")
def test_parallel_does_all_parts(shell, photos):
    line = block("sh", 1)
    assert "--sshlogin render1,render2,render3" in line
    shell(line.replace("render1,render2,render3", ":"))
    assert made(photos.parent / "cutouts") == ALL


def test_the_table_has_every_variable_that_is_read():
    for scheduler in SCHEDULERS:
        for name in (scheduler.index, scheduler.count or scheduler.most):
            assert name is None or name in PAGE
