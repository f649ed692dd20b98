"""What connections are worth: photos from and to a store that answers late.

    python tests/benchmarks/stores.py [--photos 200] [--delay 0.1]

A server of S3 on this machine, behind a proxy that keeps every request waiting, as one on another
continent would; ``mini`` on the CPU. The runs take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import stores
from conftest import picture
from support import saved

CONNECTIONS = (1, 8, 64)
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.1)
    options = parser.parse_args()
    with stores.moto_server() as port, stores.new_bucket("s3", port) as bucket:
        photo = saved(picture(600, 400), "JPEG")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: bucket.put(f"in/{i:05}.jpg", photo), range(options.photos)))
        bucket.proxy.before = lambda _: time.sleep(options.delay)
        took: dict[int, list[float]] = {number: [] for number in CONNECTIONS}
        for _ in range(ROUNDS):
            for number in CONNECTIONS:
                took[number].append(seconds(bucket, number))
    for number, times in took.items():
        rate = options.photos / statistics.median(times)
        print(f"--connections {number}: {rate:.1f} photos/s, each request {options.delay:g} s late")


def seconds(bucket: stores.Bucket, connections: int) -> float:
    """Of the run itself, without its start."""
    words = ["matte", f"{bucket.url}/in/", "-o", f"{bucket.url}/out/", "--existing", "overwrite"]
    more = ["--model", "mini", "--device", "cpu", "--json", "--connections", str(connections)]
    result = subprocess.run(
        [sys.executable, "-m", "birefcli", *words, *more],
        env={**os.environ, **bucket.variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return float(json.loads(result.stdout.splitlines()[-1])["summary"]["seconds"])


if __name__ == "__main__":
    main()
