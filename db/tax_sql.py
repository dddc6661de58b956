"""Taxes in SQL, by the rule of `domain/tax.py`: whole numbers only, within what a bigint holds."""

TAX_COLUMNS = "tax_class, tax_rate_basis_points, tax_included, tax"
"""Of `checkout_lines` and `order_lines`, and of what `with_tax` selects."""

# The rates are kept beside the tenant's setting, with the instant from which each is valid. The clock is read by a
# sub-select, so once. A line without a class looks up nothing.
_RATE = """(
        SELECT r.tax_class, r.rate_basis_points, r.included FROM tax_rates r
        WHERE r.tenant_id = %(tenant)s AND r.tax_class = {of} AND r.starts_at <= (SELECT clock_timestamp())
        ORDER BY r.valid_from DESC LIMIT 1)"""

# What divides without a remainder is taken first: amount times rate would not fit into a bigint.
_INCLUDED = """{amount} / (10000 + {rate}) * {rate}
                + (2 * mod({amount}, 10000 + {rate}) * {rate} + 10000 + {rate}) / (2 * (10000 + {rate}))"""
_ON_TOP = "{amount} / 10000 * {rate} + (mod({amount}, 10000) * {rate} + 5000) / 10000"


def rate_of(of: str) -> str:
    """A sub-select: tax_class, rate_basis_points and included, as they are now for the class `of`; or no row."""
    return _RATE.replace("{of}", of)


def tax_on(amount: str, rate: str, included: str) -> str:
    """The expression for `domain.tax.tax_on`. `amount` is a bigint."""
    tax = f"CASE WHEN {included} THEN {_INCLUDED} ELSE {_ON_TOP} END"
    return tax.replace("{amount}", amount).replace("{rate}", rate)


def with_tax(asked: str) -> str:
    """The rows of `asked` (unit_price, quantity, taxed_as: a tax class or NULL) with their tax by the rate of now."""
    tax = tax_on("(asked_for.unit_price * asked_for.quantity)", "rate.rate_basis_points", "rate.included")
    return f"""
        SELECT asked_for.*, rate.tax_class, coalesce(rate.rate_basis_points, 0) AS tax_rate_basis_points,
               coalesce(rate.included, false) AS tax_included, coalesce({tax}, 0)::bigint AS tax
        FROM ({asked}) asked_for
        LEFT JOIN LATERAL {rate_of("asked_for.taxed_as")} rate ON true"""
