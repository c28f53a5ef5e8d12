"""Headless Chromium, told what to do through its DevTools protocol over two pipes: no port, no further package."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
SECONDS = 60.0
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}
DRAWN = """new Promise((done, failed) => {
  const until = Date.now() + 60000;
  const look = () => {
    const trouble = document.getElementById("trouble");
    if (document.documentElement.dataset.drawn || (trouble && !trouble.hidden)) done();
    else if (Date.now() > until) failed(new Error("no figures within a minute"));
    else setTimeout(look, 20);
  };
  look();
})"""  # a promise that is kept when a report has drawn its figures, or says why not


def chromium() -> str | None:
    """Returns the path of a Chromium that is installed, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A Chromium with one page, within a `with` block.

    events: What the page's domains told so far: `{"method": …, "params": …}`.
    """

    def __init__(self, program: str) -> None:
        self.program = program
        self.events: list[dict[str, Any]] = []
        self.number = 0
        self.unread = b""

    def __enter__(self) -> "Browser":
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # helpers may still write
        theirs_in, self.write_to = os.pipe()
        self.read_from, theirs_out = os.pipe()
        arguments = [self.program, *ARGUMENTS, f"--user-data-dir={self.profile.name}", "about:blank"]
        # the protocol is spoken on descriptors 3 and 4, whatever ours are
        shell = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", *arguments],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.session = None
            self.call("Browser.close")
        finally:
            self.process.terminate()
            self.process.wait(SECONDS)
        for descriptor in (self.write_to, self.read_from):
            os.close(descriptor)
        self.profile.cleanup()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Asks for something and returns the answer; what is told meanwhile goes to `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.write_to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self.number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                return told["result"]
            self.events.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.unread:
            read = os.read(self.read_from, 1 << 20)
            if not read:
                raise RuntimeError("Chromium has ended")
            self.unread += read
        whole, _, self.unread = self.unread.partition(b"\0")
        return json.loads(whole)

    def show(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        """Sets what pages see of the screen."""
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path | str) -> None:
        """Opens a page of the disk, or of an address, and waits for its load event."""
        self.events.clear()
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """Returns what an expression of JavaScript gives; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']['text']}")
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Waits until an expression of JavaScript holds."""
        until = time.monotonic() + SECONDS
        while not self.value(condition):
            if time.monotonic() > until:
                raise RuntimeError(f"not within {SECONDS:g} seconds: {condition}")
            time.sleep(0.02)

    def type(self, text: str) -> None:
        """Types a text where the focus is."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Presses a key of `KEYS` where the focus is."""
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def told(self, method: str) -> list[dict[str, Any]]:
        """Returns what was told so far under a method's name."""
        return [event["params"] for event in self.events if event["method"] == method]

    def picture(self, height: int, top: int = 0) -> bytes:
        """Returns `height` pixels of the page, from `top` on, as PNG."""
        width = self.value("innerWidth")
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])
