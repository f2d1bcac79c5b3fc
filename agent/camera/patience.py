"""Waiting out what a camera means by "not now".

One place says which response codes are worth asking again on the same connection, how often and for how long
(protocol.md §2.8, §7.8). When the time is up the last reply is returned as it is; what it then means is the caller's
to decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from agent.camera.faults import Answer
from agent.camera.timing import Timing
from agent.ptp.codes import ResponseCode

A = TypeVar("A", bound=Answer)

BUSY = frozenset({ResponseCode.DEVICE_BUSY, ResponseCode.CANON_MEMORY_STATUS_NOT_READY})


def is_not_now(code: int, *, is_new: bool = False) -> bool:
    """Return whether asking again on the same connection may help.

    `is_new`: the object was announced moments ago, and a GeneralError about it means that it is still being written
    (airnef).
    """
    return (
        code in BUSY
        or code in (ResponseCode.STORE_NOT_AVAILABLE, ResponseCode.CANON_OBJECT_NOT_READY)
        or (is_new and code == ResponseCode.GENERAL_ERROR)
    )


async def patiently(
    ask: Callable[[], Awaitable[A]],
    timing: Timing,
    *,
    is_new: bool = False,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> A:
    """Call `ask` until its answer is not "not now" any more, or was that for too long.

    `meanwhile` is called before each pause: a busy EOS wants its events fetched.
    """
    first = await ask()
    if not is_not_now(first.code, is_new=is_new):
        return first  # thousands of chunks a minute come this way
    answers = [first]

    async def ask_again() -> A:
        return answers.pop() if answers else await ask()

    async def between(state: RetryCallState) -> None:
        if meanwhile is not None:
            await meanwhile()

    answer: A = await AsyncRetrying(
        retry=retry_if_result(lambda answer: is_not_now(answer.code, is_new=is_new)),
        wait=lambda state: _pause(_code(state), state.attempt_number, timing),
        stop=lambda state: (state.seconds_since_start or 0.0) >= _longest(_code(state), timing),
        before_sleep=between,
        retry_error_callback=_last,
        reraise=True,
    )(ask_again)
    return answer


def _pause(code: int, attempt: int, timing: Timing) -> float:
    if code in BUSY:
        return float(min(timing.busy_longest, timing.busy_first * 2 ** min(attempt - 1, 16)))
    return timing.store_pause if code == ResponseCode.STORE_NOT_AVAILABLE else timing.object_pause


def _longest(code: int, timing: Timing) -> float:
    if code in BUSY:
        return timing.busy
    return timing.store if code == ResponseCode.STORE_NOT_AVAILABLE else timing.object


def _last(state: RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()


def _code(state: RetryCallState) -> int:
    return int(_last(state).code)
