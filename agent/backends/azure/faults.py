"""What can go wrong with Azure, by its error code, the status and the class of an exception; never by message text."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from agent.backends.azure.config import AzureConfig
from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "azure.unreachable": Advice(
        Kind.RETRYABLE, "Azure cannot be reached: check the network and the endpoint's address."
    ),
    "azure.unknown_host": Advice(
        Kind.RETRYABLE, "The account's address is not known: check its name, and the network's name service."
    ),
    "azure.timeout": Advice(Kind.RETRYABLE, "Azure does not answer in time: check the network."),
    "azure.slow_down": Advice(Kind.RETRYABLE, "Azure asks to slow down: nothing to do."),
    "azure.server_error": Advice(Kind.RETRYABLE, "Azure has a problem of its own: nothing to do."),
    "azure.full": Advice(Kind.RETRYABLE, "The storage is full: free some space."),
    "azure.clock": Advice(
        Kind.RETRYABLE, "This machine's clock is wrong: switch on its time synchronisation."
    ),
    "azure.container_going": Advice(
        Kind.RETRYABLE,
        "The container is being deleted: create it again when Azure is done, in about a minute.",
    ),
    "azure.busy": Advice(
        Kind.RETRYABLE,
        "Another program holds this name, by a lease or an unfinished upload: end it there, or wait.",
        Scope.ITEM,
    ),
    "azure.conflict": Advice(
        Kind.RETRYABLE, "Somebody else is writing the same name: nothing to do.", Scope.ITEM
    ),
    "azure.upload_gone": Advice(
        Kind.RETRYABLE, "Azure has dropped the unfinished upload: it starts again.", Scope.ITEM
    ),
    "azure.damaged": Advice(
        Kind.RETRYABLE, "Azure's copy differs from the file: it is sent again.", Scope.ITEM
    ),
    "azure.unclassified": Advice(
        Kind.RETRYABLE, "Azure refused for a reason that is not known here: see the details."
    ),
    "azure.wrong_key": Advice(
        Kind.NEEDS_USER, "Azure does not accept the account key or the SAS: copy it again from the portal."
    ),
    "azure.keys_off": Advice(
        Kind.NEEDS_USER, "This account takes no keys: allow them in its settings, or use a managed identity."
    ),
    "azure.sas_expired": Advice(
        Kind.NEEDS_USER, "The SAS is not valid at this time: make one with a later end, and enter it."
    ),
    "azure.no_identity": Advice(
        Kind.NEEDS_USER, "This machine has no managed identity: assign one, or use an account key or a SAS."
    ),
    "azure.access_denied": Advice(
        Kind.NEEDS_USER, "This login may not do this: give it the rights that the documentation lists."
    ),
    "azure.firewall": Advice(
        Kind.NEEDS_USER,
        "Azure refuses this login here: check the account's firewall, and what the SAS is limited to.",
    ),
    "azure.account_off": Advice(
        Kind.NEEDS_USER, "Azure has switched off the account or the container: see its page in the portal."
    ),
    "azure.no_container": Advice(
        Kind.NEEDS_USER, "The container does not exist: create it, or correct its name."
    ),
    "azure.tls": Advice(
        Kind.NEEDS_USER,
        "The certificate is not trusted: correct the endpoint, or name a file of certificates.",
    ),
    "azure.bad_settings": Advice(
        Kind.NEEDS_USER, "Azure cannot be used with these settings: see the details."
    ),
    "azure.no_checksum": Advice(
        Kind.NEEDS_USER, "This server does not check what arrives: set the wanted proof to readback."
    ),
    "azure.not_readable": Advice(
        Kind.NEEDS_USER, "An archived blob cannot be read back: choose another access tier, or another proof."
    ),
    "azure.exists": Advice(Kind.PERMANENT, "Another blob has this name.", Scope.ITEM),
    "azure.immutable": Advice(
        Kind.PERMANENT, "A retention policy or a legal hold keeps this blob as it is.", Scope.ITEM
    ),
    "azure.too_large": Advice(Kind.PERMANENT, "Azure does not take files of this size.", Scope.ITEM),
    "azure.bad_key": Advice(
        Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM
    ),
    "azure.refused_name": Advice(
        Kind.PERMANENT, "Azure cannot store this name: change the template.", Scope.ITEM
    ),
}

_BY_CODE = {
    "AuthenticationFailed": "azure.wrong_key",
    "InvalidAuthenticationInfo": "azure.wrong_key",
    "NoAuthenticationInformation": "azure.wrong_key",
    "PublicAccessNotPermitted": "azure.wrong_key",
    "KeyBasedAuthenticationNotPermitted": "azure.keys_off",
    "AuthorizationPermissionMismatch": "azure.access_denied",
    "InsufficientAccountPermissions": "azure.access_denied",
    "AuthorizationResourceTypeMismatch": "azure.access_denied",
    "AuthorizationServiceMismatch": "azure.access_denied",
    "UnauthorizedBlobOverwrite": "azure.access_denied",
    "AuthorizationFailure": "azure.firewall",
    "AuthorizationSourceIPMismatch": "azure.firewall",
    "AuthorizationProtocolMismatch": "azure.firewall",
    "AccountIsDisabled": "azure.account_off",
    "ContainerDisabled": "azure.account_off",
    "ContainerNotFound": "azure.no_container",
    "ContainerBeingDeleted": "azure.container_going",
    "ServerBusy": "azure.slow_down",
    "TooManyRequests": "azure.slow_down",
    "OperationTimedOut": "azure.timeout",
    "InternalError": "azure.server_error",
    "AccountBeingCreated": "azure.server_error",
    "Md5Mismatch": "azure.damaged",
    "Crc64Mismatch": "azure.damaged",
    "InvalidMd5": "azure.damaged",
    "IncompleteBody": "azure.damaged",
    "BlobAlreadyExists": "azure.exists",
    "ConditionNotMet": "azure.exists",
    "TargetConditionNotMet": "azure.exists",
    "InvalidBlobType": "azure.exists",
    "BlobImmutableDueToPolicy": "azure.immutable",
    "InvalidBlockList": "azure.upload_gone",
    "InvalidBlockId": "azure.busy",  # other blocks of this name have ids of another length
    "InvalidBlobOrBlock": "azure.busy",  # the same, as the service says it
    "BlockCountExceedsLimit": "azure.busy",  # 100,000 blocks that nobody has committed
    "LeaseIdMissing": "azure.busy",
    "LeaseIdMismatchWithBlobOperation": "azure.busy",
    "PendingCopyOperation": "azure.busy",
    "RequestBodyTooLarge": "azure.too_large",
    "BlockListTooLong": "azure.too_large",
    "InvalidResourceName": "azure.refused_name",
    "InvalidUri": "azure.refused_name",
    "BlobArchived": "azure.not_readable",
    "BlobBeingRehydrated": "azure.not_readable",
    "AccessTierNotSupportedForBlobType": "azure.bad_settings",
    "BlobAccessTierNotSupportedForAccountType": "azure.bad_settings",
    "InvalidHeaderValue": "azure.bad_settings",
    "FeatureVersionMismatch": "azure.bad_settings",
}

# Answers to HEAD have no body, and behind proxies no code of Azure's.
_BY_STATUS = {
    401: "azure.wrong_key",
    403: "azure.access_denied",
    408: "azure.timeout",
    409: "azure.conflict",
    412: "azure.exists",
    413: "azure.too_large",
    429: "azure.slow_down",
    503: "azure.slow_down",
    507: "azure.full",
}

# The SDK's exceptions by the names of their classes, so that this module does not load it.
_BY_CLASS = {
    "CredentialUnavailableError": "azure.no_identity",
    "AzureSigningError": "azure.wrong_key",
    "ClientAuthenticationError": "azure.no_identity",  # without an answer of the storage: of the identity's
    "ServiceRequestTimeoutError": "azure.timeout",
    "ServiceResponseTimeoutError": "azure.timeout",
    "TimeoutError": "azure.timeout",
    "ServiceRequestError": "azure.unreachable",
    "ServiceResponseError": "azure.unreachable",
    "IncompleteReadError": "azure.unreachable",
    "HttpResponseError": "azure.unreachable",  # an answer that broke off, or is none of Azure's
    "DecodeError": "azure.unreachable",
}

_CERTIFICATE_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID: a clock that has not been set since power-on
_CLOCK_SECONDS = 15 * 60  # how far off a signed request may be
_LONGEST_DETAIL = 300


class Refusal(Exception):
    """What Azure said, as the cause of a Fault: the SDK's own hold the address, and so the SAS."""

    def __init__(self, code: str, status: int):
        super().__init__(f"{code} (HTTP {status})")
        self.code = code
        self.status = status


def code_of(refusal: Fault) -> str:
    """Return Azure's own error code behind `refusal`, empty if it did not say one."""
    return refusal.__cause__.code if isinstance(refusal.__cause__, Refusal) else ""


def status_of(refusal: Fault) -> int:
    """Return the HTTP status behind `refusal`, 0 if there was no answer."""
    return refusal.__cause__.status if isinstance(refusal.__cause__, Refusal) else 0


@contextmanager
def translated(config: AzureConfig) -> Iterator[None]:
    """Let no exception of the SDK or of the sockets below it out, and no secret into a detail or a cause."""
    from azure.core.exceptions import AzureError
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (AzureError, RequestException, HTTPError, OSError) as error:
        response = getattr(error, "response", None)
        headers: Mapping[str, str] = getattr(response, "headers", None) or {}
        status = int(getattr(response, "status_code", 0) or 0)
        code = _text(headers.get("x-ms-error-code") or getattr(error, "error_code", ""))
        if status >= 300:
            found = _of_answer(config, code, status, headers, error)
        else:
            said = _root(error)
            found = fault(FAULTS, _code_of_exception(error), _clean(f"{type(said).__name__}: {said}", config))
        raise found from Refusal(code, status)


def _of_answer(
    config: AzureConfig, code: str, status: int, headers: Mapping[str, str], error: BaseException
) -> Fault:
    known = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if known is None:
        known = "azure.server_error" if status >= 500 else "azure.unclassified"
    if known == "azure.wrong_key":
        known = _why_refused(config, code, headers)
    message = str(getattr(error, "message", "")).partition("\n")[0]
    after = str(headers.get("Retry-After", ""))
    seconds = float(after) if re.fullmatch(r"\d{1,5}", after) else None
    return fault(
        FAULTS, known, _clean(f"{code}: {message} (HTTP {status})", config), retry_after_seconds=seconds
    )


def _why_refused(config: AzureConfig, code: str, headers: Mapping[str, str]) -> str:
    """Tell a signature that is wrong from one that is out of date: Azure has one code for both.

    By the hour that its answer names, and what we sent.
    """
    if config.managed_identity and not code:
        return "azure.no_identity"
    there = _hour(headers.get("Date", ""), parsedate_to_datetime)
    if there is None:
        return "azure.wrong_key"
    if config.key() and abs(there.timestamp() - time.time()) > _CLOCK_SECONDS:
        return "azure.clock"
    fields = config.sas_fields()
    start, end = (_hour(fields.get(name, ""), datetime.fromisoformat) for name in ("st", "se"))
    if (end and there >= end) or (start and there < start):
        return "azure.sas_expired"
    return "azure.wrong_key"


def _hour(text: str, read: Any) -> datetime | None:
    try:
        moment: datetime = read(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _code_of_exception(error: BaseException) -> str:
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return "azure.clock" if each.verify_code == _CERTIFICATE_NOT_YET_VALID else "azure.tls"
    if any(isinstance(each, socket.gaierror) for each in chain):
        return "azure.unknown_host"
    for each in chain:
        for cls in type(each).__mro__:
            if cls.__name__ in _BY_CLASS:
                return _BY_CLASS[cls.__name__]
    return "azure.unreachable" if isinstance(error, OSError) else "azure.unclassified"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it came from: the SDK, requests and urllib3 each wrap it once more."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__


def _root(error: BaseException) -> BaseException:
    """Return what happened in the end: the wrappers around it quote the address."""
    return list(_chain(error))[-1]


def _text(code: object) -> str:
    return str(getattr(code, "value", code) or "")


def _clean(text: str, config: AzureConfig) -> str:
    for secret in config.secrets():
        text = text.replace(secret, "***")
    return re.sub(r"sig=[^&\s]+", "sig=***", text)[:_LONGEST_DETAIL]
