"""Which code speaks to which camera: the first brand in `BRANDS` that claims it. `Generic` claims every camera."""

from __future__ import annotations

from agent.camera.brands.canon import Canon
from agent.camera.brands.generic import Generic
from agent.ptp.datasets import DeviceInfo

BRANDS: tuple[type[Generic], ...] = (Canon, Generic)


def choose(info: DeviceInfo) -> type[Generic]:
    return next(brand for brand in BRANDS if brand.claims(info))
