"""Credentials that people put into URLs: kept out of everything that is stored or shown."""

from __future__ import annotations

import re

#: ``scheme://user:password@`` (or a token alone), and signatures in a query (presigned URLs of object stores).
_USERINFO = re.compile(r"(?<=://)[^/\s@\"'?#]+(?=@)")
_QUERY = re.compile(
    r"(?i)((?:[?&]|%3f|%26)(?:x-amz-|x-goog-)?(?:signature|credential|security-token|token|access_token|sig|key|secret"
    r"|password|awsaccesskeyid)=)[^&\s\"'#]+"
)


def hidden(text: str) -> str:
    """``text`` with credentials in URLs replaced by ``***``."""
    return _QUERY.sub(r"\1***", _USERINFO.sub("***", text)) if "://" in text else text
