"""What all cameras' tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from agent.collector.clock import Clock
from agent.keys import Facts
from agent.ledger import Ledger, NewDelivery
from agent.progress import Progress
from agent.routing import ALONE, HasTemplate, Shot, identity_of, owed, suffixed
from agent.settings import DeleteSettings, Route
from agent.spool import Spool


class Surroundings:
    """Routes, destinations and algorithms may be replaced while the tasks run."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        progress: Progress,
        *,
        guid: bytes,
        initiator_name: str,
        routes: Sequence[Route],
        destinations: Mapping[str, HasTemplate],
        algorithms: tuple[str, ...],
        model_memory: dict[str, str],
        delete: DeleteSettings | None = None,
        site: str = "",
        zone: tzinfo | None = None,
    ):
        self.ledger = ledger
        self.spool = spool
        self.progress = progress
        self.guid = guid
        self.initiator_name = initiator_name
        self.routes = routes
        self.destinations = destinations
        self.algorithms = algorithms
        self.delete = delete or DeleteSettings()
        self.clock = Clock()
        self.site = site
        self.zone = zone  # of {local} in templates; None: this computer's
        self.model_memory = model_memory  # changed in place by every camera
        # Files whose deliveries stand already: fetched whatever the routes say by now.
        self.promised: set[int] = set()
        self.serials: dict[str, str] = {}  # of connected bodies → the name of the settings that serve them

    def owed(self, facts: Facts, shot: Shot = ALONE) -> tuple[NewDelivery, ...]:
        """The deliveries that a file needs, each with its key and the two suffixed ones behind it."""
        identity = identity_of(
            facts.serial, facts.storage, facts.folder, facts.name, facts.size, facts.captured
        )
        return tuple(
            NewDelivery(
                each.destination, (each.key, suffixed(each.key, identity), suffixed(each.key, identity, 16))
            )
            for each in owed(facts, self.routes, self.destinations, shot=shot)
        )
