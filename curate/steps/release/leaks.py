"""What must not be published: keys, and paths of the machine that made the release.

refuse_leaks("README.md", text)      # RunError: README.md would publish an access token ('hf_ab...')
"""

from __future__ import annotations

import re

from curate.core.errors import RunError

# Prefixes that the providers document for their keys, and the shapes of credentials in URLs.
_SECRETS = {
    "an access token": re.compile(
        r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}"
        r"|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}|glpat-[A-Za-z0-9_-]{20,})"
    ),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in a URL": re.compile(r"\w+://[^/\s:@\"]+:[^/\s@\"]+@"),
    "a signed URL": re.compile(r"[?&](?:X-Amz-Signature|X-Goog-Signature|sig|token|api_key)=[^&\s\"]{8,}"),
    "a bearer token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"),
}
_PATHS = {
    # Two levels at least: "/" alone and "and/or" are no paths of a machine.
    "an absolute path": re.compile(r"(?:^|[\s\"'(=\[,`|])(/[\w.~+-]+(?:/[\w.~+-]+)+)", re.MULTILINE),
    "a file URL": re.compile(r"\bfile://[^\s\"']+"),
    "a path with a drive": re.compile(r"(?:^|[\s\"'(=\[,`|])([A-Za-z]:\\{1,2}\w[^\s\"']*)", re.MULTILINE),
    "a home folder": re.compile(r"(?:^|[\s\"'(=\[,`|])(~/[\w.~+-]+)", re.MULTILINE),
}


def refuse_leaks(name: str, text: str) -> None:
    """Check a text that is about to be published.

    Raises:
        RunError: it holds something like a key (shown by its first letters only) or a path of this machine.
    """
    for what, pattern in _SECRETS.items():
        found = pattern.search(text)
        if found:
            shown = found[0][:6]
            raise RunError(f"{name} would publish {what} ({shown}...); take it out of the config or the name")
    for what, pattern in _PATHS.items():
        found = pattern.search(text)
        if found:
            shown = found[0].strip(" \n\t\"'(=[,`|")
            raise RunError(
                f"{name} would publish {what} ({shown[:80]}); give inputs and models by one folder or glob, "
                "so that names are relative to it"
            )
