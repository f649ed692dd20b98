"""Fixtures of services in threads, of networks that are loaded once.

Test files name them in ``pytest_plugins``: a second conftest.py would hide the first from imports.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import running
from running import KEY, Running, file_of

from birefcli.serve.engines import Engines
from birefcli.serve.keys import Keys


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    loaded = running.load()
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def running_service(engines: Engines) -> Iterator[Running]:
    """A service of mini that anybody may ask; it fetches nothing."""
    service = running.run(engines)
    yield service
    service.close()


@pytest.fixture
def run_service(engines: Engines, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Run another service: ``loaded=False``: it is starting; ``keys=True``: it wants KEY."""
    started: list[Running] = []

    def begin(*, loaded: bool = True, keys: bool = False, **options: Any) -> Running:
        path = tmp_path / "keys.txt"
        path.write_text(f"shop {KEY}\n")
        known = Keys(path) if keys else None
        chosen = replace(running.OPTIONS, **options)
        started.append(running.run(engines if loaded else None, known, chosen))
        return started[-1]

    yield begin
    for service in started:
        service.close()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A small photo's file."""
    return file_of(0)
