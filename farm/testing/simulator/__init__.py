"""A seeded market simulator: order books moved by random orders, told in a venue's own words."""

from __future__ import annotations

from farm.testing.simulator.instruments import Instrument, instrument
from farm.testing.simulator.market import MarketSimulator

__all__ = ["Instrument", "MarketSimulator", "instrument"]
