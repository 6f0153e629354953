"""These tests run in an environment of their own, which scripts/frameworks makes."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("crewai") else ["test_*.py"]
