"""What a storefront keeps with its lines. It goes from here into the lines themselves, never through a workflow."""

from __future__ import annotations

from db.database import Database
from domain.ids import CheckoutId, TenantId

_REMEMBER = """
    INSERT INTO line_metadata (tenant_id, checkout_id, fingerprint, metadata)
    VALUES (%(tenant)s, %(checkout)s, %(fingerprint)s, %(metadata)s::json)
    ON CONFLICT DO NOTHING
"""


async def remember_metadata(
    db: Database, tenant: TenantId, checkout: CheckoutId, fingerprint: str, metadata: str
) -> None:
    """Keep the metadata of a request's lines for the statement that holds them.

    `metadata`: a JSON object, from a line's place in the request (1, 2, …) to an object. By the request's fingerprint,
    so that another body that comes with the same key cannot put its own in the place of this.
    """
    values = {"tenant": tenant, "checkout": checkout, "fingerprint": fingerprint, "metadata": metadata}
    await db.run(tenant, (_REMEMBER, values))
