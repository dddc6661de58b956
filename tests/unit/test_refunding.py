"""Money goes back once: whatever the gateway answered, forgot, or was told by others at its desk."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import cast

import pytest

from activities.gateways.interface import Gateway
from activities.refunding import MOST_KEYS, REFUNDED_BY_HAND, MoneyBack, give_back
from domain.errors import GatewayNotConfigured, GatewayRefused, GatewayUnavailable
from domain.gateway import GatewayPayment, PaymentStatus, RefundResult, RefundStatus
from domain.ids import GatewayName, PaymentId, TenantId

DEMO, PAYMENT, CAPTURED = TenantId("demo"), PaymentId("pay_1"), 1000


@dataclass
class Desk:
    """As much of a gateway as refunds need: a payment of 1000, a ledger, and a memory for keys, to be taken away."""

    ledger: list[int] = field(default_factory=list)
    """Each refund that was made."""
    down: bool = False
    keys: dict[str, tuple[int, RefundResult]] = field(default_factory=dict)
    forgets_keys: bool = False
    lost_answers: int = 0
    """So many refunds are made and answered by nobody."""
    fails: bool = False
    shows: int | None = None
    """What it shows as refunded, when that is not what was."""

    async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
        if self.down:
            raise GatewayUnavailable
        refunded = sum(self.ledger) if self.shows is None else self.shows
        status = PaymentStatus.REFUNDED if refunded == CAPTURED else PaymentStatus.CAPTURED
        return GatewayPayment(GatewayName("desk"), PAYMENT, None, status, CAPTURED, "COP", refunded, "demo")

    async def refund(self, tenant: TenantId, payment_id: PaymentId, amount: int, idempotency_key: str) -> RefundResult:
        known = None if self.forgets_keys else self.keys.get(idempotency_key)
        if known is not None:
            if known[0] != amount:
                raise GatewayRefused("this key came with another amount")
            return known[1]
        if amount > CAPTURED - sum(self.ledger):
            raise GatewayRefused("that is more than is left")
        if self.fails:
            self.keys[idempotency_key] = (amount, RefundResult("ref_failed", RefundStatus.FAILED, amount))
            return self.keys[idempotency_key][1]
        self.ledger.append(amount)
        made = RefundResult(f"ref_{len(self.ledger)}", RefundStatus.SUCCEEDED, amount)
        self.keys[idempotency_key] = (amount, made)
        if self.lost_answers:
            self.lost_answers -= 1
            raise GatewayUnavailable("nobody answered")
        return made


def money(amount: int = CAPTURED, before: int = 0, key: str = "key") -> MoneyBack:
    return MoneyBack(PAYMENT, amount, key, before)


async def ask(desk: Desk, wanted: MoneyBack, tries: int = 1) -> str:
    return await give_back(cast("Gateway", desk), DEMO, wanted, tries)


async def asked_until_made(desk: Desk, wanted: MoneyBack, tries: int = 5) -> str:
    for _ in range(tries):
        try:
            return await ask(desk, wanted)
        except GatewayUnavailable:
            continue
    raise AssertionError("not made")


async def test_the_gateways_own_id_of_the_refund_comes_back_and_a_repeat_makes_no_other() -> None:
    desk = Desk()
    assert await ask(desk, money(400)) == "ref_1"
    assert await ask(desk, money(400)) == REFUNDED_BY_HAND
    assert desk.ledger == [400]


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("amount", [400, CAPTURED])
async def test_a_refund_that_was_made_and_answered_by_nobody_is_not_made_twice(forgets: bool, amount: int) -> None:
    desk = Desk(forgets_keys=forgets, lost_answers=1)
    assert await asked_until_made(desk, money(amount)) == REFUNDED_BY_HAND
    assert desk.ledger == [amount]


async def test_refunds_one_after_the_other_are_each_made_once_by_a_gateway_that_forgets_and_answers_nobody() -> None:
    desk, before = Desk(forgets_keys=True, lost_answers=3), 0
    for number, amount in enumerate([100, 100, 300, 500]):
        await asked_until_made(desk, money(amount, before, f"key-{number}"))
        before += amount
    assert desk.ledger == [100, 100, 300, 500]


async def test_a_gateway_that_shows_earlier_refunds_late_is_not_asked_for_more_than_this_one() -> None:
    desk = Desk(ledger=[300], shows=0)
    assert await ask(desk, money(200, before=300)) == "ref_2"
    assert desk.ledger == [300, 200]


async def test_money_given_back_at_the_gateways_desk_counts() -> None:
    desk = Desk(ledger=[CAPTURED])
    assert await ask(desk, money()) == REFUNDED_BY_HAND
    assert desk.ledger == [CAPTURED]


async def test_of_what_was_given_back_in_part_at_the_desk_only_the_rest_goes_back() -> None:
    desk = Desk(ledger=[300], lost_answers=1)
    await asked_until_made(desk, money())
    assert desk.ledger == [300, 700]


async def test_the_rest_has_a_key_of_its_own_when_the_first_try_used_the_refunds() -> None:
    desk = Desk()
    desk.keys["key"] = (CAPTURED, RefundResult("ref_never", RefundStatus.FAILED, CAPTURED))
    desk.ledger.append(300)
    assert await ask(desk, money()) == "ref_2"
    assert sum(desk.ledger) == CAPTURED


@pytest.mark.parametrize("desk", [Desk(down=True), Desk(fails=True)], ids=["down", "fails"])
async def test_what_is_not_made_is_asked_for_again(desk: Desk) -> None:
    with pytest.raises(GatewayUnavailable):
        await ask(desk, money())
    assert desk.ledger == []


async def test_a_refund_that_failed_is_made_by_another_key_for_the_first_one_fails_for_ever() -> None:
    desk = Desk(fails=True)
    with pytest.raises(GatewayUnavailable, match="failed"):
        await ask(desk, money())
    desk.fails = False
    with pytest.raises(GatewayUnavailable, match="failed"):
        await ask(desk, money())
    assert await ask(desk, money(), tries=2) == "ref_1"
    assert desk.ledger == [CAPTURED]
    assert list(desk.keys) == ["key", "key/again-1"]


async def test_a_key_whose_refund_nobody_answered_for_is_asked_again_before_another_one_is_used() -> None:
    desk = Desk(fails=True, shows=0)
    with pytest.raises(GatewayUnavailable):
        await ask(desk, money())
    desk.fails, desk.lost_answers = False, 1
    with pytest.raises(GatewayUnavailable, match="nobody"):
        await ask(desk, money(), tries=2)
    assert await ask(desk, money(), tries=3) == "ref_1"
    assert desk.ledger == [CAPTURED]


async def test_a_gateway_that_always_fails_is_not_asked_by_more_and_more_keys() -> None:
    desk = Desk(fails=True)
    with pytest.raises(GatewayUnavailable):
        await ask(desk, money(), tries=10_000)
    assert len(desk.keys) == MOST_KEYS


async def test_what_is_owed_stays_owed_while_the_gateway_says_nothing_of_the_payment() -> None:
    class Locked(Desk):
        async def fetch(self, tenant: TenantId, payment_id: PaymentId) -> GatewayPayment | None:
            raise GatewayNotConfigured("Set the shop's secret first.")

    with pytest.raises(GatewayUnavailable, match="Set the shop's secret first"):
        await ask(Locked(), money())


async def test_a_gateway_that_refuses_is_asked_again_and_the_reason_is_told() -> None:
    desk = Desk(ledger=[900], shows=0)
    with pytest.raises(GatewayUnavailable, match="refuses the refund: that is more than is left"):
        await ask(desk, money())


async def test_whatever_gets_lost_in_whatever_order_the_ledger_is_what_was_decided() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(300):
        desk, before = Desk(forgets_keys=dice.random() < 0.5), 0
        parts = [dice.randint(1, 250) for _ in range(dice.randint(1, 4))]
        for number, amount in enumerate(parts):
            desk.lost_answers = dice.randint(0, 2)
            await asked_until_made(desk, money(amount, before, f"key-{number}"))
            desk.lost_answers, before = 0, before + amount
            assert sum(desk.ledger) == before
        assert desk.ledger == parts
