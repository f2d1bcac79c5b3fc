"""A simulated camera: a PTP/IP responder that stock gphoto2 takes for one, with content that can be checked.

In a test: ``async with SimCamera("eos-r7", card="2000:1M") as cam:`` and then `cam.port`, `cam.shoot()`,
`cam.trouble`, `cam.stats`; ``with`` works as well, since everything happens on threads of its own. By hand:
``python -m tests.simcam --help``. The README beside this file lists the verbs.

Shares framing (`agent.ptp.packets`, `agent.ptp.connection`) with the agent and nothing else.
"""

from tests.simcam.card import Card, Item, OnDisk, Source, Synthetic
from tests.simcam.door import Pairing
from tests.simcam.profile import Profile, body_named, names
from tests.simcam.simcam import SimCamera

__all__ = [
    "Card",
    "Item",
    "OnDisk",
    "Pairing",
    "Profile",
    "SimCamera",
    "Source",
    "Synthetic",
    "names",
    "body_named",
]
