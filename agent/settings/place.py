"""Where a destination is, as far as its settings say so: what was proven at one place proves nothing about another.

Whatever is not known to be harmless counts, so that a new setting of a backend errs to the side of keeping files.
"""

from __future__ import annotations

import hashlib
import json

from pydantic import SecretStr

from agent.backends.base import DestinationConfig

_HARMLESS = frozenset(
    (
        *("template", "workers", "limit", "minimum_proof", "connect_timeout_seconds", "read_timeout_seconds"),
        *("create", "must_be_mount", "block_bytes", "part_bytes", "chunk_bytes"),
        *("signing", "encryption", "security", "mode", "addressing", "ca_bundle", "certificate_sha256"),
        *("known_hosts_file", "key_file", "credentials", "access_key_id", "user_project", "anonymous"),
        *("managed_identity", "managed_identity_client_id", "storage_class", "access_tier", "kms_key_id"),
    )
)
_SECRET_PARTS = ("accountkey=", "sharedaccesssignature=")


def place_of(config: DestinationConfig) -> str:
    """Return a digest that changes when files go to another place by these settings; no secret is in it."""
    values = {name: getattr(config, name) for name in type(config).model_fields if name not in _HARMLESS}
    said = {
        name: _without_keys(value) if name == "connection_string" else str(value)
        for name, value in values.items()
        if name == "connection_string" or not isinstance(value, SecretStr)
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _without_keys(secret: SecretStr | None) -> str:
    """What a connection string says of the account and its addresses."""
    parts = secret.get_secret_value().split(";") if secret else []
    return ";".join(part for part in parts if not part.strip().lower().startswith(_SECRET_PARTS))
