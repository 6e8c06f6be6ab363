"""An account of an object store: S3 and what is compatible, Google Cloud Storage, Azure Blob Storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from obstore.store import AzureStore, GCSStore, S3Store

from agents.commands import Secret
from agents.gateway.store import StoreFailed

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # exist for checkers of types only

Client = S3Store | GCSStore | AzureStore

# A pack of 16 MiB through 1 Mbit/s takes 134 s. restic on the device gives up a request after 5 minutes
# without a byte: what failed late is not tried again.
REQUEST_TIMEOUT_S = 240.0
RETRIES_S = 60.0


class ObjectKind(StrEnum):
    """The kinds of object stores; the value is restic's word for its own way to them."""

    S3 = "s3"
    GCS = "gs"
    AZURE = "azure"


@dataclass(frozen=True, slots=True)
class Account:
    """What opens a bucket (Azure: a container). `endpoint` is a URL, "" for the provider's own.

    `secret` is the secret key of S3, the account's key of Azure, the whole key file (JSON) of Google.
    `prefix` is the part of the bucket that is ours, "" for all of it."""

    kind: ObjectKind
    bucket: str
    secret: Secret = field(repr=False)
    account: str = ""
    endpoint: str = ""
    region: str = ""
    prefix: str = ""


def connect(account: Account, *, request_s: float | None = None, retries_s: float | None = None) -> Client:
    """Given an account, return a client for its part of the bucket. Asks nobody yet.

    What the variables AWS_..., GOOGLE_... and AZURE_... of this process say must not decide where backups
    go: the place and the account are always given. Raise StoreFailed when the parts make no client."""
    request_s, retries_s = request_s or REQUEST_TIMEOUT_S, retries_s or RETRIES_S
    client: ClientConfig = {
        "allow_http": account.endpoint.startswith("http://"),
        "timeout": timedelta(seconds=request_s),
        "connect_timeout": timedelta(seconds=min(10.0, request_s)),
    }
    retry: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=retries_s)}
    prefix = account.prefix.strip("/") or None
    try:
        if account.kind is ObjectKind.S3:
            return _connect_s3(account, prefix, client, retry)
        if account.kind is ObjectKind.GCS:
            return GCSStore(
                account.bucket,
                prefix=prefix,
                service_account_key=account.secret.reveal(),
                client_options=client,
                retry_config=retry,
            )
        return _connect_azure(account, prefix, client, retry)
    except Exception as error:  # obstore raises ValueError, its own errors and those of what it is made of
        raise StoreFailed(
            "the account of the object store is not one: a part of it is missing or cannot be read",
            remedy="Type the account and its secret again under Repositories.",
        ) from error


def _connect_s3(account: Account, prefix: str | None, client: ClientConfig, retry: RetryConfig) -> S3Store:
    region = account.region or "us-east-1"
    endpoint = account.endpoint or f"https://s3.{region}.amazonaws.com"
    return S3Store(
        account.bucket,
        prefix=prefix,
        endpoint=endpoint,
        region=region,
        access_key_id=account.account,
        secret_access_key=account.secret.reveal(),
        virtual_hosted_style_request=False,
        client_options=client,
        retry_config=retry,
    )


def _connect_azure(
    account: Account, prefix: str | None, client: ClientConfig, retry: RetryConfig
) -> AzureStore:
    endpoint = account.endpoint or f"https://{account.account}.blob.core.windows.net"
    return AzureStore(
        account.bucket,
        prefix=prefix,
        account_name=account.account,
        account_key=account.secret.reveal(),
        endpoint=endpoint,
        client_options=client,
        retry_config=retry,
    )
