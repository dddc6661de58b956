"""The activities' names, for workflows to call them by without importing SQL."""

from typing import Final

RESERVE: Final = "reserve"
SETTLE: Final = "settle"
EXTEND: Final = "extend"
CHANGE_LINES: Final = "change_lines"
VERIFY_PAYMENT: Final = "verify_payment"
START_LATE_PAYMENT: Final = "start_late_payment"
REFUND_PAYMENT: Final = "refund_payment"
REFUND_ORDER: Final = "refund_order"
REPAIR: Final = "repair"
PURGE_TOKENS: Final = "purge_tokens"
