"""Classification of storage faults, and one `OSError` type for them that names the URL without its credentials.

Every filesystem package has its own error classes and wraps them in its own way. `is_transient` looks at an error and
then at its causes, and decides by HTTP status, service code, errno and class name. An unknown error counts as
permanent, so that it is raised at once instead of being retried for minutes. `lion_ray.store.patience.retry` calls it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

from lion_ray.store.places import PlaceError
from lion_ray.store.redaction import logins, redacted

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "ServerBusy"}
FAILED = {"RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "OperationTimedOut"}
TRANSIENT_CODES = THROTTLED | FAILED | {"TooManyRequestsException", "BandwidthLimitExceeded"}
TRANSIENT_ERRNOS = frozenset(
    {errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.EHOSTUNREACH}
    | {errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.EAGAIN, errno.EBUSY, errno.EREMOTEIO, errno.ESTALE}
)
LASTING_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
    | {errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG, errno.EINVAL, errno.ENOSYS}
)
TRANSIENT_KINDS = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
)  # a host name may resolve later
LASTING_KINDS = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
NO_LOGIN = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError"}
LASTING_NAMES = NO_LOGIN | {"ParamValidationError", "ClientConnectorCertificateError", "ClientAuthenticationError"}
BOTOCORE = {"HTTPClientError", "ConnectionError", "EndpointConnectionError", "ResponseParserError"}
BOTOCORE_LOGIN = {"MetadataRetrievalError", "CredentialRetrievalError"}
AIOHTTP = {"ClientConnectionError", "ClientPayloadError", "ServerDisconnectedError"}  # gcsfs, adlfs and http alike
AZURE = {"ServiceRequestError", "ServiceResponseError"}
OTHERS = {"FSTimeoutError", "TimeoutError", "IncompleteRead", "ProtocolError", "TransportError"}
TRANSIENT_NAMES = BOTOCORE | BOTOCORE_LOGIN | AIOHTTP | AZURE | OTHERS


UNKNOWN_HOST = ("Name or service not known", "nodename nor servname")


class StorageError(OSError):
    """The storage refuses an operation or does not answer in time. One line names the URL and the reason."""


class MissingError(StorageError, FileNotFoundError):
    """There is no such file, folder or bucket."""


class DeniedError(StorageError, PermissionError):
    """The storage denies access."""


def is_transient(fault: BaseException) -> bool:
    """Whether the same call may succeed if it is repeated a little later."""
    answers = (_is_transient_alone(each) for each in _chain(fault))
    return next((answer for answer in answers if answer is not None), False)


def is_unknown_host(fault: BaseException) -> bool:
    """Whether the name service reports that the host does not exist.

    A name service that cannot be reached gives another error.
    """
    return any(
        (isinstance(each, socket.gaierror) and each.errno == socket.EAI_NONAME)
        or any(message in str(each) for message in UNKNOWN_HOST)
        for each in _chain(fault)
    )


def as_storage_error(fault: BaseException, url: str, note: str = "") -> StorageError:
    """Convert `fault` to a `StorageError`, a `MissingError` or a `DeniedError`.

    Args:
        fault: the error that the storage's package raised.
        url: the URL of the operation; its credentials are masked.
        note: text that is appended to the message.
    """
    if isinstance(fault, FileNotFoundError) and fault.__cause__ is not None and is_transient(fault):
        fault = fault.__cause__  # fsspec could not find out whether the file exists
    if isinstance(fault, OSError):
        number, text = fault.errno, fault.strerror or str(fault)
    elif isinstance(fault, PlaceError):
        number, text = errno.EINVAL, str(fault)
    else:
        number, text = None, f"{type(fault).__name__}: {fault}"
    text = text.partition("RequestId:")[0].strip()  # Azure appends several lines
    for login in logins(url):
        text = text.replace(f"{login}@", "***@")  # a package may quote the login without the rest of the URL
    if isinstance(fault, FileNotFoundError) or number == errno.ENOENT:
        text = text if "bucket" in text else os.strerror(errno.ENOENT)  # the messages of object stores repeat the key
        return MissingError(errno.ENOENT, redacted(text + note), redacted(url))
    if isinstance(fault, PermissionError):
        return DeniedError(number or errno.EACCES, redacted(text + note), redacted(url))
    return StorageError(number or errno.EIO, redacted(text + note), redacted(url))


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    """The error, then its causes."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        yield fault
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)


def _is_transient_alone(fault: BaseException) -> bool | None:
    """Whether this error, without its causes, is transient; None if this cannot be known from it alone."""
    names = {kind.__name__ for kind in type(fault).__mro__}
    status, code = _server_answer(fault)
    if status is not None or code:
        return code in TRANSIENT_CODES or status in TRANSIENT_STATUS
    if "SSLError" in names:
        return "certificate" not in str(fault).lower()
    if isinstance(fault, FileNotFoundError) and fault.__cause__ is not None:
        return None  # fsspec raises this for every failure on the way to an HTTP server
    if names & LASTING_NAMES or isinstance(fault, LASTING_KINDS):
        return False
    if names & TRANSIENT_NAMES or isinstance(fault, TRANSIENT_KINDS):
        return True
    number = fault.errno if isinstance(fault, OSError) else None
    return True if number in TRANSIENT_ERRNOS else False if number in LASTING_ERRNOS else None


def _server_answer(fault: Any) -> tuple[int | None, str]:
    """The HTTP status and the service's error code. Without a server's answer they are None and an empty text."""
    response = getattr(fault, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, str(response.get("Error", {}).get("Code", ""))
    for name in ("status", "status_code", "code"):  # aiohttp, azure, gcsfs
        value = str(getattr(fault, name, ""))
        if value.isdigit() and 400 <= int(value) <= 599:
            return int(value), ""
    return None, ""
