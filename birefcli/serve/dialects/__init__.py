"""Ways to ask and to be answered: each turns requests into orders, results and errors into answers.

None of them knows of torch.
"""

from starlette.responses import Response

from birefcli.serve.dialects import own, rembg
from birefcli.serve.errors import RequestError

REMBG = "/api/"
OPENAI = ("/v1/images/", "/v1/chat/", "/v1/models")


def name_of(path: str) -> str:
    """Which dialect an endpoint speaks: ``own``, ``openai``, ``rembg``, or ``none``."""
    if path.startswith(REMBG):
        return "rembg"
    if path.startswith(OPENAI):
        return "openai"
    return "own" if path == "/v1/matte" else "none"


def error_of(path: str, error: RequestError) -> Response:
    """An error as whoever asks there reads it."""
    return rembg.error(error) if path.startswith(REMBG) else own.error(error)
