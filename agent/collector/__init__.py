"""One task per camera: look, decide what is new, fetch into the spool, make room there.

The listing is the truth; events only make the next look sooner. What is new is a pure function (`news`) of a
listing and the ledger.
"""

from agent.collector.collector import FAULTS, Collector
from agent.collector.news import News, Wanted, is_old, news
from agent.collector.surroundings import Surroundings

__all__ = ["FAULTS", "Collector", "News", "Surroundings", "Wanted", "is_old", "news"]
