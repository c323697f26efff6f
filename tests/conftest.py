"""What holds for all tests: no test is judged by the clock of a busy machine."""

from __future__ import annotations

from hypothesis import settings

from tests.effort import runs

settings.register_profile("farm", deadline=None, max_examples=runs(100))
settings.load_profile("farm")
