"""What the man pages add to ``--help``: values only, read by pages.py. Backquotes mean bold."""

from birefcli.images.files import SYSTEM_FOLDERS

MORE = {
    "birefcli": [
        "A folder of portraits in, mattes and cutouts out. The models are the published BiRefNets, "
        "and `mini`, a small one that is part of the package and needs no download. birefcli "
        "downloads the others at first use, verifies them and keeps them in the Hugging Face "
        "cache; later runs need no network.",
        "`--help` of a command shows what is used daily, `--help-all` every option.",
        "An option that takes several words takes them with commas, or more than once: `--write "
        "cutout,mask` is `--write cutout` `--write mask`. A variable takes them with commas. An "
        "option that takes several paths or patterns is repeated, and its variable is one: no "
        "path and no pattern is taken apart.",
        "Guides lie in share/doc/birefcli, beside share/man: recipes.md (cron, systemd, make, "
        "parallel, Docker), canvas.md (shop and ID pictures), review.md, watch.md, scale.md "
        "(Slurm, Kubernetes, Ray, stores), serve.md (the service, clients, nginx), training.md, "
        "and more; README.md lists them.",
        "`birefcli --install-completion` lets Tab complete options, models and devices in bash, "
        "zsh and fish.",
        "Results go to standard output; progress, notes and failures go to standard error, a "
        "line each. Results that standard output does not take (it is full or closed, or its "
        "reader has gone, which goes without saying) are exit status 5; a message that standard "
        "error does not take changes no exit status. A letter that the terminal's encoding lacks "
        "is printed as \\xe9 or \\u65e5.",
    ],
    "birefcli matte": [
        "PHOTO is a file, a folder, or `-` (one photo from standard input); `--files-from` reads a "
        "list. birefcli never changes a photo. `--output` is a folder; for one photo also a file, "
        "or `-`.",
        "In a folder, birefcli tries the files whose extension is a photo's, and leaves out hidden "
        "files and folders, the output folder, what `--exclude` matches, and what systems put "
        f"there: {', '.join(SYSTEM_FOLDERS)}. A pattern matches a name, or a path below PHOTO; "
        "birefcli does not enter a folder that `--exclude` matches (`raw`, `raw/*`). What PHOTO "
        "names is done, whatever its name. Pictures of other kinds (raw files of cameras, .jxl, "
        ".psd, .svg) are counted in the summary.",
        "A list for `--files-from` is a name a line, or names that end in NUL; a byte order mark "
        "and line ends of Windows do not matter. A line in double quotes that has \\n or \\r is a "
        "name with a line break, as `--failed-to` writes it without `--null`. `~/` at the start of "
        "a path means the home folder "
        "also in variables, lists, and after `=`; a folder called ~ is ./~.",
        "PHOTO and `--output` may be URLs of objects or of prefixes in a store: s3://BUCKET/in/, "
        "gs://, az://; so may `--background`, `--model` and `--files-from`. The package for it "
        "comes with an extra: pip install 'birefcli[cloud]'. Keys and endpoints are found where "
        "the stores' own tools look (AWS_PROFILE, AWS_ENDPOINT_URL, "
        "GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, and others). A prefix is "
        "searched as a folder is. What fails for a moment is tried again for up to a minute; a "
        "store that refuses stops the run before any work, with its own word.",
        "Several products get a folder each in the output folder. Two photos with the same output "
        "name stop the run before any work; `--name '{name}'` keeps both.",
        "`--canvas` or `--aspect` lay results out: with `--fill` by the subject's box, without it "
        "the whole photo or its `--crop`; beyond the photo's edge is background. `--preset` names "
        "a set of such options (birefcli-presets(1)); those that are typed win. `--max-bytes` "
        "searches the quality of jpg, webp or avif, and notes what it took. Each result holds the "
        "flags and notes of its run: the same command with `--verbose` or `--json` names them "
        "later too, and birefcli-sheet(1) shows them.",
        "A second run makes only files that are missing, damaged, or from another version of a "
        "photo, another model or other options (`--existing`, `--dry-run`). `--precision auto` "
        "accepts files made in fp16 or fp32; a named precision accepts only its own. birefcli "
        "keeps and reports a picture that it did not make, and a result that was edited since. "
        "Where a result is of another kind than the one to be written (a cutout, and now a mask), "
        "the run ends with status 5 before any work. `--existing overwrite` replaces all of them. "
        "Writes are atomic, even when the process is killed.",
        "birefcli reports a failed photo on standard error, does the others, and exits with "
        "status 1. On Ctrl-C and SIGTERM it finishes the files it is writing and ends; a second "
        "Ctrl-C drops them.",
        "A device on which no photo gets any further for `--photo-timeout` seconds (half an hour; "
        "none waits for ever) counts as lost: with several devices the others do its photos; a run "
        "on one device fails the photos that hang by name and ends with status 4. To load its "
        "model a device has at least 30 seconds.",
        "`--orphans` prints the products in the output folder, or below its prefix, whose photo is "
        "no longer in the folders named, a line each or with `--null` ended by a zero byte, and "
        "does nothing else. They are told by their stamp, retouched ones too where the editor kept "
        "it; pictures without one are counted. A product is not "
        "listed where a file in these folders has the size and time of its photo, nor where any "
        "photo could have given it by its name, of any kind and format. Name all folders whose "
        "products are there. Options that leave photos out are refused, as are those of a run, and "
        "nothing is listed where a folder cannot be read or holds no photo.",
        "Of a batch that will take more than ten minutes on a CPU birefcli says so once, when its "
        "first photo is done, and names models that are quicker there, by how much as measured. "
        "The rate and the time left are those of the photos that the run does, without loading. "
        "The bar ends with the stage that the run waits for most, and its share of the time: "
        "`save 63%` says that more threads or a quicker disk would help, `matte 84%` a quicker "
        "device or model.",
        "`--json` prints an object per photo, a line each: input, status (written, current: up to "
        "date, skipped, failed, or pending: not done), outputs (a file for each product), seconds "
        "(load, matte, save), coverage (the subject's share of the photo, 0 to 1), flags and "
        "doubt (why its matte asks for a look, see birefcli-sheet(1)), error, reason "
        "and notes. The last line is an object named summary: a count for each status, seconds, "
        "loading_seconds, images_per_second (loading not counted), device, precision, model, lost "
        "(devices that failed), left_out "
        "(how many pictures of other kinds, by extension), flagged, noted and lowered (how many "
        "photos, written or up to date, have flags, notes, and a quality lowered for "
        "`--max-bytes`), replaced (how many products edited since they were made, and foreign "
        "files, `--existing overwrite` has replaced, or a dry run would), shard, interrupted and "
        "exit_code.",
    ],
    "birefcli watch": [
        "FOLDER is searched as birefcli-matte(1) searches it, again and again, and what is new or "
        "has changed is done, with the same options and the same results. Its state is the "
        "products: started again, it does what is missing or out of date. FOLDER may also be a "
        "prefix of an object store (s3://shop/in/), which each look lists.",
        "It looks every `--every` seconds. Where the package watchfiles is installed (pip install "
        "'birefcli[watch]') file events wake it earlier; on network file systems, where there "
        "are none, it says at the start that it only looks.",
        "It tries a photo when its size and times have not changed for `--settle` seconds, by its "
        "own clock. A photo that cannot be read is tried again after 2, 4, 8 seconds and so on, "
        "and fails when it has not changed for a minute. A photo that failed is tried again when "
        "it changes. A photo that goes keeps its product.",
        "What was edited since it was made stays. A photo fails in whose place a result of another "
        "kind lies. Of two photos with the same output name the second fails, and is done when "
        "the first goes; `--name '{name}'` keeps both.",
        "On a full disk it says so once and tries again every 30 seconds. It waits for folders "
        "that go, or whose disk is unmounted; it does not make an output folder again. After "
        "`--idle` seconds without work it frees the model's memory; the next photo loads it again.",
        "It holds the output folder while it runs: others exit with status 75. Each photo that is "
        "done has a line on standard error; `--json` prints an object for each as it ends, and a "
        "summary at the end, as birefcli-matte(1) has them. seconds are those with work.",
        "Ctrl-C and SIGTERM end it as they end birefcli-matte(1), with status 130 and 143. It ends "
        "by itself with status 4 when the model or the device is lost. It tells systemd "
        "(sd_notify) when it watches.",
    ],
    "birefcli score": [
        "The default is a table of means: the columns of BiRefNet's tables (Smeasure, weighted "
        "F, MAE and others), and on soft mattes the errors of the matting literature (SAD, MSE, "
        "MAD, Grad, Conn) and the mean IoU. `--model` mattes the photos of the first folder and "
        "scores the results.",
        "Files belong together by equal names, or by an ending: a_mask.png is the truth of a.png "
        "(also -mask, _matte, _alpha, _gt), in a folder of its own or beside the photo.",
        "A file that is missing, unreadable or has no truth is an error, unless `--allow-missing`.",
        "In `--csv`, a name that begins with =, +, -, @, a tab or a line break gets a ' before it, "
        "as a spreadsheet would take it for a formula; control characters, and bytes that are no "
        "UTF-8, are written like \\n and \\xff. `--json` has names as they are.",
    ],
    "birefcli train": [
        "Each folder holds photos in im/ and masks of the same names in gt/ (white is the "
        "subject; the transparency of cutouts works too), has P3M-10k's layout, or holds photos "
        "with masks beside them (a.jpg, a_mask.png; also -mask, _matte, _alpha, _gt). birefcli "
        "checks all of it first: it lists files that are missing, unreadable, of another size or "
        "no masks, and then does not train.",
        "With `--backgrounds` subjects are also put before your pictures without people. "
        "`--shares 3,1` shows the first folder three times as often as the second.",
        "birefcli scores held-out photos before the first epoch and after each, at the size that "
        "it trains: what it starts from may be better at its own. Ctrl-C saves the current step.",
        "Under torchrun(1) several processes train together; `--batch` is their total.",
    ],
    "birefcli serve": [
        "Its packages come with an extra: pip install 'birefcli[serve]'.",
        "It speaks three dialects. Its own: POST /v1/matte takes a photo as the body, in a form "
        "or in JSON, with the options of birefcli-matte(1) as fields, and answers with the "
        "picture. OpenAI's: POST /v1/images/edits, /v1/images/generations and "
        "/v1/chat/completions, GET /v1/models. rembg's: GET and POST /api/remove. GET / is a "
        "page to drop photos on, GET /openapi.json tells all of it to programs. Pixels are "
        "those of birefcli-matte(1).",
        "It listens at once, and answers 503 until its models are loaded; then GET /readyz is "
        "200, and systemd is told (sd_notify). GET /healthz is 200 while the process answers, "
        "GET /metrics is for Prometheus. `--check` asks the server of the same options, and "
        "exits with 0 if it is ready, else with 1.",
        "On SIGTERM and Ctrl-C it takes no more photos, answers those it has accepted within "
        "`--grace`, and exits with 0; a second Ctrl-C ends it at once. SIGHUP reads the keys "
        "again. A device that does not answer any more ends it with status 4, so that a "
        "supervisor can start it again.",
        "Nobody waits for a place: photos beyond `--queue` or `--max-memory` are answered with "
        "429 and the seconds after which there may be room. Bodies of requests may take as much "
        "memory as photos once more. Photos stay in memory, never on a disk.",
        "The file of `--keys` has a line for each who may ask: a name and a key, or a name and "
        "sha256: with the key's digest; lines that begin with # are comments. Clients send "
        "Authorization: Bearer KEY, or X-Api-Key: KEY. No key is asked for at /healthz, "
        "/readyz, /openapi.json and the page.",
        "Photos by URL come from public addresses only, also through redirects; `--urls` names "
        "the hosts that may be inside, or none.",
        "`--log` text or json: a line a request on standard error, with its id, the key's name, "
        "status, seconds of each stage and sizes; no pictures, no keys, no URLs.",
        "TLS, limits for each client and patience with slow clients are left to a proxy in "
        "front of it.",
    ],
    "birefcli export": [
        "MODEL is what `--model` takes elsewhere: a name, a weights file, its URL, or a folder "
        "with one. The packages for it come with an extra: pip install 'birefcli[export]'.",
        "The file takes input_image, float32 Nx3xHxW (RGB of 0 to 1, minus ImageNet's mean, "
        "divided by its standard deviation), for any N, and gives alpha, Nx1xHxW; with `--logits` "
        "output_image. Input size, mean, standard deviation, the model's name and the SHA-256 of "
        "its weights are in its metadata. It needs a runtime with DeformConv (ONNX opset 19), like "
        "ONNX Runtime 1.25.",
        "A file that differs from torch by more than 0.001 of alpha is not kept (exit status 4). "
        "`birefcli bench --against FILE.onnx` compares its speed with birefcli's.",
    ],
    "birefcli presets": [
        "A preset is a set of options of birefcli-matte(1). Those of marketplaces and of ID photos "
        "have the page that their figures are from, and the day it was read: requirements change. "
        "A head is found by the matte's outline, without a face detector: look at each picture.",
    ],
    "birefcli models": [
        "birefcli downloads a model at first use; these commands download it earlier, check it or "
        "delete it. In the cache they delete what the Hub downloaded, and of files that are linked "
        "into it the link alone.",
    ],
}

PRODUCTS = [
    ("cutout", "The subject with straight alpha, and its own colour at soft edges."),
    ("mask", "The matte, grey: black is background, white the subject."),
    ("composite", "The subject over `--background`."),
    ("foreground", "The subject's own colour wherever it is visible, without transparency."),
    ("trimap", "0 is background, 255 the subject, 128 soft alpha and pixels near it."),
]

MODELS_STATUS = (
    "0 on success, 4 when a model is missing, damaged or unavailable; the other codes are in"
)

VARIABLES = [
    ("HF_HOME, HF_HUB_CACHE", "Folders of downloaded weights."),
    ("HF_HUB_OFFLINE", "1: do not use the network."),
    (
        "HF_ENDPOINT, HF_TOKEN",
        "Another Hub, and the user's token. No message shows passwords or tokens.",
    ),
    (
        "OMP_NUM_THREADS",
        "Threads of the network on a CPU: `OMP_NUM_THREADS=4 birefcli matte` ... Default: one per "
        "core it may use. Training has `--threads` for it.",
    ),
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
        ("Keep the model loaded, and take photos over HTTP:", "birefcli serve"),
    ],
    "birefcli matte": [
        ("Cut out every portrait of a folder:", "birefcli matte photos/ -o cutouts/"),
        ("White background, as shops want it:",
         "birefcli matte photos/ -o shop/ --preset square --format jpg"),
        ("On a canvas of a size, in files of no more than 200 kB:",
         "birefcli matte photos/ -o shop/ --write composite \\\n"
         "    --canvas 1200x1200 --fill 85% --format jpg --max-bytes 200k"),
        ("Masks of two levels at half size, to train on:",
         "birefcli matte people/im -o people/gt --write mask \\\n    --resize 50% --threshold 0.5"),
        ("Cutouts and mattes in 16 bits, each in a folder:",
         "birefcli matte photos/ -o out/ --write cutout,mask --bits 16"),
        ("In a pipe:", "birefcli matte - -o - < a.jpg > a.png"),
        ("Photos that another program finds:",
         "find . -name '*.jpg' -print0 |\n    birefcli matte --files-from - -0 -o out/"),
        ("Retry failed photos:",
         "birefcli matte photos/ -o out/ --failed-to failed.txt\n"
         "birefcli matte --files-from failed.txt -o out/"),
    ],
    "birefcli watch": [
        ("Cut out photos as they come:", "birefcli watch photos/ -o cutouts/"),
        ("From a network share, every minute, and leave the GPU to others at once:",
         "birefcli watch /mnt/share/in -o cutouts/ --every 60 --idle 1"),
        ("A line of JSON for each photo, for another program:",
         "birefcli watch photos/ -o cutouts/ --json --quiet"),
    ],
    "birefcli bench": [
        ("The small model on generated photos:", "birefcli bench --model mini --megapixels 1"),
        ("The default model on your own photos, at two batch sizes:",
         "birefcli bench photos/ --batch 1\nbirefcli bench photos/ --batch 4"),
        ("What 1,000 photos cost on a machine of 0.80 USD an hour:",
         "birefcli bench photos/ --price 0.80"),
    ],
    "birefcli doctor": [("A report without measurements:", "birefcli doctor --no-measure")],
    "birefcli score": [
        ("A table of means:", "birefcli score predictions/ truths/"),
        ("A page with pictures of the best and the worst:",
         "birefcli score predictions/ truths/ --photos photos/ \\\n    --report report.html"),
        ("Matte photos and score the mattes:",
         "birefcli score photos/ truths/ --model mini --json"),
        ("Score a model on the photos that its training held out:",
         "birefcli score people/ people/ --model mine.safetensors --hold-out 10"),
    ],
    "birefcli serve": [
        ("Without a download, on this machine alone:",
         "birefcli serve --model mini\n"
         "curl --data-binary @a.jpg localhost:8000/v1/matte > a.png"),
        ("Two models for a network, with keys:",
         "birefcli serve --model portrait,mini --host 0.0.0.0 --keys keys.txt"),
        ("For a program that asks for a model of its own:",
         "birefcli serve --alias gpt-image-1=portrait"),
        ("Behind a proxy, through a unix socket:", "birefcli serve --socket /run/birefcli.sock"),
        ("In a health check:", "birefcli serve --check"),
    ],
    "birefcli sheet": [
        ("Look at all cutouts beside their photos, the doubtful ones first, and mark the bad ones:",
         "birefcli sheet cutouts/ -o sheet.html --pairs photos/"),
        ("Make those again whose names were copied from the page, and look again:",
         "birefcli matte --files-from bad.txt -o cutouts/ --existing overwrite\n"
         "birefcli sheet cutouts/ -o sheet.html --pairs photos/"),
        ("One picture to send around:",
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
    "birefcli export": [
        ("A small network for another program:", "birefcli export lite -o lite.onnx"),
        ("Your own training, for photos of another shape:",
         "birefcli export mine.safetensors -o mine.onnx --size 512x768"),
        ("Is it quicker here than birefcli?",
         "birefcli export mini -o mini.onnx\n"
         "birefcli bench --model mini --against mini.onnx"),
    ],
    "birefcli presets": [
        ("For a script:", "birefcli presets --json"),
    ],
    "birefcli models": [
        ("Prepare for use without a network:", "birefcli models pull portrait"),
        ("Check the downloaded models:", "birefcli models verify"),
    ],
}  # fmt: skip

CACHE = ("~/.cache/huggingface/hub", "Downloaded weights, shared with other programs.")
DIGESTS = (
    "$XDG_CACHE_HOME/birefcli/digests",
    "SHA-256 of weights files, so that birefcli reads each only once. You can delete it.",
)

FILES = {
    "birefcli": [CACHE],
    "birefcli matte": [CACHE, DIGESTS],
    "birefcli watch": [CACHE, DIGESTS],
    "birefcli serve": [CACHE, DIGESTS],
    "birefcli train": [
        CACHE,
        ("NAME.train/log.jsonl", "Every step's loss, every epoch's scores."),
        ("NAME.train/", "Checkpoint, pictures of held-out photos with their mattes for each epoch, "
         "the best epoch's weights, which are the result, and the last epoch's. You can delete it "
         "after training."),
    ],
    "birefcli export": [CACHE, DIGESTS],
    "birefcli models": [CACHE],
}  # fmt: skip
