"""Pictures of a run's report, on a desktop and on a phone, light or dark.

    python -m benchmarks.screenshots result/result_<time> [--out docs/images] [--dark]

Needs a Chromium (Debian: apt-get install chromium). Writes report_desktop.png (1280 wide) and report_phone.png (390
wide, at two pixels to one), the first screens of the page.
"""

import argparse
import sys
from pathlib import Path

from tests.browser import DRAWN, Browser, chromium

SCREENS = {"desktop": (1280, 1500, False), "phone": (390, 1500, True)}


def main(arguments: argparse.Namespace) -> None:
    program = chromium()
    if program is None:
        sys.exit("There is no Chromium: apt-get install chromium")
    report = arguments.run / "report.html"
    if not report.is_file():
        sys.exit(f"There is no {report}: python -m src.exp.run_report report.runs='[{arguments.run}]' makes it.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with Browser(program) as browser:
        for name, (width, height, phone) in SCREENS.items():
            browser.show(width, height, dark=arguments.dark, phone=phone)
            browser.open(report)
            browser.value(DRAWN)
            whole = browser.value("document.documentElement.scrollHeight")
            picture = browser.picture(min(arguments.height or height, whole), arguments.top)
            path = arguments.out / f"report_{name}.png"
            path.write_bytes(picture)
            print(f"{path}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("run", type=Path, help="folder of a run with a report.html")
    own.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    own.add_argument("--dark", action="store_true", help="with the dark colour scheme")
    own.add_argument("--top", type=int, default=0, help="pixels of the page above the picture")
    own.add_argument("--height", type=int, default=None, help="of the picture, in pixels of the page")
    main(own.parse_args())
