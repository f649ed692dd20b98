"""What Prometheus reads of the service."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from birefcli import __version__
from birefcli.serve.errors import Code
from birefcli.serve.orders import Timings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MEGAPIXELS = (0.5, 1, 2, 4, 8, 12, 24, 50, 100)
PHOTOS = (1, 2, 4, 8, 16)


class Metrics:
    """All counters of one service."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "birefcli_requests",
            "Requests answered.",
            ["dialect", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "birefcli_request_seconds",
            "From a request's head to its answer's end.",
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "birefcli_stage_seconds",
            "Of a photo's stages.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_photos = Histogram(
            "birefcli_batch_photos",
            "Photos the network saw at once.",
            buckets=PHOTOS,
            registry=registry,
        )
        self.megapixels = Histogram(
            "birefcli_photo_megapixels", "Of photos.", buckets=MEGAPIXELS, registry=registry
        )
        self.refused = Counter(
            "birefcli_refused",
            "Requests turned away, by the code of their error.",
            ["reason"],
            registry=registry,
        )
        for code in Code:  # from nothing to one is a rise only where there was a zero
            self.refused.labels(code.word)
        self.cancelled = Counter(
            "birefcli_cancelled", "Requests whose client left.", registry=registry
        )
        self._queue = Gauge(
            "birefcli_queue_photos", "Photos accepted and not yet answered.", registry=registry
        )
        self._inflight = Gauge(
            "birefcli_inflight_bytes",
            "Memory of photos in flight, by estimate.",
            registry=registry,
        )
        self._build = Gauge(
            "birefcli_build_info",
            "Version, models and device.",
            ["version", "models", "device"],
            registry=registry,
        )

    def watch(self, photos: Callable[[], int], used: Callable[[], int]) -> None:
        """Ask for these numbers whenever somebody reads the metrics."""
        self._queue.set_function(photos)
        self._inflight.set_function(used)

    def loaded(self, models: str, device: str) -> None:
        """Say what runs here."""
        self._build.labels(__version__, models, device).set(1)

    def photo_done(self, megapixels: float, timings: Timings) -> None:
        """Count a photo."""
        self.megapixels.observe(megapixels)
        for stage, seconds in vars(timings).items():
            self.stage_seconds.labels(stage).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)
