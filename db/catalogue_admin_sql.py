"""The statements of `db/catalogue_admin.py`.

Rows are locked by a statement of their own before anything is written: PostgreSQL tries CHECK constraints on a row as
the statement's snapshot has it, and what another transaction wrote while we waited for its lock is not in that.
"""

# The tenant's row is what new products queue at: two never get the same number.
LOCK_TENANT = "SELECT FROM tenants WHERE id = %(tenant)s FOR NO KEY UPDATE"
NUMBER = """
    SELECT clock_timestamp() AS now, made.id AS made,
        EXISTS (SELECT FROM products WHERE tenant_id = %(tenant)s AND id = %(chosen)s) AS taken,
        1 + greatest(t.last_product_id, (
            SELECT coalesce(max(id), 0) FROM products WHERE tenant_id = %(tenant)s AND id < 4611686018427387904
        )) AS next
    FROM tenants t LEFT JOIN products made
        ON made.tenant_id = t.id AND made.id = %(made_id)s AND made.created_at = %(made_at)s
    WHERE t.id = %(tenant)s
"""
INSERT = """
    WITH item AS (
        INSERT INTO stock_items (tenant_id, kind, total) VALUES (%(tenant)s, 'product', %(stock_total)s) RETURNING id
    )
    INSERT INTO products (tenant_id, id, stock_item_id, name, description, price, offer_price, tax_class, available,
                          one_per_cart, created_at, updated_at)
    SELECT %(tenant)s, %(product)s, item.id, %(name)s, %(description)s, %(price)s, %(offer_price)s, %(tax_class)s,
        %(available)s, %(one_per_cart)s, %(at)s, %(at)s
    FROM item
"""
LOCK_ITEM = """
    SELECT id, total AS stock_total, reserved, sold FROM stock_items
    WHERE tenant_id = %(tenant)s
      AND id = (SELECT stock_item_id FROM products WHERE tenant_id = %(tenant)s AND id = %(product)s)
    FOR NO KEY UPDATE
"""
LOCK_PRODUCT = """
    SELECT stock_item_id, name, description, price, offer_price, tax_class, available, one_per_cart FROM products
    WHERE tenant_id = %(tenant)s AND id = %(product)s
    FOR NO KEY UPDATE
"""
UPDATE = """
    UPDATE products SET name = %(name)s, description = %(description)s, price = %(price)s,
        offer_price = %(offer_price)s, tax_class = %(tax_class)s, available = %(available)s,
        one_per_cart = %(one_per_cart)s,
        updated_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND id = %(product)s
"""
SET_TOTAL = "UPDATE stock_items SET total = %(stock_total)s WHERE tenant_id = %(tenant)s AND id = %(stock_item_id)s"
DELETE = "DELETE FROM products WHERE tenant_id = %(tenant)s AND id = %(product)s"
KEEP_NUMBER = """
    UPDATE tenants SET last_product_id = greatest(last_product_id, %(product)s) WHERE id = %(tenant)s
"""
