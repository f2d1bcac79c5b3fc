"""What can go wrong with Cloud Storage, by status, by the error's `reason` and by exception class; never by text."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any

from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "gcs.unreachable": Advice(
        Kind.RETRYABLE, "Google cannot be reached: check the network and, if one is set, the endpoint."
    ),
    "gcs.timeout": Advice(Kind.RETRYABLE, "Google does not answer in time: check the network."),
    "gcs.slow_down": Advice(Kind.RETRYABLE, "Google asks to slow down: nothing to do."),
    "gcs.server_error": Advice(Kind.RETRYABLE, "Google has a problem of its own: nothing to do."),
    "gcs.full": Advice(Kind.RETRYABLE, "A quota is used up: raise it in the Google Cloud console, or wait."),
    "gcs.clock": Advice(Kind.RETRYABLE, "This machine's clock is wrong: switch on its time synchronisation."),
    "gcs.busy": Advice(Kind.RETRYABLE, "Somebody else is writing the same name: nothing to do.", Scope.ITEM),
    "gcs.upload_gone": Advice(
        Kind.RETRYABLE, "Google has dropped the unfinished upload: it starts again.", Scope.ITEM
    ),
    "gcs.damaged": Advice(
        Kind.RETRYABLE, "Google's copy differs from the file: it is sent again.", Scope.ITEM
    ),
    "gcs.unclassified": Advice(
        Kind.RETRYABLE, "Google refused for a reason that is not known here: see the details."
    ),
    "gcs.no_credentials": Advice(
        Kind.NEEDS_USER,
        "There is nothing to log in with: name the service account's key file, or log this machine in.",
    ),
    "gcs.bad_key_file": Advice(
        Kind.NEEDS_USER,
        "The key file is missing or is none: download the service account's key as JSON once more.",
    ),
    "gcs.wrong_key": Advice(
        Kind.NEEDS_USER, "Google does not accept the key: it was deleted or disabled, so make a new one."
    ),
    "gcs.no_permission": Advice(
        Kind.NEEDS_USER,
        "The account may not do this: give it Storage Object Creator and Storage Object Viewer on the bucket.",
    ),
    "gcs.scopes": Advice(
        Kind.NEEDS_USER,
        "This machine's login was made without access to Cloud Storage: log it in again, or use a key file.",
    ),
    "gcs.account": Advice(
        Kind.NEEDS_USER, "The bucket's project is disabled or has no billing: open the Google Cloud console."
    ),
    "gcs.no_bucket": Advice(Kind.NEEDS_USER, "The bucket does not exist: create it, or correct its name."),
    "gcs.user_project": Advice(
        Kind.NEEDS_USER, "The bucket wants to know who pays: set a project that this account may bill."
    ),
    "gcs.tls": Advice(
        Kind.NEEDS_USER,
        "The server's certificate is not trusted: correct the endpoint, or name a file of certificates.",
    ),
    "gcs.bad_settings": Advice(
        Kind.NEEDS_USER, "The bucket cannot be used with these settings: see the details."
    ),
    "gcs.no_checksum": Advice(
        Kind.NEEDS_USER, "This server does not compute checksums: set the wanted proof to readback."
    ),
    "gcs.retained": Advice(
        Kind.NEEDS_USER, "The bucket keeps what is in it for a time: until then nothing can be deleted."
    ),
    "gcs.exists": Advice(Kind.PERMANENT, "Another object has this name.", Scope.ITEM),
    "gcs.too_large": Advice(Kind.PERMANENT, "Google does not take objects of this size.", Scope.ITEM),
    "gcs.bad_key": Advice(Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM),
    "gcs.refused_name": Advice(
        Kind.PERMANENT, "Google does not take this name: change the template.", Scope.ITEM
    ),
}

# Reasons as Google lists them for the JSON API; what is not here is decided by the status.
_BY_REASON = {
    "accessNotConfigured": "gcs.account",
    "accountDisabled": "gcs.account",
    "billingDisabled": "gcs.account",
    "projectDisabled": "gcs.account",
    "UserProjectAccountProblem": "gcs.account",
    "userProjectAccountProblem": "gcs.account",
    "insufficientPermissions": "gcs.scopes",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "gcs.scopes",
    "quotaExceeded": "gcs.full",
    "dailyLimitExceeded": "gcs.full",
    "rateLimitExceeded": "gcs.slow_down",
    "userRateLimitExceeded": "gcs.slow_down",
    "retentionPolicyNotMet": "gcs.retained",
    "objectUnderActiveHold": "gcs.retained",
    "userProjectMissing": "gcs.user_project",
    "UserProjectMissing": "gcs.user_project",
    "userProjectInvalid": "gcs.user_project",
    "UserProjectInvalid": "gcs.user_project",
    "userProjectAccessDenied": "gcs.user_project",
    "orgPolicyConstraintFailed": "gcs.no_permission",
    "invalidAltValue": "gcs.bad_settings",
    "invalidArgument": "gcs.bad_settings",
    "invalidParameter": "gcs.bad_settings",
    "sslRequired": "gcs.bad_settings",
    "uploadTooLarge": "gcs.too_large",
}

_BY_STATUS = {
    400: "gcs.bad_settings",
    401: "gcs.wrong_key",
    403: "gcs.no_permission",
    404: "gcs.no_bucket",
    407: "gcs.bad_settings",
    408: "gcs.timeout",
    409: "gcs.busy",
    410: "gcs.upload_gone",
    412: "gcs.exists",
    413: "gcs.too_large",
    429: "gcs.slow_down",
    499: "gcs.upload_gone",
    503: "gcs.slow_down",
    504: "gcs.timeout",
}

# Exceptions by the names of their classes, so that this module loads no SDK. google.auth wraps those of
# requests, which wraps those of urllib3: the first in the chain that says something decides.
_BY_CLASS = {
    "ConnectTimeout": "gcs.timeout",
    "ReadTimeout": "gcs.timeout",
    "NewConnectionError": "gcs.unreachable",  # to urllib3 one of its ConnectTimeoutErrors
    "ReadTimeoutError": "gcs.timeout",
    "ConnectTimeoutError": "gcs.timeout",
    "TimeoutError": "gcs.timeout",
    "Timeout": "gcs.timeout",
    "DefaultCredentialsError": "gcs.no_credentials",
    "MalformedError": "gcs.bad_key_file",
    "ReauthFailError": "gcs.wrong_key",
    "InvalidURL": "gcs.bad_settings",
    "InvalidSchema": "gcs.bad_settings",
    "LocationParseError": "gcs.bad_settings",
    "UniverseMismatchError": "gcs.bad_settings",
    # What the libraries make of an answer that is not Google's, such as a hotel's page.
    "JSONDecodeError": "gcs.unreachable",
    "AttributeError": "gcs.unreachable",
    "KeyError": "gcs.unreachable",
    "TypeError": "gcs.unreachable",
}

# What the token server says (RFC 6749 and RFC 7523).
_BY_GRANT = {
    "invalid_grant": "gcs.wrong_key",
    "invalid_client": "gcs.wrong_key",
    "disabled_client": "gcs.wrong_key",
    "deleted_client": "gcs.wrong_key",
    "unauthorized_client": "gcs.wrong_key",
    "access_denied": "gcs.wrong_key",
    "invalid_scope": "gcs.scopes",
    "invalid_request": "gcs.bad_key_file",
}

# "required" says that something is missing: credentials, or the one thing that our requests can lack.
_MISSING = {400: "gcs.user_project", 401: "gcs.no_credentials"}

_CERTIFICATE_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID: a clock that has not been set since power-on
_TOLERATED_SKEW_SECONDS = 240.0  # Google refuses an assertion that is off by more than five minutes
_LONGEST_DETAIL = 300
_SESSION = re.compile(r"upload_id=[^&\s'\"\\)>]+")


def of_answer(status: int, body: bytes, headers: Mapping[str, str]) -> Fault:
    """Return the fault behind a refusal. `body`: JSON as Google writes errors, or anything."""
    error = _error_in(body)
    each = [one for one in error.get("errors") or () if isinstance(one, dict)]
    each += [one for one in error.get("details") or () if isinstance(one, dict)]
    reasons = [str(one["reason"]) for one in each if one.get("reason")]
    code = next((_BY_REASON[reason] for reason in reasons if reason in _BY_REASON), None)
    if "required" in reasons:
        code = code or _MISSING.get(status)
    code = code or _BY_STATUS.get(status)
    if code is None:
        code = "gcs.server_error" if status >= 500 else "gcs.unclassified"
    detail = clean(f"{', '.join(reasons) or 'no reason'}: {error.get('message', '')} (HTTP {status})")
    retry_after = headers.get("Retry-After", "")
    seconds = float(retry_after) if re.fullmatch(r"\d{1,5}", retry_after) else None
    return fault(FAULTS, code, detail, retry_after_seconds=seconds)


def of_exception(error: BaseException, skew_seconds: float = 0.0) -> Fault:
    """Return the fault behind a request that got no answer, or credentials that could not be had.

    `skew_seconds`: by how much this machine's clock differs from the token server's.
    """
    detail = clean(f"{type(error).__name__}: {error}")
    grant = _grant_of(error)
    if grant is not None:
        is_skewed = grant == "invalid_grant" and abs(skew_seconds) > _TOLERATED_SKEW_SECONDS
        code = "gcs.clock" if is_skewed else _BY_GRANT.get(grant, "gcs.wrong_key")
        return fault(FAULTS, code, detail)
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            is_early = each.verify_code == _CERTIFICATE_NOT_YET_VALID
            return fault(FAULTS, "gcs.clock" if is_early else "gcs.tls", detail)
    for each in _chain(error):
        for cls in type(each).__mro__:
            if cls.__name__ in _BY_CLASS:
                return fault(FAULTS, _BY_CLASS[cls.__name__], detail)
    outer = {cls.__name__ for cls in type(error).__mro__}
    is_network = bool(outer & {"OSError", "RequestException", "TransportError", "RefreshError", "HTTPError"})
    return fault(FAULTS, "gcs.unreachable" if is_network else "gcs.unclassified", detail)


def clean(text: str) -> str:
    """Return `text` fit for people: no address of a session in it, and not too long."""
    return _SESSION.sub("upload_id=***", text)[:_LONGEST_DETAIL]


def _error_in(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    error = said.get("error") if isinstance(said, dict) else None
    return error if isinstance(error, dict) else {}


def _grant_of(error: BaseException) -> str | None:
    """Return the token server's error code. google.auth gives its answer as the second argument."""
    if type(error).__name__ == "RefreshError" and len(error.args) > 1 and isinstance(error.args[1], dict):
        return str(error.args[1].get("error", "")) or None
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
