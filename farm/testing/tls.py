"""Certificates for fake exchanges, from an authority made for the occasion."""

from __future__ import annotations

import ssl

import attrs

from farm.errors import MissingExtra

__all__ = ["Certificates", "make_certificates", "make_contexts"]


@attrs.frozen
class Certificates:
    """A server's context with a certificate, a client's that trusts its ``authority``, and that
    authority as PEM."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    authority: bytes


def make_certificates(host: str) -> Certificates:
    """Certificates for `host` by an authority of their own.

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
    return Certificates(server, client, authority.cert_pem.bytes())


def make_contexts(host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts alone of :func:`make_certificates`, the server's and the client's."""
    made = make_certificates(host)
    return made.server, made.client
