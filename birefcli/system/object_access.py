"""How object stores are reached: endpoints, regions and credentials, where their own tools look.

What obstore finds in the environment by itself is not said again here: keys, roles of machines and
of containers, web identities, files of Google's, managed identities of Azure's.
"""

import errno
import os
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from birefcli.errors import UsageError
from birefcli.system.object_faults import is_panic, object_error, one_line, translated
from birefcli.system.paths import expanded

if TYPE_CHECKING:
    from obstore.store import (
        AzureConfig,
        AzureStore,
        ClientConfig,
        GCSConfig,
        GCSStore,
        ObjectStoreMethods,
        RetryConfig,
        S3Config,
        S3CredentialProvider,
        S3Store,
    )

Backend: TypeAlias = "ObjectStoreMethods"
"""A store of obstore's."""
CONNECT = 10.0  # seconds that a connection may take
WHOLE = timedelta(days=1)  # of one request: what makes no progress is noticed much earlier
CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_USE_AZURE_CLI=true",
}
"""What to do where a scheme's credentials are found nowhere."""
_AWS_OWN = (  # any of these, and obstore finds the credentials
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_SETTINGS = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    ),
    "gs": (
        *("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"),
        "GOOGLE_SERVICE_ACCOUNT_PATH",
    ),
    "az": (
        *("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
        *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_TOKEN"),
        *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"),
        *("AZURE_STORAGE_KEY", "AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET"),
        *("AZURE_STORAGE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"),
    ),
}
"""Variables that are one line each, beside the endpoints."""
_AWS_KEYS = ("aws_access_key_id", "aws_secret_access_key")
_AWS_SOURCES = ("sso_", "role_arn", "credential_process", "credential_source", "web_identity")


def open_backend(scheme: str, bucket: str, stall: float) -> Backend:
    """A client of obstore's for a bucket; nothing is asked of it.

    ``stall``: seconds without a byte after which a request counts as lost. Raises UsageError
    where the package is not there, OSError where the environment says nothing usable.
    """
    try:
        from obstore.exceptions import BaseError
    except ImportError:
        text = f"{scheme}://{bucket}: object stores need the package obstore"
        raise UsageError(text, hint="pip install 'birefcli[cloud]'") from None
    url = f"{scheme}://{bucket}"
    _refuse_odd_settings(scheme, url)
    try:
        match scheme:
            case "s3":
                return _open_s3(bucket, stall)
            case "gs":
                return _open_gcs(bucket, stall)
            case _:
                return _open_azure(bucket, stall)
    except BaseException as error:
        if isinstance(error, (BaseError, ValueError)) or is_panic(error):
            raise translated(error, url, CREDENTIALS[scheme]) from None
        raise


def _refuse_odd_settings(scheme: str, url: str) -> None:
    """See that no setting has a line break in it, as files of secrets do that echo has written.

    Signatures would be wrong by it, and obstore breaks off. Raises OSError without the value.
    """
    for name in (*_SETTINGS[scheme], *_ENDPOINTS[scheme]):
        value = os.environ.get(name, "")
        if any(ord(char) < 32 or ord(char) == 127 for char in value):
            at_end = value.rstrip().isprintable()
            what = "ends in a line break" if at_end else "has a control character in it"
            text = f"the variable {name} {what}; set it without one"
            raise object_error(errno.EINVAL, text, url)


def _endpoint(scheme: str, bucket: str, other: str, what: str) -> str:
    """What the variables say, or else ``other`` does, which is ``what``. Raises OSError."""
    found = next((name for name in _ENDPOINTS[scheme] if os.environ.get(name)), None)
    value, told = (other, what) if found is None else (os.environ[found], f"the variable {found}")
    if value and not value.lower().startswith(("http://", "https://")):
        text = f"{told} is no address; it begins with http:// or https://"
        raise object_error(errno.EINVAL, text, f"{scheme}://{bucket}")
    return value


def _client(endpoint: str, stall: float) -> "ClientConfig":
    return {
        "allow_http": endpoint.lower().startswith("http:"),
        "connect_timeout": timedelta(seconds=min(CONNECT, stall)),
        "read_timeout": timedelta(seconds=stall),
        "timeout": WHOLE,
    }


def _once() -> "RetryConfig":
    """No second try within obstore: how long to go on is known outside."""
    return {"max_retries": 0, "retry_timeout": WHOLE}


def _first(*names: str) -> str:
    """The first of these variables that is set; empty where none is."""
    return next((value for name in names if (value := os.environ.get(name))), "")


# S3, and what speaks like it


def _open_s3(bucket: str, stall: float) -> "S3Store":
    from obstore.store import S3Store

    profile = _aws_profile()
    # Not all that speak S3 know how to delete many at once.
    config: S3Config = {"disable_bulk_delete": True}
    endpoint = _endpoint(
        "s3", bucket, profile.get("endpoint_url", ""), "the profile's endpoint_url"
    )
    if endpoint:
        config["endpoint"] = endpoint
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION") or profile.get("region", "")
    if region:
        config["region"] = region
    provider = None
    if not _first(*_AWS_OWN):
        provider = _aws_credentials(profile, config, f"s3://{bucket}")
    return S3Store(
        bucket,
        config=config,
        client_options=_client(endpoint, stall),
        retry_config=_once(),
        credential_provider=provider,
    )


def _aws_profile() -> dict[str, str]:
    """What the files of AWS's tools say of the profile in use; empty where they are not there."""
    import configparser  # few need it

    found = configparser.RawConfigParser(strict=False, default_section="")
    name = _first("AWS_PROFILE", "AWS_DEFAULT_PROFILE") or "default"
    read: dict[str, str] = {}
    for variable, usual, section in (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = expanded(os.environ.get(variable) or f"~/.aws/{usual}")
        try:
            found.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeError):
            raise object_error(errno.EINVAL, "is no file of profiles", str(path)) from None
        if found.has_section(section):
            read |= dict(found.items(section))
    return read


def _aws_credentials(
    profile: dict[str, str], config: "S3Config", url: str
) -> "S3CredentialProvider | None":
    """Put a profile's keys into ``config``, or have boto3 follow it; None without a provider.

    Raises OSError where credentials are nowhere to be found.
    """
    named = _first("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    if all(profile.get(key) for key in _AWS_KEYS):
        config["access_key_id"] = profile[_AWS_KEYS[0]]
        config["secret_access_key"] = profile[_AWS_KEYS[1]]
        if profile.get("aws_session_token"):
            config["session_token"] = profile["aws_session_token"]
        return None
    if any(key.startswith(_AWS_SOURCES) for key in profile):
        return _boto3_credentials(named or "default", url)
    if named:
        text = f"the profile {named} has no credentials; {CREDENTIALS['s3']}"
        raise object_error(errno.EACCES, text, url)
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        text = f"no credentials were found; {CREDENTIALS['s3']}"
        raise object_error(errno.EACCES, text, url)
    return None  # a machine's own role


def _boto3_credentials(profile: str, url: str) -> "S3CredentialProvider":
    """Sign-ons and roles of a profile, which AWS's own library knows how to follow."""
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        text = f"the profile {profile} signs on elsewhere, which needs a package: pip install boto3"
        raise object_error(errno.EACCES, text, url) from None
    try:
        return Boto3CredentialProvider()
    except Exception as error:  # of botocore: a dozen of its own, without a common base
        text = f"the profile {profile} gives no credentials ({one_line(str(error))})"
        raise object_error(errno.EACCES, text, url) from None


# Google


def _open_gcs(bucket: str, stall: float) -> "GCSStore":
    from obstore.store import GCSStore

    config: GCSConfig = {}
    emulator = _first("STORAGE_EMULATOR_HOST")  # what Google's own libraries know
    if emulator and "://" not in emulator:
        emulator = f"http://{emulator}"
    if emulator and not _first(*_ENDPOINTS["gs"]):
        config["skip_signature"] = True
    endpoint = _endpoint("gs", bucket, emulator, "the variable STORAGE_EMULATOR_HOST")
    if endpoint:
        config["base_url"] = endpoint
    return GCSStore(
        bucket, config=config, client_options=_client(endpoint, stall), retry_config=_once()
    )


# Azure


def _open_azure(bucket: str, stall: float) -> "AzureStore":
    from obstore.store import AzureStore

    config = _connection_string(os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    account = _first("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    if account:
        config["account_name"] = account
    key = _first(
        *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"),
        "AZURE_STORAGE_KEY",  # of Azure's command line
    )
    if key:
        config["account_key"] = key
    told = config.get("endpoint", "")
    endpoint = _endpoint("az", bucket, told, "BlobEndpoint in AZURE_STORAGE_CONNECTION_STRING")
    if endpoint:
        config["endpoint"] = endpoint
    elif not config.get("account_name") and not _first("AZURE_STORAGE_USE_EMULATOR"):
        text = "no storage account; set AZURE_STORAGE_ACCOUNT_NAME"
        raise object_error(errno.EINVAL, text, f"az://{bucket}")
    client = _client(endpoint or "https:", stall)
    if _first("AZURE_STORAGE_USE_EMULATOR"):
        client["allow_http"] = True
    return AzureStore(bucket, config=config, client_options=client, retry_config=_once())


def _connection_string(text: str) -> "AzureConfig":
    """``AccountName=…;AccountKey=…``, as Azure's portal gives it."""
    parts = {
        name.strip(): value
        for name, equals, value in (part.partition("=") for part in text.split(";"))
        if equals
    }
    config: AzureConfig = {}
    if "AccountName" in parts:
        config["account_name"] = parts["AccountName"]
    if "AccountKey" in parts:
        config["account_key"] = parts["AccountKey"]
    if "SharedAccessSignature" in parts:
        config["sas_key"] = parts["SharedAccessSignature"]
    if "BlobEndpoint" in parts:
        config["endpoint"] = parts["BlobEndpoint"]
    elif {"AccountName", "EndpointSuffix"} <= parts.keys():
        protocol = parts.get("DefaultEndpointsProtocol", "https")
        config["endpoint"] = f"{protocol}://{parts['AccountName']}.blob.{parts['EndpointSuffix']}"
    return config
