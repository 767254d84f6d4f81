"""Tells a URL that another model came into use: signed, tried again, and at least once.

The request is one of Standard Webhooks (https://www.standardwebhooks.com), so that whoever receives it can check it
with a library: `webhook-id` is the same for every attempt about one entry of the promotion log, `webhook-signature` is
the HMAC-SHA256 of id, time and body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Mapping
from typing import Any

from assets.store.digests import canonical_json

SECONDS = 10.0
"""How long an answer is waited for."""
AGAIN = 2
"""Further attempts after a failed one."""
WAIT_SECONDS = 0.5
"""Before the first further attempt; doubled for each."""
_AGAIN_ON = (408, 425, 429, 500, 502, 503, 504)


def post(body: Mapping[str, Any], *, identifier: str, url_in: str, secret_in: str | None) -> str | None:
    """Send a message; returns why it could not be delivered, without the URL, or None.

    Args:
        body: the message, sent as JSON.
        identifier: the same for every attempt to send this message.
        url_in: environment variable with the URL.
        secret_in: environment variable with the secret, or None for no signature.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    url = os.environ.get(url_in)
    if not url:
        return f"the environment variable {url_in} is not set"
    data = canonical_json(dict(body))
    headers = {"Content-Type": "application/json", "User-Agent": "freshtune", "webhook-id": identifier}
    headers["webhook-timestamp"] = f"{time.time():.0f}"
    if secret_in is not None:
        secret = os.environ.get(secret_in)
        if not secret:
            return f"the environment variable {secret_in} is not set, and nothing is sent unsigned"
        try:
            headers["webhook-signature"] = sign(secret, identifier, headers["webhook-timestamp"], data)
        except ValueError:
            return f"what {secret_in} holds begins with whsec_ and does not go on in base64"
    retry = Retry(
        total=AGAIN,
        backoff_factor=WAIT_SECONDS,
        status_forcelist=_AGAIN_ON,
        allowed_methods=None,
        raise_on_status=False,
    )
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            # A body that goes where the URL does not say would be news to a stranger.
            answer = session.post(url, data=data, headers=headers, timeout=SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        # Its text has the URL, which may be a secret.
        return f"what {url_in} names cannot be reached ({type(error).__name__})"
    return None if answer.ok and not answer.is_redirect else f"what {url_in} names answers {answer.status_code}"


def sign(secret: str, identifier: str, timestamp: str, data: bytes) -> str:
    """Signature of a message as Standard Webhooks has it: `v1,` and the HMAC-SHA256 in base64.

    Args:
        secret: `whsec_` and base64, or any text.
        identifier: of the message.
        timestamp: Unix time in whole seconds.
        data: the body.

    Raises:
        ValueError: if what comes after `whsec_` is no base64.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    found = hmac.new(key, f"{identifier}.{timestamp}.".encode() + data, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(found).decode()}"
