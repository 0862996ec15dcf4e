"""How a verifier names another dataset: by its step in the configuration, and by its folder when it runs.

def near(*, column: str = "text", to: Reference) -> Verifier: ...
"""

from __future__ import annotations

from typing import Annotated

# Marks a field that names a step whose dataset the verifier reads.
REFERENCE = "reference"
Reference = Annotated[str, REFERENCE]
