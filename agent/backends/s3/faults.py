"""What can go wrong with an S3 store, by error code, status and exception class; never by message text."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent.faults import Advice, Fault, Kind, Scope, fault

FAULTS: dict[str, Advice] = {
    "s3.unreachable": Advice(
        Kind.RETRYABLE, "The store cannot be reached: check the network and the endpoint's address."
    ),
    "s3.timeout": Advice(Kind.RETRYABLE, "The store does not answer in time: check the network."),
    "s3.slow_down": Advice(Kind.RETRYABLE, "The store asks to slow down: nothing to do."),
    "s3.server_error": Advice(Kind.RETRYABLE, "The store has a problem of its own: nothing to do."),
    "s3.full": Advice(Kind.RETRYABLE, "The store is full or a quota is used up: free some space."),
    "s3.clock": Advice(Kind.RETRYABLE, "This machine's clock is wrong: switch on its time synchronisation."),
    "s3.conflict": Advice(
        Kind.RETRYABLE, "Somebody else is writing the same key: nothing to do.", Scope.ITEM
    ),
    "s3.upload_gone": Advice(
        Kind.RETRYABLE, "The store has dropped the unfinished upload: it starts again.", Scope.ITEM
    ),
    "s3.damaged": Advice(
        Kind.RETRYABLE, "The store's copy differs from the file: it is sent again.", Scope.ITEM
    ),
    "s3.unclassified": Advice(
        Kind.RETRYABLE, "The store refused for a reason that is not known here: see the details."
    ),
    "s3.no_credentials": Advice(
        Kind.NEEDS_USER, "No keys are set for this store: enter access key and secret key."
    ),
    "s3.no_profile": Advice(
        Kind.NEEDS_USER, "This machine has no such profile: correct its name, or the files in ~/.aws."
    ),
    "s3.no_role": Advice(
        Kind.NEEDS_USER, "This machine has no role at Amazon: assign one to it, or enter keys."
    ),
    "s3.wrong_keys": Advice(Kind.NEEDS_USER, "The store does not accept the keys: correct them."),
    "s3.expired_keys": Advice(Kind.NEEDS_USER, "The session token has expired: enter fresh keys."),
    "s3.access_denied": Advice(
        Kind.NEEDS_USER, "The keys may not do this: give them the rights that the documentation lists."
    ),
    "s3.account": Advice(Kind.NEEDS_USER, "The store has suspended the account: ask the store."),
    "s3.no_bucket": Advice(Kind.NEEDS_USER, "The bucket does not exist: create it, or correct its name."),
    "s3.wrong_region": Advice(Kind.NEEDS_USER, "The bucket is in another region: correct the region."),
    "s3.tls": Advice(
        Kind.NEEDS_USER,
        "The store's certificate is not trusted: correct the endpoint, or name a file of certificates.",
    ),
    "s3.bad_settings": Advice(
        Kind.NEEDS_USER, "The store cannot be used with these settings: see the details."
    ),
    "s3.kms_key": Advice(
        Kind.NEEDS_USER, "The encryption key cannot be used: correct its id, or switch it on at KMS."
    ),
    "s3.no_encryption": Advice(
        Kind.NEEDS_USER,
        "This store does not encrypt as asked: leave encryption empty, or choose another store.",
    ),
    "s3.no_checksum": Advice(
        Kind.NEEDS_USER, "This store does not prove checksums: set the wanted proof to readback."
    ),
    "s3.exists": Advice(Kind.PERMANENT, "Another object has this key.", Scope.ITEM),
    "s3.too_large": Advice(Kind.PERMANENT, "The store does not take objects of this size.", Scope.ITEM),
    "s3.bad_key": Advice(Kind.PERMANENT, "This name cannot be used here: change the template.", Scope.ITEM),
    "s3.refused_name": Advice(
        Kind.PERMANENT, "The store cannot keep this name: change the template.", Scope.ITEM
    ),
    "s3.not_readable": Advice(
        Kind.NEEDS_USER,
        "The object cannot be read back from its storage class: choose another, or another proof.",
    ),
}

_BY_CODE = {
    "InvalidAccessKeyId": "s3.wrong_keys",
    "SignatureDoesNotMatch": "s3.wrong_keys",
    "InvalidToken": "s3.wrong_keys",
    "InvalidClientTokenId": "s3.wrong_keys",
    "AuthFailure": "s3.wrong_keys",
    "ExpiredToken": "s3.expired_keys",
    "TokenRefreshRequired": "s3.expired_keys",
    "AccessDenied": "s3.access_denied",
    "AllAccessDisabled": "s3.account",
    "AccountProblem": "s3.account",
    "NotSignedUp": "s3.account",
    "NoSuchBucket": "s3.no_bucket",
    "InvalidBucketName": "s3.no_bucket",
    "PermanentRedirect": "s3.wrong_region",
    "TemporaryRedirect": "s3.wrong_region",
    "AuthorizationHeaderMalformed": "s3.wrong_region",
    "IllegalLocationConstraintException": "s3.wrong_region",
    "RequestTimeTooSkewed": "s3.clock",
    "RequestExpired": "s3.clock",
    "SlowDown": "s3.slow_down",
    "SlowDownRead": "s3.slow_down",
    "SlowDownWrite": "s3.slow_down",
    "ServiceUnavailable": "s3.slow_down",
    "Throttling": "s3.slow_down",
    "ThrottlingException": "s3.slow_down",
    "RequestLimitExceeded": "s3.slow_down",
    "TooManyRequests": "s3.slow_down",
    "InternalError": "s3.server_error",
    "RequestTimeout": "s3.timeout",
    "QuotaExceeded": "s3.full",
    "XMinioStorageFull": "s3.full",
    "XMinioAdminBucketQuotaExceeded": "s3.full",
    "InsufficientStorage": "s3.full",
    "NoSuchUpload": "s3.upload_gone",
    "InvalidPart": "s3.damaged",
    "InvalidPartOrder": "s3.damaged",
    "EntityTooSmall": "s3.damaged",
    "BadDigest": "s3.damaged",
    "InvalidDigest": "s3.damaged",
    "XAmzContentSHA256Mismatch": "s3.damaged",
    "XAmzContentChecksumMismatch": "s3.damaged",
    "IncompleteBody": "s3.damaged",
    "PreconditionFailed": "s3.exists",
    "ConditionalRequestConflict": "s3.conflict",
    "OperationAborted": "s3.conflict",
    "EntityTooLarge": "s3.too_large",
    "KeyTooLongError": "s3.bad_key",
    "InvalidURI": "s3.refused_name",
    "XMinioInvalidObjectName": "s3.refused_name",
    "KMS.NotFoundException": "s3.kms_key",
    "KMS.DisabledException": "s3.kms_key",
    "KMS.KMSInvalidStateException": "s3.kms_key",
    "KMS.InvalidKeyUsageException": "s3.kms_key",
    "KMS.InvalidArnException": "s3.kms_key",
    "InvalidEncryptionAlgorithmError": "s3.no_encryption",
    "InvalidStorageClass": "s3.bad_settings",
    "NotImplemented": "s3.bad_settings",
    "InvalidObjectState": "s3.not_readable",
}

# Answers to HEAD have no body, and so only a status.
_BY_STATUS = {
    301: "s3.wrong_region",
    307: "s3.wrong_region",
    403: "s3.access_denied",
    408: "s3.timeout",
    409: "s3.conflict",
    412: "s3.exists",
    413: "s3.too_large",
    429: "s3.slow_down",
    503: "s3.slow_down",
    507: "s3.full",
}

# botocore's exceptions by the names of their classes, so that this module does not load botocore.
_BY_CLASS = {
    "NoCredentialsError": "s3.no_credentials",
    "PartialCredentialsError": "s3.no_credentials",
    "CredentialRetrievalError": "s3.no_credentials",
    "TokenRetrievalError": "s3.no_credentials",
    "MetadataRetrievalError": "s3.no_role",
    "ProfileNotFound": "s3.no_profile",
    "ConnectTimeoutError": "s3.timeout",
    "ReadTimeoutError": "s3.timeout",
    "ParamValidationError": "s3.bad_settings",
    "InvalidRegionError": "s3.bad_settings",
    "NoRegionError": "s3.bad_settings",
    "UnknownEndpointError": "s3.bad_settings",
    "EndpointProviderError": "s3.bad_settings",
    "ConnectionError": "s3.unreachable",
    "HTTPClientError": "s3.unreachable",  # and its kin: refused, closed, proxy, incomplete answers
    "ResponseStreamingError": "s3.unreachable",
    "IncompleteReadError": "s3.unreachable",
}

_CERTIFICATE_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID: a clock that has not been set since power-on
_LONGEST_DETAIL = 300


@contextmanager
def translated(secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Let no exception of botocore or of the sockets below it out, and no secret into a detail."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        raise _of_answer(error.response, secrets) from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise fault(
            FAULTS, _code_of_exception(error), _clean(f"{type(error).__name__}: {error}", secrets)
        ) from error


def _of_answer(response: Mapping[str, Any], secrets: tuple[str, ...]) -> Fault:
    said = response.get("Error", {})
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    code = _BY_CODE.get(str(said.get("Code"))) or _BY_STATUS.get(status)
    if code is None:
        code = "s3.server_error" if status >= 500 else "s3.unclassified"
    detail = _clean(f"{said.get('Code')}: {said.get('Message')} (HTTP {status})", secrets)
    retry_after = str(metadata.get("HTTPHeaders", {}).get("retry-after", ""))
    seconds = float(retry_after) if re.fullmatch(r"\d{1,5}", retry_after) else None
    return fault(FAULTS, code, detail, retry_after_seconds=seconds)


def _code_of_exception(error: BaseException) -> str:
    refused = _certificate_refusal(error)
    if refused is not None:
        return "s3.clock" if refused.verify_code == _CERTIFICATE_NOT_YET_VALID else "s3.tls"
    for cls in type(error).__mro__:
        if cls.__name__ in _BY_CLASS:
            return _BY_CLASS[cls.__name__]
    return "s3.unreachable" if isinstance(error, OSError) else "s3.unclassified"


def _certificate_refusal(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Find OpenSSL's verdict in the chain: botocore and urllib3 each wrap it once more."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text[:_LONGEST_DETAIL]
