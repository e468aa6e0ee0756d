"""Bytes that are kept packed: a run file is text, and a third of it holds the same.

One Zstandard frame (RFC 8878), so that ``zstd -d`` unpacks what somebody takes out of the database by
hand. Level 1 packs 1.6 MB in 5 ms, less than the database takes to write what it saves.
"""

from __future__ import annotations

from typing import Final

import zstandard

LEVEL: Final = 1


class NotPacked(ValueError):
    """What was kept is not what was packed."""


def packed(data: bytes) -> bytes:
    """``data`` as it is kept; the frame names its length and carries a checksum."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)


def unpacked(kept: bytes, size: int) -> bytes:
    """The ``size`` bytes that were packed; never more of them, whatever the frame says.

    Raises:
        NotPacked: the frame is not whole, or of another length.
    """
    try:
        if zstandard.frame_content_size(kept) != size:
            raise NotPacked(f"{len(kept):,} bytes are not a frame of {size:,} bytes")
        return zstandard.ZstdDecompressor().decompress(kept, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise NotPacked(str(error)) from error
