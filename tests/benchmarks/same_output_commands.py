"""The command lines of ``same_output.py``, in groups.

The commands of a group run one after another and share an output folder, ``{out}``; groups know
nothing of each other. In the tables, a line is a name, variables of the environment
(``NAME=VALUE``), the words of the command, and perhaps ``< FILE`` for its standard input.
"""

import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PRODUCTS = "cutout,mask,composite,foreground,trimap"
SHORT = {
    "{all}": f"--write {PRODUCTS}",
    "{opaque}": "--write mask,composite,foreground,trimap",
    "{mini}": "--model mini --device cpu",
    "{quick}": "--model mini --device cpu --size 128",
    "{tiny}": "--model mini --device cpu --size 64",
    "{train}": "--size 64 --hold-out 4 --stage 64x2x2 --device cpu --threads 1 --workers 1",
}


@dataclass(frozen=True)
class Command:
    """One command line; paths are relative to the folder of the inputs."""

    name: str
    """Group and name, like ``options/crop``."""
    words: tuple[str, ...]
    stdin: str = ""
    env: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "birefcli")
    """What Python is told to run, before the words."""
    before: "Callable[[Path], object] | None" = None
    """What is done to the group's output folder first."""
    keys_only: bool = False
    """Whether of the JSON on stdout only the names count: its values are the machine's."""

    @property
    def group(self) -> str:
        """Where it belongs."""
        return self.name.partition("/")[0]


FORMATS = """
png/8        matte odd -o {out}/8 {all} {mini} --json
png/16       matte odd -o {out}/16 {all} {tiny} --bits 16 --compress small --strip --quiet
tiff/8       matte odd -o {out}/8 {all} {tiny} --format tiff --compress balanced
tiff/16      matte odd -o {out}/16 {all} {tiny} --format tif --bits 16 --strip --compress small -v
webp/8       matte odd -o {out}/8 {all} {tiny} --format webp --json
jpg/8        matte odd -o {out}/8 {opaque} {tiny} --format jpeg --background '#246'
compress/png-balanced    matte few -o {out}/1 {all} {tiny} --compress balanced
compress/webp-balanced   matte few -o {out}/5 {all} {tiny} --compress balanced --format webp --strip
compress/webp-small      matte few -o {out}/6 {all} {tiny} --compress small --format webp
compress/jpg-small       matte few -o {out}/7 {opaque} {tiny} --compress small --format jpg --strip
samples/all              matte samples -o {out}/1 {all} {mini} --json
samples/masks            matte samples -o {out}/2 {mini} --write mask
samples/wide             matte samples -o {out}/3 {all} {mini} --size 256x192 --bits 16 --crop
"""
OPTIONS = """
crop/crop            matte odd -o {out}/1 {all} {quick} --crop --strip --no-refine
crop/margin          matte few -o {out}/2 {all} {quick} --crop --margin 7
crop/share           matte few -o {out}/3 {all} {quick} --crop --margin 12.5% --format tiff
colour/no-refine     matte few -o {out}/1 {all} {quick} --no-refine --bits 16
behind/picture       matte few -o {out}/1 {quick} --write composite --background wall.png
behind/folder        matte few -o {out}/2 {quick} --write composite --background walls
behind/some          matte few -o {out}/3 {quick} --write composite --background some-walls
behind/blur          matte few -o {out}/4 {quick} --write composite --background blur --bits 16
behind/radius        matte few -o {out}/5 {quick} --write composite,mask --background blur:3.5
behind/colour        matte few -o {out}/6 {quick} --write composite --background 'hsl(9,50%,40%)'
walk/flat            matte few -o {out}/1 {tiny} --no-recursive --json --dry-run
walk/globs           matte odd -o {out}/2 {tiny} --include '*.jpg' --exclude 'turned*' --dry-run
walk/several         matte few odd/x.jpg samples/camera.png -o {out}/3 {tiny} --batch 3 --threads 1
walk/megapixels      matte few -o {out}/4 {tiny} --max-megapixels 0.01 --failed-to {out}/failed
walk/memory          matte few -o {out}/5 {tiny} --max-memory 0.001 --precision bf16
walk/max-failures    matte odd -o {out}/6 {tiny} --include 'c*' --max-failures 1 --threads 1
walk/fail-if-empty   matte odd/1x1.png -o {out}/7 {tiny} --fail-if-empty --json
walk/columns         matte few -o {out}/8 {tiny} --patch-order columns --no-compile
devices/two          matte few samples -o {out} {all} {quick} --device cpu,cpu --json
devices/two-again    matte few samples -o {out} {all} {quick} --device cpu,cpu --json
environment/set      BIREFCLI_MODEL=mini BIREFCLI_SIZE=64 BIREFCLI_WRITE=mask matte few -o {out}/1
environment/unknown  BIREFCLI_MODLE=a BIREFCLI_NO_PROGRESS=1 matte few -o {out}/2 {tiny} --dry-run
environment/wrong    BIREFCLI_BITS=7 matte few -o {out}/3 {tiny}
environment/threads  OMP_NUM_THREADS=many matte few -o {out}/4 {tiny} --dry-run
"""
NAMES = """
pipe/stdin-stdout    matte - -o - {quick} < few/taken.jpg
pipe/mask-webp       matte - -o - {quick} --write mask --format webp < odd/rgb16.png
pipe/file-stdout     matte few/hole.png -o - {quick} --write composite --format jpg
pipe/to-file         matte - -o {out}/new/a.tiff {quick} --bits 16 < odd/deep16.tif
pipe/to-folder       matte - few/deep.png -o {out}/folder {quick} --json < few/taken.jpg
pipe/text            matte - -o - {quick} < odd/text.jpg
pipe/nothing         matte - -o - {quick} < odd/empty.jpg
list/lines           matte --files-from list.txt -o {out}/1 {tiny} --json
list/nul             matte --files-from list0 -0 -o {out}/2 {tiny}
list/nul-stdin       matte --files-from - -0 -o {out}/3 {tiny} --dry-run < list0
list/lines-stdin     matte --files-from - samples -o {out}/4 {tiny} --dry-run --json < list.txt
list/nul-lines       matte --files-from list.txt -0 -o {out}/5 {tiny}
list/none            matte --files-from odd/empty.jpg -o {out}/6 {tiny}
list/lost            matte --files-from no-such-list -o {out}/7 {tiny}
named/dash           matte -o {out}/1 {tiny} -- named/-rf.jpg named/photo named/.hidden.jpg
named/twins          matte twins -o {out}/2 {tiny}
named/twins-name     matte twins -o {out}/3 {tiny} --name '{name}'
named/template       matte twins/sub -o {out}/4 {tiny} --name '{stem}-cut of {name}' --dry-run
named/among          matte few/hole.png -o few {tiny} --dry-run
named/products       matte few few -o {out}/5 {tiny} --write trimap,mask --dry-run --json
named/dry            matte odd -o {out}/6 {tiny} --dry-run
named/nothing        matte empty -o {out}/7 {tiny}
named/no-photo       matte few --include '*.gif' -o {out}/8 {tiny}
named/lost           matte few/hole.png no-such.jpg -o {out}/9 {tiny}
named/all-lost       matte no-such.jpg https://example.org/a.jpg -o {out}/10 {tiny}
named/file-in-way    matte few -o list.txt/out {tiny}
named/onto-file      matte few -o list0 {tiny}
"""
WRONG = """
wrong/nothing        nothing
wrong/no-photo       matte -o {out}/new
wrong/no-output      matte few
wrong/option         matte few -o {out}/new --crpo
wrong/value          matte few -o {out}/new --output
wrong/format         matte few -o {out}/new --format gif
wrong/format-alpha   matte few -o {out}/new --format jpg {tiny}
wrong/bits           matte few -o {out}/new --bits 12
wrong/bits-word      matte few -o {out}/new --bits x
wrong/bits-webp      matte few -o {out}/new --bits 16 --format webp
wrong/suffix         matte few/hole.png -o {out}/a.gif
wrong/suffixes       matte few/hole.png -o {out}/a.png --format webp
wrong/several        matte few -o {out}/a.png
wrong/products       matte few/hole.png -o {out}/a.png --write mask,cutout
wrong/write          matte few -o {out}/new --write cutout,mist
wrong/size           matte few -o {out}/new --size 1x
wrong/size-multiple  matte few -o {out}/new --size 100
wrong/size-zero      matte few -o {out}/new --size 0x64
wrong/size-large     matte few -o {out}/new --size 64x9000
wrong/margin         matte few -o {out}/new --crop --margin -3
wrong/margin-word    matte few -o {out}/new --crop --margin 5px
wrong/margin-alone   matte few -o {out}/new --margin 5%
wrong/background     matte few -o {out}/new --write composite --background nonsense {tiny}
wrong/blur           matte few -o {out}/new --write composite --background blur:x {tiny}
wrong/picture        matte few -o {out}/new --write composite --background odd/cut.jpg {tiny}
wrong/alone          matte few -o {out}/new --background red
wrong/compress       matte few -o {out}/new --compress best
wrong/name           matte few -o {out}/new --name '{date}'
wrong/name-path      matte few -o {out}/new --name 'a/{stem}'
wrong/batch          matte few -o {out}/new --batch 0
wrong/threads        matte few -o {out}/new --threads many
wrong/memory         matte few -o {out}/new --max-memory -1
wrong/megapixels     matte few -o {out}/new --max-megapixels 0
wrong/failures       matte few -o {out}/new --max-failures 0
wrong/existing       matte few -o {out}/new --existing keep
wrong/quiet          matte few -o {out}/new -q -v
wrong/null           matte few -o {out}/new -0
wrong/stdout         matte few/hole.png -o - --json
wrong/stdin          matte - - -o {out}/new
wrong/empty-name     matte '' -o {out}/new
wrong/dash           matte -o {out}/new -rf.jpg
wrong/model          matte few -o {out}/new --model nonsense --dry-run
wrong/model-near     matte few -o {out}/new --model portrit
wrong/model-file     matte few -o {out}/new --model no.safetensors
wrong/model-lost     matte few -o {out}/new --model lost.safetensors
wrong/model-offline  matte few -o {out}/new --model lite --offline
wrong/device         matte few -o {out}/new --device gpu
wrong/device-cuda    matte few -o {out}/new --model mini --device cuda:7
wrong/device-auto    matte few -o {out}/new --model mini --device cpu,auto
wrong/device-all     matte few -o {out}/new --model mini --device all
wrong/device-pipe    matte - -o - --model mini --device cpu,cpu < few/taken.jpg
wrong/device-file    matte few/hole.png -o {out}/a.png --model mini --device cpu,cpu
wrong/precision      matte few -o {out}/new --precision fp8
wrong/patch-order    matte few -o {out}/new --patch-order rows
wrong/sheet-output   sheet few
wrong/sheet-suffix   sheet few -o {out}/a.gif
wrong/sheet-font     sheet few -o {out}/a.png --font wall.png
wrong/sheet-tile     sheet few -o {out}/a.png --tile 5
wrong/score          score scores/pred
wrong/score-both     score scores/pred scores/gt --json --csv
wrong/score-report   score scores/pred scores/gt --report {out}/a.pdf
wrong/score-size     score scores/pred scores/gt --size 64
wrong/score-trimaps  score scores/pred scores/gt --trimaps scores/gt --trimap-radius 3
wrong/train          train -o {out}/w.safetensors
wrong/train-output   train people
wrong/train-stage    train people -o {out}/w.safetensors --stage 64x2
wrong/train-epochs   train people -o {out}/w.safetensors --stage 64x2x2 --epochs 2
wrong/train-lr       train people -o {out}/w.safetensors --lr 0
wrong/train-size     train people -o {out}/w.safetensors --size 100
wrong/train-held     train people -o {out}/w.safetensors --validate people --hold-out 3
wrong/bench          bench few --rounds 0
wrong/doctor         doctor --device gpu
"""
OTHERS = """
score/table          score scores/pred scores/gt
score/json           score scores/pred scores/gt --json --each
score/csv            score scores/pred scores/gt --csv
score/csv-each       score scores/pred scores/gt --csv --each --permille
score/each           score scores/pred scores/gt --each --trimap-radius 4
score/report         score scores/pred scores/gt --report {out}/report.html --trimap-radius 3
score/file           score scores/pred/p001.png scores/gt/p001.png --json
score/unlike         score people/gt scores/gt
score/missing        score people/im wrong/gt --allow-missing
score/damaged        score wrong/im wrong/gt --allow-missing --json --each
score/model          score people/im people/gt {tiny} --json --report {out}/model.html
sheet/cutouts        matte odd samples -o {out}/cut --write cutout,mask {tiny} --name '{name}'
sheet/plain          sheet {out}/cut -o {out}/plain.png
sheet/json           sheet {out}/cut/cutout -o {out}/json.jpg --json --sort coverage
sheet/pages          sheet {out}/cut/mask -o {out}/pages.webp --per-page 20 --tile 64 --columns 5
sheet/flagged        sheet {out}/cut/cutout -o {out}/flagged.tiff --flagged --sort name
sheet/odd            sheet odd few/hole.png -o {out}/odd.png --json
sheet/onto           sheet {out}/cut -o {out}/cut/cutout/hole.png.png
sheet/nothing        sheet empty -o {out}/nothing.png
models/list          models list
models/json          models list --json
models/path          models path mini
models/path-lost     models path portrait
models/path-wrong    models path nonsense
models/verify        models verify
models/verify-mini   models verify mini
models/verify-lost   models verify lite
models/remove        models remove mini --yes
models/remove-lost   models remove lite --yes
models/pull          models pull
models/pull-offline  models pull lite --quiet
train/mini           train people -o {out}/w.safetensors --from mini {train}
train/again          train people -o {out}/w.safetensors --from mini {train}
train/scratch        train people -o {out}/s.safetensors {train} --seed 3 --loss segmentation
train/use            matte few -o {out}/few --model {out}/w.safetensors --device cpu {all}
train/maskless       train maskless -o {out}/m.safetensors --from mini {train}
train/wrong          train wrong -o {out}/m.safetensors --from mini {train}
train/lost           train no-such -o {out}/m.safetensors --from mini {train}
train/no-weights     train people -o {out}/m.safetensors --from no.safetensors {train}
"""
HELP = ("", "matte", "bench", "doctor", "score", "sheet", "train", "models", "models list",
        "models pull", "models path", "models verify", "models remove")  # fmt: skip
TABS = ("", "mat", "matte --", "matte -m ", "matte --write mask,", "matte --device cpu,", "models ",
        "sheet --sort ", "matte --background b", "matte --form", "train --from ")  # fmt: skip
INSTALLED = "import sys; sys.argv[0] = 'birefcli'; from birefcli.__main__ import main; main()"
LIGHT = """
import sys, birefcli
print(birefcli.__file__, sorted(birefcli.__all__))
print([n for n in ("torch", "numpy", "cv2", "PIL") if n in sys.modules])
"""


def commands() -> list[Command]:
    """All of them; the groups that take longest come first."""
    tables = (FORMATS, NAMES, OPTIONS, OTHERS, WRONG)
    listed = [_read(line) for table in tables for line in table.strip().splitlines()]
    long = [*_again(), *_python()]
    return [*long, *listed, *_spoken()]


def _read(line: str) -> Command:
    name, _, rest = line.partition(" ")
    for short, full in SHORT.items():
        rest = rest.replace(short, full)
    rest, _, stdin = rest.partition(" < ")
    words = shlex.split(rest)
    env = {}
    while re.match(r"[A-Z_]+=", words[0]):
        variable, _, env[variable] = words.pop(0).partition("=")
    out = "out/" + name.partition("/")[0]
    return Command(name, tuple(w.replace("{out}", out) for w in words), stdin, env)


def _spoken() -> list[Command]:
    """Help, version, completion and doctor."""
    helps = [Command(f"help/{word or 'all'}", (*word.split(), "--help")) for word in HELP]
    told = [
        Command("help/none", ()),
        Command("help/version", ("--version",)),
        Command("doctor/json", ("doctor", "--no-measure", "--json"), keys_only=True),
        Command("doctor/cuda", ("doctor", "--no-measure", "--json", "--device", "cuda:7"),
                keys_only=True),
    ]  # fmt: skip
    for line in TABS:
        words = f"birefcli {line}".split(" ")
        env = {
            "_BIREFCLI_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        told.append(Command(f"tab/{line or 'nothing'}", (), env=env, program=("-c", INSTALLED)))
    return [*helps, *told]


# Runs over what an earlier run left


def _again() -> list[Command]:
    plain = "matte out/again/photos -o out/again/made --json {quick}"
    steps: tuple[tuple[str, str, Callable[[Path], object] | None], ...] = (
        ("first", plain, _copy_photos),
        ("second", plain, None),
        ("would-change", f"{plain} --no-refine --dry-run", None),
        ("changed", f"{plain} --no-refine", None),
        ("damaged", f"{plain} --no-refine", _damage),
        ("other-photo", f"{plain} --no-refine", _touch),
        ("other-size", "matte out/again/photos -o out/again/made {tiny} --no-refine -v", None),
        ("foreign", f"{plain} --no-refine", _replace),
        ("skip", f"{plain} --existing skip", None),
        ("error", f"{plain} --existing error", None),
        ("overwrite", f"{plain} --existing overwrite", None),
        ("more", f"{plain} --write cutout,mask", None),
        ("missing", f"{plain} --write cutout,mask", _lose),
        ("products", "matte out/again -o out/again/all {quick} --dry-run", None),
        ("way-barred", f"{plain}", _bar),
    )
    found = []
    for name, line, before in steps:
        command = _read(f"again/{name} {line}")
        found.append(Command(command.name, command.words, before=before))
    return found


def _copy_photos(out: Path) -> None:
    shutil.copytree(out.parent.parent / "few", out / "photos")


def _damage(out: Path) -> None:
    path = out / "made" / "deep.png"
    path.write_bytes(path.read_bytes()[:-20])


def _touch(out: Path) -> None:
    os.utime(out / "photos" / "hole.png", (1_600_000_000, 1_600_000_000))


def _replace(out: Path) -> None:
    shutil.copy(out / "photos" / "hole.png", out / "made" / "hole.png")


def _lose(out: Path) -> None:
    (out / "made" / "mask" / "sub" / "cmyk.png").unlink()


def _bar(out: Path) -> None:
    (out / "made" / "taken.png").unlink()
    (out / "made" / "taken.png").mkdir()


# Python


def _python() -> list[Command]:
    here = Path(__file__).parent
    face, held = str(here / "same_output_face.py"), str(here / "same_output_held.py")
    return [
        Command("python/face", ("out/python",), program=(face,)),
        Command("python/light", (), program=("-c", LIGHT)),
        Command("held/runs", ("out/held",), program=(held,)),
    ]
