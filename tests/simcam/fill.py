"""Ways to fill a card: by formula, from a directory of this machine, or as the recorded 60D card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.simcam import recordings
from tests.simcam.card import Card, Item, OnDisk, Source, Synthetic

FIRST_SHOT_AT = datetime(2024, 5, 4, 10, 0, 0)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Batch:
    """`count` shots; each is one file per (extension, size)."""

    count: int
    files: tuple[tuple[str, int], ...]


def parse_size(text: str) -> int:
    """ "25M" → bytes; K, M, G are powers of 1024. ValueError for anything else."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    if not match:
        raise ValueError(f"not a size: {text!r} (like 300K, 25M, 6G)")
    return int(match.group(1)) * _UNITS[match.group(2)]


def parse_batches(text: str) -> list[Batch]:
    """ "COUNT:SIZE[+SIZE…][:EXT[+EXT…]][,…]", e.g. "1000:6M+25M:JPG+CR3,1:6G:MP4". Extension: JPG unless said."""
    batches = []
    for part in text.split(","):
        count, size, extensions = (part.split(":") + ["JPG"])[:3]
        sizes = [parse_size(word) for word in size.split("+")]
        names = extensions.upper().split("+")
        if len(sizes) == 1:
            sizes *= len(names)
        batches.append(Batch(int(count), tuple(zip(names, sizes, strict=True))))
    return batches


def by_formula(
    card: Card,
    batches: Sequence[Batch],
    *,
    first_folder: str = "100CANON",
    first_number: int = 1,
    per_folder: int = 9999,
    seconds_between: int = 2,
) -> None:
    """Shoot all batches onto `card`, `per_folder` shots a folder, wrapping after 9999. EOS has an empty MISC as well."""
    moment = FIRST_SHOT_AT
    card.add_folder(first_folder, moment)
    if card.is_eos:
        card.add_root_folder("MISC", moment)
    card.file_number = first_number - 1
    in_folder = 0
    for batch in batches:
        for _ in range(batch.count):
            if in_folder == per_folder:
                number = int(card.current.name[:3]) + 1
                card.add_folder(f"{number}{card.current.name[3:]}", moment)
                in_folder = 0
            before = card.current
            shot(card, batch.files, moment)
            in_folder = in_folder + 1 if card.current is before else 1
            moment += timedelta(seconds=seconds_between)
    for item in card.items.values():
        item.is_new = False


def shot(card: Card, files: Sequence[tuple[str, int]], moment: datetime) -> list[Item]:
    """One press of the shutter: one item per (extension, size), of one group. RAW is dated a second after its
    JPEG, as the 60D recording shows; movies are MVI_, everything else IMG_."""
    folder, number = card.next_name(moment)
    made = []
    for extension, size in files:
        prefix = "MVI_" if extension in ("MOV", "MP4") else "IMG_"
        name = f"{prefix}{number:04d}.{extension}"
        source = Synthetic(f"{card.salt}{folder.path}/{name}", size)
        skew = 1 if len(files) > 1 and extension in ("CR2", "CR3") else 0
        made.append(card.add(folder, name, source, moment + timedelta(seconds=skew)))
    card.file_number = number
    return made


def copy(old: Card, card: Card, *, later: timedelta = timedelta(0), size_change: int = 0) -> None:
    """Give `card` what `old` has in DCIM, under the same names. As it stands the content is the same, too; `later`
    or of another size it is different."""
    card.salt = f"{old.salt}copy:" if later or size_change else old.salt
    for folder in old.children(old.dcim.handle):
        into = card.add_folder(folder.name, folder.captured_at + later)
        for item in old.children(folder.handle):
            assert item.source is not None
            source: Source = item.source
            if later or size_change:
                source = Synthetic(card.salt + item.path, max(0, item.source.size + size_change))
            card.add(into, item.name, source, item.captured_at + later).is_new = False


def from_directory(card: Card, directory: Path) -> None:
    """Everything under `directory`/DCIM/*, and the names of other folders beside DCIM. Makes DCIM/100CANON when missing."""
    card.folder_path = directory
    (directory / "DCIM").mkdir(parents=True, exist_ok=True)
    if not any((directory / "DCIM").iterdir()):
        (directory / "DCIM" / "100CANON").mkdir()
    for folder in sorted(path for path in (directory / "DCIM").iterdir() if path.is_dir()):
        into = card.add_folder(folder.name, written_at(folder))
        for path in sorted(path for path in folder.iterdir() if is_picture(path)):
            add_file(card, into, path).is_new = False
    for other in sorted(path for path in directory.iterdir() if path.is_dir() and path.name != "DCIM"):
        card.add_root_folder(other.name, written_at(other))


def add_file(card: Card, folder: Item, path: Path) -> Item:
    return card.add(folder, path.name, OnDisk(path, path.stat().st_size), written_at(path))


def is_picture(path: Path) -> bool:
    """Whether a camera would show it: dot files are somebody's unfinished business."""
    return path.is_file() and not path.name.startswith(".")


def written_at(path: Path) -> datetime:
    """The simulated camera's clock runs on UTC."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC).replace(tzinfo=None)


def as_recorded_60d(card: Card) -> None:
    """The card of the 60D recording: 44 files in 100CANON, ObjectInfo answered with the recorded bytes, content by
    formula. Handles come out as recorded, which is a test of the numbering rule."""
    for entry in recordings.eos60d_objects():
        moment = datetime.strptime(entry.captured[:15], "%Y%m%dT%H%M%S")
        if entry.name == "DCIM":
            item = card.dcim
        elif entry.is_folder and entry.parent == 0:
            item = card.add_root_folder(entry.name, moment)
        elif entry.is_folder:
            item = card.add_folder(entry.name, moment)
        else:
            key = f"{card.salt}DCIM/100CANON/{entry.name}"
            item = card.add(card.current, entry.name, Synthetic(key, entry.size), moment)
        item.captured_at, item.is_new, item.recorded_info = moment, False, entry.info
        if item.handle != entry.handle:
            raise ValueError(f"{entry.name}: handle {item.handle:#x}, recorded {entry.handle:#x}")
