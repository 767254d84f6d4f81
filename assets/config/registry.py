"""What is done about a model beside registering it in MLflow."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from assets.config.section import Section

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""


class Registry(Section):
    """Who is told when another model comes into use."""

    webhook: Variable | None = None
    """Environment variable with the URL that gets a POST when another model comes into use, or null."""
    webhook_secret: Variable | None = None
    """Environment variable with the secret that signs it, as https://www.standardwebhooks.com says, or null."""

    @model_validator(mode="after")
    def _something_to_sign(self) -> Self:
        if self.webhook_secret is not None and self.webhook is None:
            raise ValueError(
                "webhook_secret signs what webhook sends, which is not set; fix: set it, or leave this out"
            )
        return self
