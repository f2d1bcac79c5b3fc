"""Bodies as data: what each lists, how it names itself, and in which of the known ways it is peculiar.

Operation sets come from the recorded DeviceInfo lists; `PECULIAR` says what those lists cannot (protocol.md §3–§8, §11).
`generic` is a plain PTP body: standard operations, standard events on the event socket, handles that merely count.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from tests.simcam import encode, recordings
from tests.simcam.codes import WIDE_OPS, Ev

DOES_NOT_CLOSE = frozenset({"eos-5ds-r", "eos-80d", "eos-r", "eos-2000d", "eos-1500d"})
"""After CloseSession these answer 0x2005 to everything (libgphoto2's PTP_DONT_CLOSE_SESSION)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One body. Times in seconds, sizes in bytes."""

    name: str
    manufacturer: str
    model: str
    firmware: str
    serial: str
    operations: tuple[int, ...]
    events: tuple[int, ...] = ()
    properties: tuple[int, ...] = ()
    capture_formats: tuple[int, ...] = (0x3801,)
    image_formats: tuple[int, ...] = (0x3001, 0x3002, 0x3006, 0x300A, 0x3008, 0x3801, 0xB101, 0xB103)
    vendor_extension_id: int = 6
    vendor_extension_version: int = 100
    guid: bytes = bytes(16)
    friendly_name: str = ""
    slots: tuple[tuple[int, str], ...] = ((0x00020001, "SD"),)
    raw_extension: str = "CR2"
    added_code: int = Ev.EOS_OBJECT_ADDED
    recorded_device_info: str = ""
    recorded_first_event: str = ""
    model_id: int = 0
    quiet_seconds: float = 0.0
    refuses: tuple[tuple[int, int], ...] = ()  # operations that are listed but always answered with this code
    closes_badly: bool = False
    single_end_data: bool = False
    date_suffix: str = ".0"
    partial_64_form: str = "A"
    event_socket: str = "silent"

    @property
    def is_eos(self) -> bool:
        return 0x9116 in self.operations

    def without(self, *codes: int) -> Profile:
        """The same body without some operations. Its DeviceInfo is then no recording any more."""
        left = tuple(code for code in self.operations if code not in codes)
        return replace(self, operations=left, recorded_device_info="")

    def device_info(self) -> bytes:
        if self.recorded_device_info:
            return recordings.payload(self.recorded_device_info)
        return encode.device_info(
            vendor_extension_id=self.vendor_extension_id,
            vendor_extension_version=self.vendor_extension_version,
            arrays=(self.operations, self.events, self.properties, self.capture_formats, self.image_formats),
            texts=(self.manufacturer, self.model, self.firmware, self.serial),
        )


_TWO_SLOTS = ((0x00010001, "SD1"), (0x00020001, "SD2"))

PECULIAR: dict[str, dict[str, object]] = {
    "eos-60d": {
        "firmware": "3-1.0.8",
        "serial": "b9bb65b44b6946feadcf79d47e30bce7",
        "vendor_extension_version": 200,
        "recorded_device_info": "eos60d_deviceinfo",
        "recorded_first_event": "eos60d_getevent_first",
        "model_id": 0x80000287,
    },
    "eos-1300d": {
        "recorded_first_event": "eos1300d_getevent_first",
        "model_id": 0x80000404,
        # As the recorded InitCommandAck says, with the rubbish behind the name.
        "guid": bytes.fromhex("0000000000000000000100bbc1859fab"),
        "friendly_name": "EOST6{",
    },
    "eos-2000d": {"quiet_seconds": 5.0},
    "eos-r6": {"slots": _TWO_SLOTS, "model_id": 0x80000453},
    "eos-r6-mark-ii": {"slots": _TWO_SLOTS},
    "eos-r7": {"slots": _TWO_SLOTS},
}

GENERIC = Profile(
    name="generic",
    manufacturer="Plain",
    model="Plain PTP",
    firmware="1.0",
    serial="",
    operations=(*range(0x1001, 0x100C), 0x1014, 0x1015, 0x101B),
    events=(0x4002, 0x4003, 0x4004, 0x4005),
    properties=(0x5001, 0x5011),
    vendor_extension_id=0,
    vendor_extension_version=0,
    guid=bytes.fromhex("706c61696e00400080000000000000aa"),
    friendly_name="Plain",
    slots=((0x00010001, "Card"), (0x00020001, "Card 2")),
    raw_extension="CR2",
    single_end_data=True,
    date_suffix="",
    event_socket="4002",
)


def _codes(body: str, key: str) -> tuple[int, ...]:
    found = recordings.device_lists()[body].get(key, ())
    return tuple(int(text, 16) for text in found if len(text) == 4)


def _slug(body: str) -> str:
    return body.partition(" (")[0].lower().replace(" ", "-")


def _eos(body: str) -> Profile:
    lists = recordings.device_lists()[body]
    name = _slug(body)
    digest = hashlib.md5(name.encode()).hexdigest()
    is_new = name.startswith("eos-r") and not name.startswith("eos-rebel")
    operations = _codes(body, "operations")
    base = Profile(
        name=name,
        manufacturer=str(lists["manufacturer"]),
        model=str(lists["model"]),
        firmware=str(lists["version"]),
        serial=digest,
        operations=operations,
        events=_codes(body, "events"),
        properties=_codes(body, "properties"),
        guid=bytes.fromhex(f"0000000000000000000100bbc1{digest[:6]}"),
        friendly_name=name.upper().replace("-", "")[:12],
        raw_extension="CR3" if is_new else "CR2",
        added_code=Ev.EOS_OBJECT_ADDED_64 if is_new and WIDE_OPS & set(operations) else Ev.EOS_OBJECT_ADDED,
        closes_badly=name in DOES_NOT_CLOSE,
    )
    formats = {key: _codes(body, key) for key in ("capture_formats", "display_formats")}
    return replace(
        base,
        capture_formats=formats["capture_formats"] or base.capture_formats,
        image_formats=formats["display_formats"] or base.image_formats,
        **PECULIAR.get(name, {}),  # type: ignore[arg-type]
    )


def names() -> list[str]:
    """Every body there is a profile of."""
    return ["generic", "eos-r5-mark-ii", *map(_slug, recordings.device_lists())]


def body_named(name: str, *, serial: str | None = None) -> Profile:
    """The body called `name`, with a serial number of its own when given. ValueError lists the known names."""
    if name == "generic":
        found = GENERIC
    elif name == "eos-r5-mark-ii":
        # No list of its own is known: an R6 Mark II that announces with long names (libgphoto2
        # issue #1028) and refuses the bulk listing (libgphoto2 ptp.c, ptp_list_folder_eos).
        found = replace(
            _eos("EOS R6 Mark II"),
            name=name,
            model="Canon EOS R5m2",
            added_code=Ev.EOS_OBJECT_ADDED_64_LFN,
            refuses=((0x9109, 0x2002),),
        )
    else:
        bodies = {_slug(body): body for body in recordings.device_lists()}
        if name not in bodies:
            raise ValueError(f"no body {name!r}; there are {', '.join(names())}")
        found = _eos(bodies[name])
    return found if serial is None else replace(found, serial=serial, recorded_device_info="")
