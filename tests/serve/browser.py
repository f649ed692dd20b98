"""A Chromium without a window, driven over its DevTools protocol through a pipe.

https://chromedevtools.github.io/devtools-protocol/, with ``--remote-debugging-pipe``: commands on
descriptor 3, answers and events on 4, JSON that ends with a zero byte. Nothing but the standard
library is needed.
"""

import base64
import json
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT = 300.0  # seconds: a machine may be busy
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe"),
)
KEYS = {  # virtual key codes, and what the key types
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    " ": (32, " "),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    "Delete": (46, ""),
}


def chromium() -> str | None:
    """Where a Chromium is; None where there is none, or no shell to hand it pipes."""
    if shutil.which("sh") is None or sys.platform == "win32":
        return None
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab. ``events`` holds what it told, as (method, params), the oldest first."""

    def __init__(self, program: str, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._count, self._held = 0, b""
        self._session: str | None = None
        self._answers: dict[int, dict[str, Any]] = {}
        # Its descriptors 3 and 4 are our pipes; what it prints goes nowhere.
        script = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
        words = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        self._process = subprocess.Popen(
            ["sh", "-c", script, "sh", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._open_tab()

    def _open_tab(self) -> None:
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=str(self.downloads),
            eventsEnabled=True,
        )

    def close(self) -> None:
        """End the browser, which takes its other processes along."""
        self._session = None
        try:
            self.send("Browser.close")
            self._process.wait(10)
        except (OSError, EOFError, subprocess.TimeoutExpired):
            self._process.kill()
        self._process.communicate()

    # ------------------------------------------------------------- the protocol

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._count += 1
        number = self._count
        message = {"id": number, "method": method, "params": params}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        assert self._process.stdin is not None
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[self._process.stdin.write(data) :]
        self._hear(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _hear(self, enough: Callable[[], object], what: str) -> None:
        end = time.monotonic() + TIMEOUT
        while not enough():
            assert time.monotonic() < end, f"{what} did not happen"
            self._read(1.0)

    def _read(self, seconds: float) -> None:
        """Take what the browser says within some seconds, if anything."""
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds)[0]:
            return
        data = out.read(1 << 20)
        if not data:
            raise EOFError("the browser has ended")
        *messages, self._held = (self._held + data).split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append((message["method"], message["params"]))

    # ------------------------------------------------------------- what a person does

    def open(self, address: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.events.clear()
        went = self.send("Page.navigate", url=address)
        assert "errorText" not in went, (address, went)
        self._hear(lambda: any(name == "Page.loadEventFired" for name, _ in self.events), address)

    def do(self, script: str) -> Any:
        """What an expression of JavaScript gives, awaited if it is a promise."""
        answer = self.send(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Wait until an expression of JavaScript is true; its value."""
        end = time.monotonic() + TIMEOUT
        while not (value := self.do(condition)):
            assert time.monotonic() < end, (
                f"{condition} is never true: {self.do('document.body.innerText')}"
            )
            self._read(0.05)
        return value

    def event(self, method: str) -> dict[str, Any]:
        """What an event tells, of those since a page was opened; waits for it."""
        found: list[dict[str, Any]] = []

        def told() -> bool:
            found[:] = [params for name, params in self.events if name == method]
            return bool(found)

        self._hear(told, method)
        return found[-1]

    def press(self, key: str, times: int = 1, **more: Any) -> None:
        """Press a key and let it go."""
        code, text = KEYS[key]
        both = {"key": key, "code": key, "windowsVirtualKeyCode": code, **more}
        for _ in range(times):
            down = "keyDown" if text else "rawKeyDown"
            self.send("Input.dispatchKeyEvent", type=down, text=text, **both)
            self.send("Input.dispatchKeyEvent", type="keyUp", **both)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def drop(self, *files: Path, x: int = 300, y: int = 300) -> None:
        """Drag files over the page and let go of them."""
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for step in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=step, x=x, y=y, data=data)

    def swipe(self, start: tuple[int, int], end: tuple[int, int], steps: int = 4) -> None:
        """Draw a finger over the page."""

        def touch(kind: str, *points: dict[str, float]) -> None:
            self.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

        for step in range(steps + 1):
            share = step / steps
            x, y = (a + (b - a) * share for a, b in zip(start, end, strict=True))
            touch("touchMove" if step else "touchStart", {"x": x, "y": y})
        touch("touchEnd")

    def paste(self, file: Path) -> None:
        """Paste a picture, as if it had been copied elsewhere."""
        coded = base64.b64encode(file.read_bytes()).decode()
        self.do(f"""{{
            const bytes = Uint8Array.from(atob("{coded}"), (c) => c.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], "{file.name}"));
            const event = {{ clipboardData, bubbles: true, cancelable: true }};
            document.body.dispatchEvent(new ClipboardEvent("paste", event));
        }}""")

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files, as the system's dialog would."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def downloaded(self, start: Callable[[], object]) -> Path:
        """The file that something downloads, once it is whole."""
        before = len(self.events)

        def states() -> list[str]:
            told = self.events[before:]
            return [p["state"] for name, p in told if name == "Browser.downloadProgress"]

        start()
        self._hear(lambda: {"completed", "canceled"} & set(states()), "a download")
        assert "completed" in states()
        begun = [p for name, p in self.events[before:] if name == "Browser.downloadWillBegin"]
        return self.downloads / begun[-1]["suggestedFilename"]

    # ------------------------------------------------------------- what it looks like

    def look(self, width: int, height: int, *, scale: float = 1, dark: bool = False,
             phone: bool = False, calm: bool = True) -> None:  # fmt: skip
        """The size of the window and what its owner prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if calm else "no-preference",
        }
        listed = [{"name": name, "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=listed)

    def picture(self, target: Path, *, whole: bool = False) -> None:
        """A screenshot as a PNG, of what lies below the window too if ``whole``."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        target.write_bytes(base64.b64decode(shot["data"]))
