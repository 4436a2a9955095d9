"""Engines: where Jobs are kept and workers run. `base` is the seam; each engine passes the same contract suite."""
