"""What people type who know other tools, and what birefcli calls it: data, read by ``suggest``."""

_RESUMES = "the same command goes on where it stopped"
_WALKS = "folders are walked without an option"
_NAMED = "name what it reads without an option"
_MATTED = "edges are matted where it helps, without an option"
_GPU = "the GPU is taken where there is one, without an option"
_TORCHRUN = "torchrun -m birefcli train trains on several GPUs"
_ONE_ALONE = "it uses one device, as by --device cuda:1"
_ONE_DEVICE = "one server drives one device: start one for each, behind a proxy"
_MATTE_ONCE = "birefcli matte does the photos that are there, and ends"
_MATTE_DRY = "birefcli matte, with the same option, shows what there is to do"

_PHOTOS = ("matte", "watch")
_COMPUTE = (*_PHOTOS, "serve", "bench", "doctor", "score", "train")

_CORES = {
    name: f"OMP_NUM_THREADS=4 birefcli {name} sets the network's cores, --threads those that decode"
    " and encode"
    for name in (*_PHOTOS, "serve", "bench")
}
_JOBS = ("jobs", "j", "parallel", "concurrency", "cores", "cpus")
_PROCESSES = ("workers", "processes", "num-workers")
_SEVERAL_PROCESSES = {"serve": _ONE_DEVICE}
_WORKERS = {**_CORES, **_SEVERAL_PROCESSES}
_SEVERAL_GPUS = {
    "train": _TORCHRUN,
    **_SEVERAL_PROCESSES,
    **dict.fromkeys(("bench", "doctor", "score"), _ONE_ALONE),
}
_GPUS = ("gpus", "all-gpus", "devices", "multi-gpu")

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bg", "bgcolor", "bg-color", "bg-colour", "bg-image"), ("--background",)),
    **dict.fromkeys(
        ("background-color", "background-colour", "color", "colour"), ("--background",)
    ),
    **dict.fromkeys(("out", "outdir", "out-dir", "output-dir", "output-folder"), ("--output",)),
    **dict.fromkeys(("dest", "destination", "save-to", "target"), ("--output",)),
    **dict.fromkeys(("fit", "fill-canvas", "square"), ("--canvas and --fill",)),
    **dict.fromkeys(("width", "height", "scale"), ("--resize or --canvas", "--size")),
    **dict.fromkeys(("center", "centre", "gravity", "position"), ("--align",)),
    **dict.fromkeys(("padding", "pad", "border"), ("--margin",)),
    **dict.fromkeys(("trim", "autocrop", "auto-crop"), ("--crop",)),
    "dpi": ("--canvas",),
    "drop-shadow": ("--shadow soft",),
    **dict.fromkeys(("alpha", "mask", "only-mask", "matte"), ("--write mask",)),
    **dict.fromkeys(("cutout", "rgba", "transparent"), ("--write cutout",)),
    **dict.fromkeys(("composite", "flatten", "opaque"), ("--write composite",)),
    "foreground": ("--write foreground",),
    "white": ("--write composite --background white",),
    "black": ("--write composite --background black",),
    "trimap": ("--write trimap",),
    **dict.fromkeys(("type", "product", "products"), ("--write",)),
    **dict.fromkeys(("jpg", "jpeg"), ("--format jpg",)),
    "png": ("--format png",),
    "webp": ("--format webp",),
    "avif": ("--format avif",),
    **dict.fromkeys(("tif", "tiff"), ("--format tiff",)),
    **dict.fromkeys(("ext", "extension", "output-format"), ("--format",)),
    **dict.fromkeys(("binary", "binarize", "binarise", "cutoff"), ("--threshold",)),
    **dict.fromkeys(("max-size", "max-filesize", "filesize"), ("--max-bytes",)),
    **dict.fromkeys(("strip-metadata", "strip-exif", "strip-all"), ("--no-metadata",)),
    **dict.fromkeys(("remove-metadata", "no-exif", "no-xmp", "no-iptc"), ("--no-metadata",)),
    **dict.fromkeys(("strip-gps", "strip-location", "no-gps", "no-location"), ("--strip",)),
    **dict.fromkeys(("no-foreground-estimation", "keep-colours", "keep-colors"), ("--no-refine",)),
    **dict.fromkeys(("list", "from-file", "file-list", "input-list"), ("--files-from",)),
    **dict.fromkeys(("glob", "pattern", "filter", "only"), ("--include",)),
    **dict.fromkeys(("ignore", "skip"), ("--exclude",)),
    "flat": ("--no-recursive",),
    **dict.fromkeys(("weights", "ckpt", "checkpoint", "net", "network"), ("--model", "--from")),
    **dict.fromkeys(("pretrained", "finetune", "fine-tune", "model", "init"), ("--from",)),
    **dict.fromkeys(("resolution", "input-size", "image-size", "imgsz"), ("--size",)),
    **dict.fromkeys((*_JOBS, *_PROCESSES), ("--threads",)),
    **dict.fromkeys(("cuda", "nvidia"), ("--device cuda",)),
    **dict.fromkeys(_GPUS, ("--device all",)),
    **dict.fromkeys(("cpu", "no-gpu", "no-cuda"), ("--device cpu",)),
    **dict.fromkeys(("mps", "metal"), ("--device mps",)),
    **dict.fromkeys(("fp16", "half", "float16"), ("--precision fp16",)),
    **dict.fromkeys(("bf16", "bfloat16"), ("--precision bf16",)),
    **dict.fromkeys(("fp32", "full", "float32"), ("--precision fp32",)),
    **dict.fromkeys(("dtype", "amp", "mixed-precision"), ("--precision",)),
    **dict.fromkeys(("batch-size", "batchsize", "bs"), ("--batch",)),
    **dict.fromkeys(("force", "overwrite", "replace"), ("--existing overwrite", "--restart")),
    "f": ("--existing overwrite", "--restart"),
    **dict.fromkeys(("skip-existing", "no-clobber", "no-overwrite"), ("--existing skip",)),
    **dict.fromkeys(("dry", "simulate", "preview", "just-print"), ("--dry-run",)),
    **dict.fromkeys(("silent", "no-output"), ("--quiet",)),
    **dict.fromkeys(("jsonl", "ndjson"), ("--json",)),
    **dict.fromkeys(("no-bar", "no-progress-bar"), ("--no-progress",)),
    **dict.fromkeys(("stop-on-error", "exit-on-error"), ("--fail-fast",)),
    **dict.fromkeys(("interval", "poll", "polling"), ("--every",)),
    **dict.fromkeys(("bind", "listen", "address", "ip"), ("--host",)),
    **dict.fromkeys(("api-key", "api-keys", "token", "auth"), ("--keys",)),
    **dict.fromkeys(("learning-rate", "rate"), ("--lr",)),
    **dict.fromkeys(("val", "valid", "validation", "test"), ("--validate", "--hold-out")),
    **dict.fromkeys(("fresh", "from-scratch", "reset"), ("--restart",)),
    **dict.fromkeys(("html", "page"), ("--report",)),
    **dict.fromkeys(("v", "version"), ("--version",)),
    **dict.fromkeys(("rounds", "runs", "iterations"), ("--repeat",)),
}
"""Options of other tools without their dashes: what is meant; the first that a command has."""

COMMAND_OPTIONS = {
    **dict.fromkeys(("watch", "every", "interval", "poll", "polling"), "watch"),
    "serve": "serve",
    **dict.fromkeys(("train", "train-on"), "train"),
}
"""Options of other tools that are commands here."""

EXPLAINED: dict[str, dict[str, str]] = {
    "orphans": {"watch": "birefcli matte --orphans lists them"},
    **dict.fromkeys(("resume", "continue"), dict.fromkeys((*_PHOTOS, "train"), _RESUMES)),
    **dict.fromkeys(
        ("recursive", "r"), dict.fromkeys((*_PHOTOS, "sheet", "score", "bench"), _WALKS)
    ),
    **dict.fromkeys(
        ("input", "i", "photos", "images"),
        dict.fromkeys((*_PHOTOS, "bench", "sheet", "train"), _NAMED),
    ),
    **dict.fromkeys(("alpha-matting", "a"), dict.fromkeys((*_PHOTOS, "serve"), _MATTED)),
    "gpu": dict.fromkeys(_COMPUTE, _GPU),
    **dict.fromkeys(_GPUS, _SEVERAL_GPUS),
    **dict.fromkeys(_JOBS, _CORES),
    **dict.fromkeys(_PROCESSES, _WORKERS),
    "once": {"watch": _MATTE_ONCE},
    "dry-run": {"watch": _MATTE_DRY},
}
"""Options that need another way, or none: by command, what to know."""

COMMANDS = {
    **dict.fromkeys(("remove", "rembg", "removebg", "remove-bg", "remove-background"), "matte"),
    **dict.fromkeys(("run", "cut", "cutout", "mask", "segment", "infer", "predict"), "matte"),
    **dict.fromkeys(("process", "convert", "batch", "inference", "i", "p"), "matte"),
    **dict.fromkeys(("server", "http", "api", "web", "s"), "serve"),
    **dict.fromkeys(("monitor", "folder"), "watch"),
    **dict.fromkeys(("evaluate", "eval", "metrics", "compare", "test"), "score"),
    **dict.fromkeys(("benchmark", "speed", "profile"), "bench"),
    **dict.fromkeys(("info", "env", "check", "diagnose", "status"), "doctor"),
    **dict.fromkeys(("finetune", "fine-tune", "fit"), "train"),
    **dict.fromkeys(("review", "contact-sheet", "gallery"), "sheet"),
    **dict.fromkeys(("download", "pull", "fetch", "install"), "models pull"),
    **dict.fromkeys(("list", "ls"), "models list"),
    **dict.fromkeys(("rm", "delete", "uninstall"), "models remove"),
    **dict.fromkeys(("verify",), "models verify"),
    **dict.fromkeys(("version",), "--version"),
    **dict.fromkeys(("completion", "completions"), "--install-completion"),
    **dict.fromkeys(("help",), "--help"),
}
"""Words in the place of a command, and what is meant."""
