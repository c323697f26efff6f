"""Certificates for fake exchanges, from an authority made for the occasion."""

from __future__ import annotations

import ssl

from farm.errors import MissingExtra

__all__ = ["make_contexts"]


def make_contexts(host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for `host`, and a client's that trusts its authority.

    Raises:
        MissingExtra: trustme is not installed.
    """
    try:
        import trustme
    except ModuleNotFoundError as error:
        raise MissingExtra("trustme", "test") from error
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(server)
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authority.configure_trust(client)
    return server, client
