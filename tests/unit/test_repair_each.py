"""What fails keeps nothing else from being mended."""

from __future__ import annotations

import pytest

from activities.repair import each


async def test_all_are_worked_on_though_some_fail_and_the_first_failure_is_told() -> None:
    seen = []

    async def work(number: int) -> int:
        seen.append(number)
        if number % 2:
            raise ValueError(str(number))
        return number

    assert await each([0, 2, 4], work) == [0, 2, 4]
    seen.clear()
    with pytest.raises(ValueError, match="1"):
        await each([0, 1, 2, 3, 4], work)
    assert seen == [0, 1, 2, 3, 4]
