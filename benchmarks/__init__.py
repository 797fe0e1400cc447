"""Runnable comparisons of speed and memory: ``python -m benchmarks`` or ``make bench``; README.md beside this file.

One file a comparison (`kernel`, `filters`, `collect`, `memory`, `engine`, `tokens`). `measure` runs one side of one in
a fresh process and counts its CPU-seconds; `inputs` prepares what both sides read; `floor` is the native code that no
pipeline can do without, `peers` is datatrove as its users run it, `ours` is `curate`.
"""

from __future__ import annotations
