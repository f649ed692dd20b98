"""What the man pages say beyond ``--help``: values only, read by pages.py. Backquotes mean bold."""

MORE = {
    "birefcli": [
        "A folder of portraits in, mattes and cutouts out. The networks are BiRefNet's, as "
        "published, and `mini`, a small one that is part of the package and needs no download. "
        "The others are downloaded when they are first named, verified, and kept in the Hugging "
        "Face cache; from then on no network is needed.",
        "`birefcli --install-completion` lets Tab complete options, models and devices in bash, "
        "zsh and fish.",
        "Results and tables that programs read go to standard output; progress, notes and "
        "failures go to standard error, a line each.",
    ],
    "birefcli matte": [
        "Photos are named one by one, as folders, as `-` (one photo from standard input), or in "
        "a list (`--files-from`). They are never changed. `--output` is a folder; for one photo "
        "it may also be a file, or `-`.",
        "Folders keep their tree: photos/x/a.jpg becomes x/a.png in the output folder. Where "
        "several products are asked for, each has a folder of its own there. Two photos that "
        "want one name are refused before any work; `--name '{name}'` keeps both.",
        "A second run does only what is missing, damaged, made from another version of a photo, "
        "or made with another model or other options (`--existing`, `--dry-run`). "
        "What was made in fp16 or fp32 is up to date for `--precision auto`; a precision that is "
        "named wants its own. A picture "
        "that birefcli did not make is left alone and named. Files appear whole or not at all, "
        "also after a kill.",
        "A photo that fails is named on standard error, the others go on, and the exit status "
        "is 1. Ctrl-C and SIGTERM finish what is being written and end the run; a second Ctrl-C "
        "drops it.",
        "With `--json` every photo is an object on a line of its own: input, status (written, "
        "current: up to date, skipped, failed, or pending: not done), outputs (a file for each "
        "product), seconds (load, matte, save), coverage (the share of the photo that the subject "
        "covers, 0 to 1), error, reason and notes. The last line is an object named summary: a "
        "count for each status, seconds, images_per_second, device, precision, model, lost "
        "(devices that failed), interrupted and exit_code.",
    ],
    "birefcli score": [
        "Without options a table of means: the columns of BiRefNet's tables (Smeasure, weighted "
        "F, MAE and others), and on soft mattes the errors of the matting literature (SAD, MSE, "
        "MAD, Grad, Conn). With `--model` the first folder holds photos, which are matted and "
        "scored in one go.",
        "A file that is missing, unreadable or has no truth is an error, unless `--allow-missing`.",
    ],
    "birefcli train": [
        "Each folder holds photos in im/ and masks of the same names in gt/ (white is the "
        "subject; the transparency of a cutout will do), or is laid out as P3M-10k. All of it "
        "is checked first: what is missing, unreadable or of another size is listed, and "
        "nothing is trained.",
        "Before the first epoch and after each, held-out photos are scored. Ctrl-C keeps the "
        "step it was at.",
        "Under torchrun(1) several processes train together, and `--batch` counts the photos of "
        "all.",
    ],
    "birefcli models": [
        "A model is downloaded by itself when it is first named; these commands are for who "
        "wants to have it before, to check it, or to be rid of it.",
    ],
}

PRODUCTS = [
    ("cutout", "The subject with straight alpha, and with its own colour where it is soft."),
    ("mask", "The matte, grey: black is background, white the subject."),
    ("composite", "The subject over `--background`."),
    ("foreground", "The subject's own colour wherever any of it is seen, without transparency."),
    ("trimap", "0 is background, 255 the subject, 128 what is soft or near it."),
]

MODELS_STATUS = (
    "0 when all is well, 4 when a model is missing, damaged or cannot be had; the others are in"
)

VARIABLES = [
    ("HF_HOME, HF_HUB_CACHE", "Where downloaded weights are kept."),
    ("HF_HUB_OFFLINE", "1: never ask the network."),
    ("HF_ENDPOINT, HF_TOKEN", "Another Hub, and who asks."),
    ("OMP_NUM_THREADS", "Threads of the network on a CPU. Default: one a core."),
    ("NO_COLOR", "Any value: no colours."),
    ("BIREFCLI_DEBUG", "1: as --debug."),
]

EXAMPLES = {
    "birefcli": [
        ("Cut out every portrait of a folder:", "birefcli matte photos/ -o cutouts/"),
        ("Without a download:", "birefcli matte photos/ -o cutouts/ --model mini"),
        ("How good are these mattes?",
         "birefcli score predictions/ truths/ --report report.html"),
        ("Fine-tune the small model on photos in im/ with masks in gt/:",
         "birefcli train people/ -o mine.safetensors --from mini"),
    ],
    "birefcli matte": [
        ("Cut out every portrait of a folder:", "birefcli matte photos/ -o cutouts/"),
        ("White background, as shops want it:",
         "birefcli matte photos/ -o shop/ --write composite --format jpg"),
        ("Cutouts and mattes in 16 bits, each in a folder:",
         "birefcli matte photos/ -o out/ --write cutout,mask --bits 16"),
        ("In a pipe:", "birefcli matte - -o - < a.jpg > a.png"),
        ("What another program finds:",
         "find . -name '*.jpg' -print0 |\n    birefcli matte --files-from - -0 -o out/"),
        ("What failed, once more:",
         "birefcli matte photos/ -o out/ --failed-to failed.txt\n"
         "birefcli matte --files-from failed.txt -o out/"),
    ],
    "birefcli bench": [
        ("The small model on generated photos:", "birefcli bench --model mini --megapixels 1"),
        ("The default model on photos of your own, in two sizes of batch:",
         "birefcli bench photos/ --batch 1\nbirefcli bench photos/ --batch 4"),
    ],
    "birefcli doctor": [("All that can be said at once:", "birefcli doctor --no-measure")],
    "birefcli score": [
        ("A table of means:", "birefcli score predictions/ truths/"),
        ("A page with pictures of the best and the worst:",
         "birefcli score predictions/ truths/ --photos photos/ \\\n    --report report.html"),
        ("Matte photos and score that, in one go:",
         "birefcli score photos/ truths/ --model mini --json"),
    ],
    "birefcli sheet": [
        ("Look at all cutouts, the doubtful ones first:",
         "birefcli sheet cutouts/ -o sheet.png"),
    ],
    "birefcli train": [
        ("Fine-tune the small model, and use it:",
         "birefcli train people/ -o mine.safetensors --from mini\n"
         "birefcli matte photos/ -o cutouts/ --model mine.safetensors"),
        ("Four GPUs:",
         "torchrun --nproc-per-node 4 -m birefcli train people/ \\\n"
         "    -o mine.safetensors --from portrait --batch 16"),
    ],
    "birefcli models": [
        ("For a machine that will have no network:", "birefcli models pull portrait"),
        ("Is what is there undamaged?", "birefcli models verify"),
    ],
}  # fmt: skip

CACHE = ("~/.cache/huggingface/hub", "Downloaded weights, shared with other programs.")
DIGESTS = (
    "$XDG_CACHE_HOME/birefcli/digests",
    "SHA-256 of weights files seen before, so that they need not be read twice. It can be deleted.",
)

FILES = {
    "birefcli": [CACHE],
    "birefcli matte": [CACHE, DIGESTS],
    "birefcli train": [
        CACHE,
        ("NAME.train/log.jsonl", "Every step's loss, every epoch's scores."),
        ("NAME.train/", "Checkpoint, pictures of held-out photos with their mattes for each epoch, "
         "and the best epoch's weights. It can be deleted when you are content."),
    ],
    "birefcli models": [CACHE],
}  # fmt: skip
