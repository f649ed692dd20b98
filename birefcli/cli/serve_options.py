"""Options of ``birefcli serve``."""

from enum import StrEnum
from typing import Annotated, TypeAlias

from birefcli.cli import completion
from birefcli.cli.help_page import Daily
from birefcli.cli.local_paths import local_text
from birefcli.cli.shared_options import MODEL, declare
from birefcli.models import zoo

LISTENING, ACCESS, LIMITS, OPERATION = "Listening", "Access", "Limits", "Operation"


class LogFormat(StrEnum):
    """How a request is logged."""

    TEXT = "text"
    JSON = "json"


Models: TypeAlias = Annotated[
    list[str] | None,
    declare(
        Daily(MODEL),
        "--model",
        "-m",
        metavar="LIST",
        help="Models to load, several with commas: names or weights files. The first is that of"
        f" requests that name none. Default: {zoo.DEFAULT}.",
        show_default=False,
        autocompletion=completion.model,
    ),
]
Alias: TypeAlias = Annotated[
    list[str] | None,
    declare(
        Daily(MODEL),
        "--alias",
        metavar="NAME=MODEL",
        help="Another name of a loaded model, for programs that ask for their own; several with"
        " commas.",
    ),
]
Host: TypeAlias = Annotated[
    str, declare(Daily(LISTENING), "--host", metavar="ADDRESS", help="Address to listen on.")
]
Port: TypeAlias = Annotated[
    int,
    declare(
        Daily(LISTENING), "--port", metavar="N", help="Port to listen on; 0: any.", min=0, max=65535
    ),
]
Socket: TypeAlias = Annotated[
    str | None,
    declare(
        Daily(LISTENING),
        "--socket",
        metavar="PATH",
        help="Listen on a unix socket instead.",
        parser=local_text,
    ),
]
Descriptor: TypeAlias = Annotated[
    int | None,
    declare(
        LISTENING, "--fd", metavar="N", help="Listen on a descriptor that was handed over.", min=0
    ),
]
Check: TypeAlias = Annotated[
    bool,
    declare(
        LISTENING, "--check", help="Ask the server that runs there: exit code 0 if it is ready."
    ),
]
KeysFile: TypeAlias = Annotated[
    str | None,
    declare(
        Daily(ACCESS),
        "--keys",
        metavar="FILE",
        help="Keys of those who may ask: NAME KEY or NAME sha256:DIGEST, a line each.",
        parser=local_text,
    ),
]
Open: TypeAlias = Annotated[
    bool, declare(Daily(ACCESS), "--open", help="Listen beyond this machine without keys.")
]
Urls: TypeAlias = Annotated[
    list[str] | None,
    declare(
        Daily(ACCESS),
        "--urls",
        metavar="WHICH",
        help="Photos by URL: public addresses, none, or hosts (HOST[:PORT],"
        " *.example.com), several with commas. Default: public.",
        show_default=False,
    ),
]
Cors: TypeAlias = Annotated[
    list[str] | None,
    declare(
        ACCESS,
        "--cors",
        metavar="ORIGIN",
        help="Let web pages of this origin ask; several with commas.",
    ),
]
MaxBody: TypeAlias = Annotated[
    float, declare(Daily(LIMITS), "--max-body", metavar="MB", help="Refuse larger requests.")
]
MaxMegapixels: TypeAlias = Annotated[
    float, declare(LIMITS, "--max-megapixels", metavar="N", help="Refuse larger photos.")
]
Queue: TypeAlias = Annotated[
    int,
    declare(LIMITS, "--queue", metavar="N", help="Photos accepted and not yet answered.", min=1),
]
Timeout: TypeAlias = Annotated[
    float,
    declare(
        Daily(LIMITS),
        "--timeout",
        metavar="SECONDS",
        help="Give up a photo after so long.",
        min=0.1,
        max=86_400,
    ),
]
Grace: TypeAlias = Annotated[
    float,
    declare(
        LIMITS,
        "--grace",
        metavar="SECONDS",
        help="Time for what is accepted, once the server is to stop.",
        min=0,
        max=86400,
    ),
]
Log: TypeAlias = Annotated[
    LogFormat, declare(OPERATION, "--log", metavar="text|json", help="A line a request on stderr.")
]
Page: TypeAlias = Annotated[
    bool, declare(OPERATION, "--page/--no-page", help="Serve a page to drop photos on, at /.")
]
MetricsPage: TypeAlias = Annotated[
    bool, declare(OPERATION, "--metrics/--no-metrics", help="Serve /metrics for Prometheus.")
]
