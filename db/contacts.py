"""Where to write to the buyer of a checkout. Personal data: never in logs or Temporal, and purged when it is old."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from psycopg.rows import DictRow

from db.database import Database
from domain.ids import BuyerKey, CheckoutId, TenantId

_UUID = re.compile(r"user:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Contact:
    """What a buyer has told of himself; None: nothing. `phone` in E.164, `language` `es` or `en`."""

    email: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)
    language: str | None = None


# Only while it is held or sold: what ended otherwise has no need of it any more.
_PUT = """
    INSERT INTO checkout_contacts (tenant_id, checkout_id, email, phone, name, language)
    SELECT tenant_id, id, %(email)s, %(phone)s, %(name)s, %(language)s FROM checkouts
    WHERE tenant_id = %(tenant)s AND id = %(checkout)s AND buyer_key = %(buyer)s AND status IN ('held', 'confirmed')
    ON CONFLICT (tenant_id, checkout_id) DO UPDATE
        SET email = excluded.email, phone = excluded.phone, name = excluded.name, language = excluded.language,
            updated_at = clock_timestamp()
    RETURNING 1 AS put
"""
_STATUS = """
    SELECT status FROM checkouts WHERE tenant_id = %(tenant)s AND id = %(checkout)s AND buyer_key = %(buyer)s
"""
_READ = """
    SELECT c.buyer_key, k.email, k.phone, k.name, k.language FROM checkouts c
    LEFT JOIN checkout_contacts k ON k.tenant_id = c.tenant_id AND k.checkout_id = c.id
    WHERE c.tenant_id = %(tenant)s AND c.id = %(checkout)s
"""
_OF_USER = "SELECT email FROM users WHERE tenant_id = %(tenant)s AND id = %(user)s AND disabled_at IS NULL"


async def put_contact(
    db: Database, tenant: TenantId, checkout: CheckoutId, buyer: BuyerKey, contact: Contact
) -> str | None:
    """Set it, whatever it was before; the checkout's status then, or None when the buyer has no such checkout.

    Nothing is written unless the status is `held` or `confirmed`.
    """
    given = {name: getattr(contact, name) for name in ("email", "phone", "name", "language")}
    values = {"tenant": tenant, "checkout": checkout, "buyer": buyer}
    written, rows = await db.run(tenant, (_PUT, {**values, **given}), (_STATUS, values))
    if not rows:
        return None
    # Between the two statements it may have been confirmed, which changes nothing; or ended, and then it was written.
    return "held" if written else str(rows[0]["status"])


async def read_contact(db: Database, tenant: TenantId, checkout: CheckoutId) -> Contact | None:
    """What is known of the checkout's buyer: what came with the checkout, else the e-mail of a user who logged in.

    None when there is no such checkout.
    """
    [rows] = await db.run(tenant, (_READ, {"tenant": tenant, "checkout": checkout}))
    if not rows:
        return None
    [row] = rows
    email = row["email"] or await _email_of(db, tenant, row)
    return Contact(email, row["phone"], row["name"], row["language"])


async def _email_of(db: Database, tenant: TenantId, row: DictRow) -> str | None:
    """Of the user, if the buyer is one of ours: an outside issuer's subject has no row."""
    user = _UUID.fullmatch(row["buyer_key"])
    if user is None:
        return None
    [found] = await db.run(tenant, (_OF_USER, {"tenant": tenant, "user": user.group(1)}))
    return str(found[0]["email"]) if found else None
