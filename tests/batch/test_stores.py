"""Batches whose photos, products, or both are in a store: a real server of S3, behind a proxy."""

import json
from pathlib import Path

import pytest
from conftest import picture
from PIL import Image
from support import saved

TREE = ("a.jpg", "b.png", "sub/a.jpg", "sub/deep/é + ü.webp", "c.tif")


def encoded(name, seed):
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}[Path(name).suffix]
    return saved(picture(seed=seed), kind)


@pytest.fixture
def tree(tmp_path):
    """A folder of photos."""
    folder = tmp_path / "in"
    for seed, name in enumerate(TREE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(name, seed))
    return folder


def upload(bucket, folder, prefix):
    """Put all files of a folder below a prefix."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.put(f"{prefix}{path.relative_to(folder).as_posix()}", path.read_bytes())


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def objects(bucket, prefix):
    return {
        key.removeprefix(prefix): bucket.get(key)
        for key in bucket.names()
        if key.startswith(prefix)
    }


def pixels(data):
    import io

    with Image.open(io.BytesIO(data)) as image:
        return image.mode, image.size, image.tobytes()


@pytest.fixture
def matte(command, bucket):
    """Run ``birefcli matte`` where it finds the bucket; its lines of JSON and what it said."""

    def run(*words, expect=0, **more):
        result = command("matte", *words, "--json", **bucket.variables, **more)
        said = result.stderr.decode()
        assert result.returncode == expect, said
        assert "Traceback" not in said
        lines = [json.loads(line) for line in result.stdout.decode().splitlines()]
        return lines, said

    return run


def test_a_prefix_gives_the_products_that_a_folder_gives(matte, bucket, tree, tmp_path):
    upload(bucket, tree, "in/")
    there = matte(tree, "-o", tmp_path / "out")[0][-1]["summary"]
    stored, _ = matte(f"{bucket.url}/in/", "-o", f"{bucket.url}/out/")
    assert stored[-1]["summary"]["written"] == len(TREE) == there["written"]
    mine, theirs = objects(bucket, "out/"), files(tmp_path / "out")
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert pixels(mine[name]) == pixels(theirs[name])
