"""Options of ``birefcli matte``, and of the commands that do what it does."""

from dataclasses import dataclass

from birefcli.cli import layout_options, shared_options
from birefcli.models import zoo
from birefcli.options import Compress, Edges, Existing, Lock, PatchOrder, Precision, RunOn


@dataclass(frozen=True)
class MatteOptions:
    """The words of a command line, as Typer has read them."""

    inputs: shared_options.Inputs = None
    output: shared_options.Output = ""
    write: shared_options.Write = None
    background: shared_options.Background = "white"
    format_: shared_options.FormatName = None
    bits: shared_options.Bits = 8
    compress: shared_options.Effort = Compress.FAST
    name: shared_options.Name = "{stem}"
    crop: shared_options.Crop = False
    margin: shared_options.Margin = "0"
    refine: shared_options.Refine = True
    strip: shared_options.Strip = False
    metadata: shared_options.KeepMetadata = True
    preset: layout_options.Preset = None
    canvas: layout_options.Canvas = None
    aspect: layout_options.Aspect = None
    fill: layout_options.Fill = None
    head: layout_options.Head = None
    align: layout_options.AlignTo = "centre"
    shadow: layout_options.ShadowHow = "none"
    resize: layout_options.Resize = None
    quality: layout_options.Quality = None
    max_bytes: layout_options.MaxBytes = None
    threshold: layout_options.Threshold = None
    trimap_width: layout_options.TrimapWidth = "1%"
    recursive: shared_options.Recursive = True
    include: shared_options.Include = None
    exclude: shared_options.Exclude = None
    files_from: shared_options.FilesFrom = None
    null: shared_options.Null = False
    shard: shared_options.OneShard = None
    max_megapixels: shared_options.MaxMegapixels = 300.0
    model: shared_options.Model = zoo.DEFAULT
    size: shared_options.Size = None
    patch_order: shared_options.Order = PatchOrder.AUTO
    edges: shared_options.EdgesHow = Edges.AUTO
    offline: shared_options.Offline = False
    max_memory: shared_options.MaxMemory = "auto"
    device: shared_options.Devices = None
    precision: shared_options.Numbers = Precision.AUTO
    batch: shared_options.Batch = "auto"
    compiled: shared_options.Compiled = True
    threads: shared_options.Threads = "auto"
    on: shared_options.On = RunOn.LOCAL
    workers: shared_options.Workers = None
    connections: shared_options.Connections = 64
    photo_timeout: shared_options.PhotoTimeout = "1800"
    existing: shared_options.WhenThere = Existing.UPDATE
    dry_run: shared_options.DryRun = False
    orphans: shared_options.Orphans = False
    lock: shared_options.WhenBusy = Lock.LEAVE
    failed_to: shared_options.FailedTo = None
    max_failures: shared_options.MaxFailures = None
    fail_fast: shared_options.FailFast = False
    fail_if_empty: shared_options.FailIfEmpty = False
    json_lines: shared_options.JsonLines = False
    quiet: shared_options.Quiet = False
    verbose: shared_options.Verbose = False
    progress: shared_options.Progress = True
    debug: shared_options.Debug = False
