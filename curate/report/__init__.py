"""What people are shown of a run: counts, samples and progress, read from its receipts alone."""

from __future__ import annotations
