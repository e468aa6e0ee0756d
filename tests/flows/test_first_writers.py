"""The first writers of a laboratory: an empty log has no head that they could queue at."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lis import barcodes, config, laboratory
from lis.privacy import document_number
from lis.services import admin, receiving
from lis.services.receiving import PersonData, TubeData

WRITERS = 8


def test_writers_that_begin_on_an_empty_log_take_turns(database_url: str, tmp_path: Path):
    """Eight first registrations at the same moment are all recorded, one after the other, and the log verifies."""
    with laboratory.open_laboratory(config.load(tmp_path / "data", database=database_url)) as lab:
        ready = threading.Barrier(WRITERS)
        failed: list[Exception] = []

        def register(number: int) -> None:
            people = tuple(PersonData(f"P{number}", "passport", f"E{number:07d}{k}") for k in range(3))
            code = barcodes.mint(barcodes.TUBE, 66_000_000_000 + number)
            order = TubeData(code, persons=people[:1], sealed=True)
            ready.wait(30)
            try:
                with lab.database.write("site") as unit:
                    receiving.register(unit, lab.vault, lab.rules, [order])
            except Exception as error:  # noqa: BLE001 - reported by the test
                failed.append(error)

        threads = [threading.Thread(target=register, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        with lab.database.read() as conn:
            found = admin.verify_log(conn)
        assert (found.ok, found.tubes, found.events) == (True, WRITERS, 3 * WRITERS)


@pytest.mark.parametrize(
    "number", ["440700199913010012", "999999199001010017", "11010519491231002x", "1" * 18, ""]
)
def test_a_resident_id_is_judged_as_the_standard_says(number: str):
    """The check by place and year that is remembered agrees with the library asked in full."""
    from stdnum.cn import ric

    try:
        wanted: object = ric.validate(number)
    except Exception:  # noqa: BLE001 - the library has several ways to say no
        wanted = None
    try:
        found: object = document_number("resident_id", number)
    except Exception:  # noqa: BLE001
        found = None
    assert found == wanted
