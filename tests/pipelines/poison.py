"""An extraction engine that does to its worker what hostile pages do; a recipe names it as ``poison:extract``."""

from __future__ import annotations

import os
import signal
import time

from curate.extract.engines import extract_resiliparse


def extract(html: str) -> str:
    """Extract a page, unless it carries a mark."""
    if "poison-crash" in html:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "poison-endless" in html:
        time.sleep(3600)
    if "poison-memory" in html:
        held = []
        while True:
            held.append(bytearray(32 << 20))
            time.sleep(0.01)
    return extract_resiliparse(html)
