"""What the log says of a cart: ids, quantities, prices and reasons, and nobody's name."""

from __future__ import annotations

from datetime import UTC, datetime

from structlog.testing import capture_logs

from api.cart_views import log_changed, log_read
from db.cart_view import CartView
from domain.cart import CartStatus, Notice, NoticeReason, ProductNow
from domain.ids import CartId, ProductId

COFFEE, MUG = ProductId(1), ProductId(2)
GONE = Notice(MUG, "Secret mug", NoticeReason.SOLD_OUT, before=2, after=0)
REMOVED = [{"product_id": MUG, "reason": "sold_out", "before": 2, "after": 0}]


def make_view(*notices: Notice) -> CartView:
    """Three coffees on offer."""
    coffee = ProductNow(COFFEE, "Secret coffee", 2000, 1500, available=True, one_per_cart=False, free=9)
    return CartView(
        CartId("c"), CartStatus.AVAILABLE, None, datetime.now(UTC), "COP", False, {COFFEE: 3}, {COFFEE: coffee},
        list(notices),
    )  # fmt: skip


def test_a_change_tells_what_was_validated_at_which_price_and_what_had_to_go() -> None:
    with capture_logs() as lines:
        log_changed(make_view(GONE), COFFEE, ProductId(77))
    [line] = lines
    assert line["event"] == "cart_changed"
    assert (line["cart"], line["lines"]) == ("c", 1)
    assert line["validated"] == [{"product_id": COFFEE, "quantity": 3, "unit_price": 1500}]
    assert line["removed"] == REMOVED
    assert "Secret" not in str(line)


def test_a_read_tells_only_what_had_to_go() -> None:
    with capture_logs() as lines:
        log_read(make_view())
        log_read(make_view(GONE))
    assert [(line["event"], line["cart"], line["removed"]) for line in lines] == [("cart_validated", "c", REMOVED)]
