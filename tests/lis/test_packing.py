"""What is kept packed comes back byte for byte, or not at all."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
import zstandard
from bench import Bench
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text

from lis import laboratory, queries
from lis.errors import Damaged
from lis.packing import NotPacked, packed, unpacked
from lis.services import admin
from lis.services.inbox import Delivery

REPEATING = st.builds(lambda part, times: part * times, st.binary(max_size=40), st.integers(0, 2000))


@given(st.binary(max_size=4000) | REPEATING)
@example(b"")
def test_every_content_comes_back(data: bytes):
    """Packing and unpacking changes no byte, whatever the bytes are."""
    assert unpacked(packed(data), len(data)) == data


@given(st.binary(min_size=1, max_size=300) | REPEATING.filter(bool), st.data())
def test_a_changed_bit_never_gives_another_content(data: bytes, draw: st.DataObject):
    """A frame with one bit changed is refused, or still means what was packed: never something else."""
    kept = bytearray(packed(data))
    kept[draw.draw(st.integers(0, len(kept) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with contextlib.suppress(NotPacked):
        assert unpacked(bytes(kept), len(data)) == data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_frame_that_was_cut_or_grew_is_refused(data: bytes, draw: st.DataObject):
    """Bytes that are missing at the end, or that stand behind it, are damage."""
    kept = packed(data)
    with pytest.raises(NotPacked):
        unpacked(kept[: draw.draw(st.integers(0, len(kept) - 1))], len(data))
    with pytest.raises(NotPacked):
        unpacked(kept + draw.draw(st.binary(min_size=1, max_size=20)), len(data))


@pytest.mark.parametrize("size", [0, 99, 101, 2**40])
def test_the_length_is_part_of_what_is_kept(size: int):
    """A frame of another length than the row says is refused before anything is unpacked."""
    with pytest.raises(NotPacked, match="not a frame of"):
        unpacked(packed(b"x" * 100), size)


def test_a_frame_cannot_fill_the_memory():
    """A frame that claims little and holds a gigabyte is refused without unpacking it."""
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 30))
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(NotPacked):
            unpacked(bomb, 100)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_anybody_can_unpack_what_is_in_the_database(bench: Bench):
    """What a file's row holds is one frame of Zstandard of just what came, a fraction of its length."""
    data = b"SYNTHETIC\n" + b"A1,ORF1ab,FAM,31.5\n" * 5000
    laboratory.keep(bench.lab, Delivery("qs5", "run-1", "run.csv", data))
    with bench.lab.database.read() as conn:
        (kept,) = conn.execute(text("SELECT content FROM file")).one()
    assert zstandard.ZstdDecompressor().stream_reader(bytes(kept)).read() == data
    assert len(kept) < len(data) / 20


def test_a_file_that_was_changed_in_the_database_is_never_read(bench: Bench):
    """A kept file that does not unpack is quarantined with the reason and named by the check; others go on."""
    changed = laboratory.keep(bench.lab, Delivery("qs5", "run-1", "run.csv", b"SYNTHETIC, changed later"))
    with bench.lab.database.write("intruder") as unit:
        if bench.lab.database.dialect == "sqlite":
            unit.conn.execute(text("DROP TRIGGER file_no_update"))
        else:
            unit.conn.execute(text("ALTER TABLE file DISABLE TRIGGER USER"))
        unit.conn.execute(text("UPDATE file SET content = :other"), {"other": packed(b"another")[:-1]})
    with bench.lab.database.read() as conn, pytest.raises(Damaged) as error:
        queries.file_row(conn, changed.file_id)
    assert error.value.code == "FILE_CHANGED"
    assert "verify-log" in error.value.sentence
    done = laboratory.process(bench.lab, changed.file_id, "bridge")[0]
    assert (done.state, done.code) == ("quarantined", "FILE_CHANGED")
    with bench.lab.database.read() as conn:
        found = admin.verify_log(conn)
    assert not found.ok
    assert changed.file_id[:12] in found.problem
