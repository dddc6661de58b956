"""Names that workflows, activities and the API share: workflow ids, signals, updates, activities.

One place for them all, at the bottom of the layers, because an activity that starts or signals a workflow may not
import the workflow.
"""

from __future__ import annotations

from domain.ids import CheckoutId, GatewayName, HookDeliveryId, OrderId, PaymentId, RefundId, TenantId

CHECKOUT = "Checkout"
LATE_PAYMENT = "LatePayment"
REFUND_ORDER = "RefundOrder"
FULFILMENT = "Fulfilment"
HOOK_DELIVERY = "HookDelivery"
CONSISTENCY_CHECK = "ConsistencyCheck"
PURGE_TOKENS = "PurgeTokens"
RECONCILE_PAYMENTS = "ReconcilePayments"

RESERVE_UPDATE = "reserve"
CONFIRM_UPDATE = "confirm"
EXTEND_UPDATE = "extend"
CANCEL_UPDATE = "cancel"
LINES_UPDATE = "lines"
PAYMENT_SIGNAL = "payment"
REFUND_SIGNAL = "refund"

PAYMENT_STARTED = "payment-started"
"""The request id of the one extension that a hold makes by itself. No client's: those are hexadecimal digests."""

CHECKOUT_OVER = "checkout_over"
"""Type of the error with which a finished run refuses an update: the caller then reads the row."""


def checkout_workflow_id(tenant: TenantId, checkout: CheckoutId) -> str:
    """The one workflow of a checkout."""
    return f"checkout/{tenant}/{checkout}"


def late_payment_workflow_id(tenant: TenantId, gateway: GatewayName, payment: PaymentId) -> str:
    """The one workflow of a payment that no open checkout can take."""
    return f"late-payment/{tenant}/{gateway}/{payment}"


def order_refunds_workflow_id(tenant: TenantId, order: OrderId) -> str:
    """The one workflow that makes an order's refunds, one after the other."""
    return f"refund/{tenant}/{order}"


def order_refund_key(tenant: TenantId, refund: RefundId) -> str:
    """The Idempotency-Key of one refund of an order."""
    return f"order-refund/{tenant}/{refund}"


def fulfilment_workflow_id(tenant: TenantId, order: OrderId) -> str:
    """The one workflow of an order's fulfilment."""
    return f"fulfilment/{tenant}/{order}"


def replay_workflow_id(tenant: TenantId, order: OrderId, step: str, replay: int) -> str:
    """The workflow that does one step of a fulfilment once more."""
    return f"{fulfilment_workflow_id(tenant, order)}/{step}/{replay}"


def hook_workflow_id(tenant: TenantId, delivery: HookDeliveryId, replay: int) -> str:
    """The workflow that sends one webhook of a tenant, or (`replay` above 0) sends it once more."""
    return f"hook/{tenant}/{delivery}/{replay}"


def hooks_queue(task_queue: str) -> str:
    """The task queue of the webhooks that tenants are sent: slow receivers must hold up nothing else."""
    return f"{task_queue}-hooks"


def fulfilment_queue(task_queue: str) -> str:
    """The task queue of what follows a sale: rendering and mail must hold up no checkout."""
    return f"{task_queue}-fulfilment"


def refund_key(tenant: TenantId, gateway: GatewayName, payment: PaymentId) -> str:
    """The Idempotency-Key of the one full refund of a payment."""
    return f"refund/{tenant}/{gateway}/{payment}"


def start_key(tenant: TenantId, checkout: CheckoutId, request_id: str) -> str:
    """The Idempotency-Key with which a gateway is asked to start a payment; `request_id` names the wish."""
    return f"start/{tenant}/{checkout}/{request_id}"
