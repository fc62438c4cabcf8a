"""What went wrong with a storage: whether it passes by itself, and one `OSError` that names the URL and no secret.

Every filesystem package raises kinds of its own and wraps them differently; `is_transient` looks at the error, then at
what caused it, and goes by HTTP status, service code, errno and the names of kinds. What it does not know is taken to
last: it is said at once instead of being repeated for minutes.
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
TRANSIENT_KINDS = (ConnectionError, TimeoutError, socket.gaierror)  # a name that does not resolve may do so later
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
    """The storage refuses, or has not answered for too long. One line says which URL and why."""


class MissingError(StorageError, FileNotFoundError):
    """Nothing is there."""


class DeniedError(StorageError, PermissionError):
    """It is not allowed."""


def is_transient(fault: BaseException) -> bool:
    """Whether the same call may well succeed a little later."""
    verdicts = (_verdict(each) for each in _chain(fault))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def is_unknown_host(fault: BaseException) -> bool:
    """Whether the name service says that there is no such host; one that is out of reach says something else."""
    return any(
        (isinstance(each, socket.gaierror) and each.errno == socket.EAI_NONAME)
        or any(words in str(each) for words in UNKNOWN_HOST)
        for each in _chain(fault)
    )


def as_storage_error(fault: BaseException, url: str, note: str = "") -> StorageError:
    """`fault` as one of our own kinds, with the URL."""
    if isinstance(fault, FileNotFoundError) and fault.__cause__ is not None and is_transient(fault):
        fault = fault.__cause__  # nobody knows whether it is there
    if isinstance(fault, OSError):
        number, text = fault.errno, fault.strerror or str(fault)
    elif isinstance(fault, PlaceError):
        number, text = errno.EINVAL, str(fault)
    else:
        number, text = None, f"{type(fault).__name__}: {fault}"
    text = text.partition("RequestId:")[0].strip()  # Azure goes on for lines
    for login in logins(url):
        text = text.replace(f"{login}@", "***@")  # a package may quote this part of the URL alone
    if isinstance(fault, FileNotFoundError) or number == errno.ENOENT:
        text = text if "bucket" in text else os.strerror(errno.ENOENT)  # object stores repeat the key
        return MissingError(errno.ENOENT, redacted(text + note), redacted(url))
    if isinstance(fault, PermissionError):
        return DeniedError(number or errno.EACCES, redacted(text + note), redacted(url))
    return StorageError(number or errno.EIO, redacted(text + note), redacted(url))


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    """The error, then what it was made from."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        yield fault
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)


def _verdict(fault: BaseException) -> bool | None:
    """Whether it passes; None if this error alone does not say."""
    names = {kind.__name__ for kind in type(fault).__mro__}
    status, code = _answer(fault)
    if status is not None or code:
        return code in TRANSIENT_CODES or status in TRANSIENT_STATUS
    if "SSLError" in names:
        return "certificate" not in str(fault).lower()
    if isinstance(fault, FileNotFoundError) and fault.__cause__ is not None:
        return None  # fsspec's word for whatever happened on the way to an HTTP server
    if names & LASTING_NAMES or isinstance(fault, LASTING_KINDS):
        return False
    if names & TRANSIENT_NAMES or isinstance(fault, TRANSIENT_KINDS):
        return True
    number = fault.errno if isinstance(fault, OSError) else None
    return True if number in TRANSIENT_ERRNOS else False if number in LASTING_ERRNOS else None


def _answer(fault: Any) -> tuple[int | None, str]:
    """The HTTP status and the service's code, where the error carries the server's answer."""
    response = getattr(fault, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status, str(response.get("Error", {}).get("Code", ""))
    for name in ("status", "status_code", "code"):  # aiohttp, azure, gcsfs
        value = str(getattr(fault, name, ""))
        if value.isdigit() and 400 <= int(value) <= 599:
            return int(value), ""
    return None, ""
