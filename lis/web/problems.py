"""Errors as RFC 9457 problem documents, in words a technician can act on, in both languages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from lis.errors import Busy, LisError
from lis.web.words import error_zh

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
SHOWN_FIELDS = 5
RESERVED = frozenset({"type", "title", "status", "detail", "detail_zh", "code"})


def problem(error: LisError) -> dict[str, Any]:
    """The problem document of an error; its details are extra members."""
    extra = {name: value for name, value in error.details.items() if name not in RESERVED}
    return {
        "type": f"urn:nat-lis:problem:{error.code.lower()}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.sentence,
        # a fault of a whole file has no key that could stand in the brackets
        "detail_zh": error_zh(error.code, error.details).replace("（）", ""),
        "code": error.code,
        **extra,
    }


def headers(error: LisError) -> dict[str, str]:
    """How long to wait, and how to sign in, where the error says so."""
    found = {}
    if isinstance(error, Busy):
        found["Retry-After"] = "1"
    if "seconds" in error.details:
        found["Retry-After"] = error.details["seconds"]
    if error.status == HTTPStatus.UNAUTHORIZED:
        found["WWW-Authenticate"] = "Bearer"
    return found


def respond(error: LisError) -> Response:
    """The problem document as a response."""
    return JSONResponse(problem(error), error.status, headers(error), MEDIA_TYPE)


def internal() -> LisError:
    """What a stranger may know of a fault of this program: nothing but that it happened."""
    return LisError(
        "INTERNAL",
        "The server made a mistake; nothing of this request was recorded. Try once more, "
        "then call the administrator and name the time.",
    )


def from_validation(errors: Sequence[Mapping[str, Any]]) -> LisError:
    """What is wrong with a request body, field by field."""
    shown = [f"{_path(error['loc'])}: {_plain(error)}" for error in errors[:SHOWN_FIELDS]]
    more = len(errors) - len(shown)
    text = "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
    error = LisError(
        "REQUEST_SHAPE", f"The request is not as it should be. {text}. Nothing was recorded.", fields=text
    )
    error.status = HTTPStatus.UNPROCESSABLE_ENTITY
    return error


def _path(loc: Sequence[str | int]) -> str:
    named = [part for part in loc if part not in {"body", "query", "path", "header"} and not _is_branch(part)]
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in named) or "body"


def _is_branch(part: str | int) -> bool:
    """Names of union branches (``TubeOrder``, ``list[TubeOrder]``) are of no use to the sender."""
    return isinstance(part, str) and (part[:1].isupper() or "[" in part)


def _plain(error: Mapping[str, Any]) -> str:
    plain = {
        "missing": "is missing",
        "extra_forbidden": "is not known here",
        "json_invalid": "is not valid JSON",
        "string_type": "must be text",
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "timezone_aware": "needs a time zone, such as +08:00",
    }
    return plain.get(error["type"], str(error["msg"]).removeprefix("Value error, "))


def from_http(error: HTTPException) -> LisError:
    """What the framework refuses by itself: unknown address, wrong method, broken form."""
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.upper().replace(" ", "_").replace("'", "")
    found = LisError(code, error.detail if error.detail != phrase else f"{phrase}. Check the address.")
    found.status = error.status_code
    return found


def wants_page(request: Request) -> bool:
    """Whether a person with a browser asked, outside the API."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def as_error(error: Exception) -> LisError:
    """Any expected exception as an error of the laboratory."""
    if isinstance(error, LisError):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error.errors())
    if isinstance(error, HTTPException):
        return from_http(error)
    raise TypeError(error)
