"""``lis files``: what instruments sent, seen and decided at the console."""

from __future__ import annotations

import json

import pytest
from bench import Bench
from command_line import called

from lis.web.metrics import create


@pytest.fixture
def aside(embedded: Bench) -> tuple[str, str, bytes]:
    """A plate, and the id and bytes of its file, which named another plate and is in quarantine."""
    codes = embedded.singles(2)
    plate = embedded.plate(codes)
    data = embedded.table(plate).replace(plate.encode(), b"", 1)
    done = embedded.deliver(data, plate="P99999999").ingested
    assert done.code == "UNKNOWN_PLATE"
    return plate, done.file_id, data


def test_a_quarantined_file_is_listed_with_its_reason_and_saved_byte_for_byte(
    embedded: Bench, aside: tuple[str, str, bytes], capsys
):
    """The dead letters stand at the console as they do on the page: code, sentence, and the bytes as received."""
    _, file_id, data = aside
    folder = str(embedded.lab.settings.data)
    rows = json.loads(
        called(capsys, "files", "list", "--state", "quarantined", "--data", folder, "--json")[1]
    )
    assert [(row["file_id"], row["code"]) for row in rows] == [(file_id, "UNKNOWN_PLATE")]
    assert json.loads(called(capsys, "files", "list", "--state", "read", "--data", folder, "--json")[1]) == []
    status, out, _ = called(capsys, "files", "list", "--data", folder)
    assert status == 0
    assert "UNKNOWN_PLATE: " in out
    saved = embedded.lab.settings.data / "saved.csv"
    status, out, err = called(capsys, "files", "show", file_id[:8], "--save", str(saved), "--data", folder)
    assert (status, saved.read_bytes()) == (0, data)
    assert f"{len(data)} bytes" in err
    assert file_id in out
    assert called(capsys, "files", "show", "no such", "--data", folder)[0] == 1


def test_a_file_is_read_again_for_the_right_plate(embedded: Bench, aside: tuple[str, str, bytes], capsys):
    """With the plate named it is taken over; before that, and for a wrong one, the command says why not."""
    plate, file_id, _ = aside
    folder = str(embedded.lab.settings.data)
    status, _, err = called(capsys, "files", "retry", file_id[:8], "--data", folder)
    assert (status, "UNKNOWN_PLATE" in err) == (1, True)
    status, out, _ = called(capsys, "files", "retry", file_id[:8], "--plate", plate, "--data", folder)
    assert (status, out.strip()) == (0, f"read {plate}")
    status, _, err = called(capsys, "files", "dismiss", file_id, "--reason", "twice", "--data", folder)
    assert (status, "FILE_STATE" in err) == (1, True)
    assert embedded.check().ok


def test_a_file_is_dismissed_with_a_reason_and_its_bytes_stay(
    embedded: Bench, aside: tuple[str, str, bytes], capsys
):
    """Who dismissed it and why is kept; its tubes wait on."""
    _, file_id, data = aside
    folder = str(embedded.lab.settings.data)
    status, _, _ = called(
        capsys, "files", "dismiss", file_id[:6], "--reason", "sent by mistake", "--data", folder
    )
    assert status == 0
    row = json.loads(called(capsys, "files", "show", file_id, "--data", folder, "--json")[1])
    assert (row["state"], row["reason"], row["size"]) == ("dismissed", "sent by mistake", len(data))
    assert embedded.check().ok


def test_prometheus_hears_what_the_bridge_counts(embedded: Bench):
    """Messages, answers and refusals of the bridge stand among the metrics by name."""
    figures = {"messages": 7, "sent_ack_stored": 3, "event_key-refused": 1}
    text = create(embedded.lab, lambda: figures).text()[0].decode()
    assert 'lis_bridge_total{what="messages"} 7.0' in text
    assert 'lis_bridge_total{what="event_key-refused"} 1.0' in text
