"""What an extraction engine may be told, and the limits that hold for all of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ExtractSettings(BaseModel):
    """How pages become text.

    `max_html_bytes` and `max_html_depth` (nested elements) refuse pages before a parser sees them: 32 MB of HTML peaks
    at 1 GB, and 200,000 nested elements do not end. `max_html_elements` counts what a parser makes of a page: 85 KB can
    bring it to ten million. `max_text_bytes` bounds what an engine may return.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    engine: str = "resiliparse"
    max_html_bytes: int = Field(default=8 << 20, ge=1)
    max_html_depth: int = Field(default=512, ge=1, le=100_000)
    max_html_elements: int = Field(default=1_000_000, ge=1)
    max_text_bytes: int = Field(default=64 << 20, ge=1)
