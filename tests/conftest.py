"""Shared by every room. Fixtures of one room live in that room's own conftest.py."""

from __future__ import annotations

import os

from hypothesis import settings

# Property tests draw the same examples in every run of CI, and have no deadline per example:
# a shared machine stalls for longer than any deadline worth having. P4P_TRIO_FUZZ=1 looks for new ones.
settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("fuzz", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("P4P_TRIO_FUZZ") else "default")

# No test may be steered by, or reach, a control system that the machine happens to be part of.
for name in [name for name in os.environ if name.startswith(("EPICS_PVA", "EPICS_CA"))]:
    del os.environ[name]
