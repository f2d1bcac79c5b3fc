"""Who the server must be: vouched for by a certificate authority, or the one certificate that was pinned."""

from __future__ import annotations

import hashlib
import hmac
import ssl

from agent.backends.ftp.config import FtpConfig
from agent.backends.ftp.faults import FAULTS
from agent.faults import fault


def context_of(config: FtpConfig) -> ssl.SSLContext | None:
    """Return how to encrypt; None where the settings say not to.

    With a pinned certificate the chain and the name are not looked at: `check_pin` must be called after every
    handshake instead.
    """
    if config.security == "none":
        return None
    try:
        context = ssl.create_default_context(cafile=str(config.ca_bundle) if config.ca_bundle else None)
    except (OSError, ssl.SSLError) as error:
        detail = f"the file of certificates cannot be used: {config.ca_bundle}: {error}"
        raise fault(FAULTS, "ftp.bad_settings", detail) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.certificate_sha256:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def check_pin(config: FtpConfig, sock: ssl.SSLSocket) -> None:
    """Raise Fault ``ftp.wrong_fingerprint`` if a certificate is pinned and the server has shown another."""
    if config.certificate_sha256 is None:
        return
    shown = hashlib.sha256(sock.getpeercert(binary_form=True) or b"").hexdigest()
    wanted = config.certificate_sha256.replace(":", "").lower()
    if not hmac.compare_digest(shown, wanted):
        raise fault(FAULTS, "ftp.wrong_fingerprint", f"it shows {shown}")
