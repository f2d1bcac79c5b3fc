"""The simulated camera by hand: `python -m tests.simcam --body eos-r7 --synthetic 100:25M`.

Prints one JSON line with its ports when it is ready, and runs until a signal ends it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from tests.simcam import profile
from tests.simcam.simcam import CardSpec, SimCamera


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m tests.simcam", description=__doc__)
    found.add_argument("--body", default="eos-r7", metavar="NAME", help=", ".join(profile.names()))
    found.add_argument("--serial", help="a serial number of its own, for several cameras of one body")
    found.add_argument(
        "--card",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="a directory with DCIM/…; again for slot 2",
    )
    found.add_argument(
        "--synthetic",
        action="append",
        default=[],
        metavar="COUNT:SIZE[:EXT]",
        help='a card by formula, such as 2000:1M or "900:6M+25M:JPG+CR3,1:6G:MP4"; again for slot 2',
    )
    found.add_argument("--recorded-60d", action="store_true", help="the card of the 60D recording")
    found.add_argument("--host", default="127.0.0.1")
    found.add_argument("--port", type=int, default=15740, help="0: any free one")
    found.add_argument(
        "--control", type=int, metavar="PORT", help="where to listen for verbs; 0: any free one"
    )
    found.add_argument(
        "--upnp", type=int, metavar="PORT", help="where to serve the UPnP description; 0: any free one"
    )
    found.add_argument("--rtt-ms", type=float, default=0.0, help="latency of every transaction")
    found.add_argument("--mbit", type=float, help="pace of what the camera sends")
    found.add_argument("--packet-bytes", type=int, default=256 << 10, help="payload of one Data packet")
    found.add_argument("--pairing", choices=["first", "any", "dialog"], default="first")
    found.add_argument(
        "--guid-required", action="append", default=[], metavar="HEX", help="only these GUIDs are paired"
    )
    found.add_argument(
        "--write-seconds", type=float, default=0.0, help="from the press to the file on the card"
    )
    found.add_argument("--shoot-every", type=float, metavar="S", help="press the shutter every S seconds")
    found.add_argument("--shot", default="JPG:5M", metavar="EXT:SIZE[+EXT:SIZE]", help="what a press makes")
    return found


def build(options: argparse.Namespace) -> SimCamera:
    cards: list[CardSpec] = [*options.card, *options.synthetic]
    if options.recorded_60d:
        cards.append("recorded-60d")
    return SimCamera(
        options.body,
        cards=cards,
        serial=options.serial,
        host=options.host,
        port=options.port,
        rtt_ms=options.rtt_ms,
        mbit=options.mbit,
        pairing=options.pairing,
        known=[bytes.fromhex(text.replace("-", "")) for text in options.guid_required],
        write_seconds=options.write_seconds,
        packet_bytes=options.packet_bytes,
        control=options.control,
        upnp=options.upnp,
    )


def main() -> int:
    options = parser().parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with build(options) as camera:
        ready = {
            "host": camera.host,
            "port": camera.port,
            "control": camera.control and camera.control.port,
            "upnp": camera.upnp and camera.upnp.port,
            "body": camera.profile.name,
        }
        print(json.dumps(ready), flush=True)
        if options.shoot_every:
            camera.shoot_every(options.shoot_every, options.shot)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
