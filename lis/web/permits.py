"""Which action every address asks for: the one place where a route is given its permission.

A request of somebody signed in is held against this table before its body is looked at
(:func:`lis.web.commands.identify`). A test asks every route of the application with every role; a route that
stands not here fails it.
"""

from __future__ import annotations

from typing import Final

OPEN: Final = "open"
"""Anybody may ask, without a sign-in."""

PERMITS: Final[dict[str, str]] = {
    # open
    "GET /api/v1/openapi.json": OPEN,
    "GET /api/v1/docs": OPEN,
    "GET /healthz": OPEN,
    "GET /metrics": OPEN,
    "GET /api/v1/verify/{report_id}": OPEN,
    "GET /verify/{report_id}": OPEN,
    "GET /sign-in": OPEN,
    "POST /sign-in": OPEN,
    "POST /language": OPEN,
    "POST /api/v1/sign-in": OPEN,
    "POST /api/v1/switch": OPEN,
    # one's own account
    "POST /sign-out": "signed-in",
    "POST /api/v1/sign-out": "signed-in",
    "GET /api/v1/me": "signed-in",
    "POST /api/v1/lock": "signed-in",
    "POST /api/v1/prove": "signed-in",
    "GET /account": "signed-in",
    "GET /api/v1/account": "signed-in",
    "POST /api/v1/account/password": "signed-in",
    "POST /api/v1/account/strength": "signed-in",
    "POST /api/v1/account/pin": "signed-in",
    "POST /api/v1/account/end": "signed-in",
    "GET /": "signed-in",
    # from the swab to the rack
    "GET /collection": "register",
    "POST /api/v1/tubes": "register",
    "POST /api/v1/tubes/{barcode}/persons": "register",
    "POST /api/v1/tubes/{barcode}/seal": "register",
    "GET /api/v1/sites": "register",
    "GET /calls": "call",
    "GET /api/v1/calls": "call",
    "POST /api/v1/persons/{person_id}/contact": "call",
    "GET /reception": "look",
    "POST /api/v1/receipts": "receive",
    "POST /api/v1/tubes/{barcode}/store": "receive",
    "POST /api/v1/tubes/{barcode}/hold": "hold",
    "POST /api/v1/tubes/{barcode}/clear": "hold",
    "POST /api/v1/tubes/{barcode}/reject": "hold",
    "POST /api/v1/tubes/{barcode}/lost": "hold",
    "POST /api/v1/tubes/{barcode}/found": "hold",
    "POST /api/v1/tubes/{barcode}/withdraw": "hold",
    "POST /api/v1/tubes/{barcode}/volume": "hold",
    "POST /api/v1/alarms/{alarm_id}/clear": "hold",
    "POST /api/v1/tubes/{barcode}/discard": "discard",
    # looking
    "GET /search": "look",
    "GET /tubes/{barcode}": "look",
    "GET /api/v1/tubes/{barcode}": "look",
    "GET /api/v1/tubes": "look",
    "GET /worklists/{name}": "look",
    "GET /api/v1/worklists/{name}": "look",
    "GET /alarms": "look",
    "GET /api/v1/alarms": "look",
    "GET /api/v1/live": "look",
    "GET /api/v1/plates/{plate_id}/live": "look",
    "GET /api/v1/forecast": "look",
    "GET /api/v1/forecast/score": "look",
    "GET /api/v1/forecast/fit": "look",
    "GET /api/v1/admission": "look",
    # persons
    "POST /api/v1/persons/search": "person",
    "POST /api/v1/tubes/{barcode}/unmask": "unmask",
    "GET /admin/disclosures": "disclosures",
    "GET /api/v1/disclosures": "disclosures",
    # pools and plates
    "GET /pooling": "look",
    "GET /pooling/advice": "look",
    "GET /pooling/worklists/{number}": "look",
    "GET /pooling/worklists": "look",
    "GET /api/v1/pools/proposal": "pool",
    "POST /api/v1/pools/proposals": "pool",
    "GET /api/v1/pools/advice": "look",
    "POST /api/v1/pools": "pool",
    "GET /api/v1/pools/worklist": "pool",
    "POST /api/v1/pools/confirmations": "pool",
    "GET /api/v1/pools": "pool",
    "GET /api/v1/pools/{barcode}": "look",
    "GET /plating": "look",
    "GET /plates/{plate_id}": "look",
    "GET /api/v1/plates/proposal": "plate",
    "POST /api/v1/plates": "plate",
    "GET /api/v1/plates/{plate_id}": "look",
    "GET /api/v1/plates": "look",
    "POST /api/v1/plates/{plate_id}/load": "plate",
    "POST /api/v1/plates/{plate_id}/load/correct": "quarantine",
    "POST /api/v1/plates/{plate_id}/void": "plate",
    # files
    "GET /instruments": "look",
    "POST /api/v1/runs": "upload",
    "GET /api/v1/files": "look",
    "POST /api/v1/files/{file_id}/retry": "quarantine",
    "POST /api/v1/files/{file_id}/dismiss": "quarantine",
    # review and reports
    "GET /review": "look",
    "POST /api/v1/reviews": "review",
    "GET /reports": "look",
    "GET /reports/{report_id}": "look",
    "GET /api/v1/reports/{report_id}": "look",
    "POST /api/v1/reports/release": "release",
    "POST /api/v1/reports/{report_id}/amend": "amend",
    "POST /api/v1/reports/{report_id}/amend/withdraw": "amend",
    "GET /api/v1/amendments": "look",
    # quality control and planning
    "GET /quality": "look",
    "GET /api/v1/quality": "look",
    "POST /api/v1/quality/targets": "quality",
    "POST /api/v1/simulations": "simulate",
    "GET /api/v1/simulations": "simulate",
    "GET /api/v1/simulations/{simulation}": "simulate",
    "POST /api/v1/simulations/{simulation}/cancel": "simulate",
    "DELETE /api/v1/simulations/{simulation}": "simulate",
    "GET /api/v1/simulations/{simulation}/html": "simulate",
    # administration
    "GET /admin": "administration",
    "GET /admin/settings": "administration",
    "GET /api/v1/settings": "administration",
    "GET /admin/acts": "administration",
    "GET /api/v1/acts": "administration",
    "GET /admin/users": "accounts",
    "GET /admin/users/{name}": "accounts",
    "GET /api/v1/accounts": "accounts",
    "POST /api/v1/accounts": "accounts",
    "POST /api/v1/accounts/{name}": "accounts",
    "POST /api/v1/accounts/{name}/reset": "accounts",
    "POST /api/v1/accounts/{name}/disable": "accounts",
    "POST /api/v1/accounts/{name}/enable": "accounts",
    "POST /api/v1/accounts/{name}/unlock": "accounts",
    "POST /api/v1/accounts/{name}/badge": "accounts",
    "POST /api/v1/accounts/{name}/pin": "accounts",
    "POST /api/v1/accounts/{name}/end": "accounts",
    "POST /api/v1/stations/{key}/enrol": "accounts",
    "POST /api/v1/stations/{key}/revoke": "accounts",
    "GET /admin/devices": "devices",
    "GET /api/v1/devices": "devices",
    "POST /api/v1/devices": "devices",
    "POST /api/v1/devices/rotate": "devices",
    "POST /api/v1/devices/cancel": "devices",
    "POST /api/v1/devices/revoke": "devices",
    "POST /api/v1/devices/expire": "devices",
    "GET /admin/sites": "sites",
    "POST /api/v1/sites": "sites",
    "POST /api/v1/sites/{code}": "sites",
    "GET /admin/assays": "administration",
    "GET /api/v1/assays": "look",
    "POST /api/v1/assays/compare": "rules",
    "POST /api/v1/assays/drafts": "rules",
    "POST /api/v1/assays/drafts/{digest}/activate": "rules",
    "POST /api/v1/assays/drafts/{digest}/withdraw": "rules",
    "GET /admin/backup": "administration",
    "GET /api/v1/backup": "administration",
    "POST /api/v1/backup": "backup",
    "POST /api/v1/backup/verify": "backup",
}
"""``METHOD address`` -> action of :data:`lis.auth.PERMISSIONS`, or :data:`OPEN`."""

WHILE_LOCKED: Final = frozenset(
    {"POST /api/v1/prove", "POST /api/v1/lock", "POST /sign-out", "POST /api/v1/sign-out"}
)
"""What a covered screen may still ask."""

WHILE_CHANGING: Final = frozenset(
    {
        *("GET /account", "GET /api/v1/account", "GET /api/v1/me", "POST /sign-out", "POST /api/v1/sign-out"),
        *("POST /api/v1/account/password", "POST /api/v1/account/strength"),
    }
)
"""What is possible before a password that somebody else set was changed."""
