"""Who may ask what: the headers of every reply, the names we answer to, and the token that actions need. Pure.

The page shows names and logs that anybody may have written. So nothing of it is ever markup, and the browser is told to
run and load what we serve and nothing else. https://www.w3.org/TR/CSP3/
"""

import hmac
import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


def is_ours(host: str, names: Collection[str] = ()) -> bool:
    """
    Whether a request's Host is one that we answer to: an address, localhost, or one of `names`.

    A page of somebody else's whose own name is made to point here (DNS rebinding) sends its own name.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name:
        return False
    if name == "localhost" or name in {one.lower() for one in names}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_from_elsewhere(environ: Mapping[str, Any]) -> bool:
    """Whether a browser says that another site's page sends this."""
    if environ.get("HTTP_SEC_FETCH_SITE", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = environ.get("HTTP_ORIGIN")
    return origin is not None and urlsplit(origin).netloc != environ.get("HTTP_HOST")


def has_token(environ: Mapping[str, Any], token: str) -> bool:
    """Whether a request carries the token; it takes as long to say no as to say yes."""
    scheme, _, given = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    # Header values come as Latin-1, whatever was meant.
    is_it = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return is_it and scheme.lower() == "bearer"
