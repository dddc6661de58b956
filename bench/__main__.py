"""`python -m bench`: every measurement, one after the other, as Markdown. It ends by itself, in minutes."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

from bench import carts, confirm, engine, events, fairness, fulfilment, http, recovery, reserve, seats
from bench.figures import rate_rows, table
from bench.stage import Stage, stage

RATES = ("what", "rate", "p50", "p95", "beside the first")


def main() -> None:
    """Run what was asked for, or everything."""
    parts: dict[str, Callable[[Stage, int], None]] = {
        "engine": _engine,
        "http": _http,
        "carts": _carts,
        "reserve": _reserve,
        "confirm": _confirm,
        "events": _events,
        "seats": _seats,
        "fairness": _fairness,
        "fulfilment": _fulfilment,
        "recovery": _recovery,
    }
    parser = argparse.ArgumentParser(description="Measure Holdfast on this machine.")
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contestant (default 5)")
    options = parser.parse_args()
    chosen = options.parts or list(parts)
    with stage() as on:
        if set(chosen) - {"carts", "events", "fulfilment"}:  # These have processes of their own, and need no worker.
            recovery.start_worker(on)
            recovery.start_api(on)
        for name in chosen:
            began = time.monotonic()
            parts[name](on, options.rounds)
            print(f"\n({name}: {time.monotonic() - began:.0f} s)", flush=True)


def _events(on: Stage, rounds: int) -> None:
    header = (*RATES, "database: processor", "process: processor")
    reserves, confirms = asyncio.run(events.measure(on, rounds=rounds))
    print(f"\n### Telling, {events.CLIENTS} at once\n\n" + table(header, events.rows(reserves)), flush=True)
    print("\n" + table(header, events.rows(confirms)), flush=True)
    heard = asyncio.run(events.latencies(on))
    times = [[one.name, f"{one.percentile(50):.0f} ms", f"{one.percentile(95):.0f} ms"] for one in heard]
    print("\n### From the commit to the listener\n\n" + table(("by", "p50", "p95"), times), flush=True)
    print("\n" + table(header, events.rows([asyncio.run(events.looking(on))])), flush=True)


def _engine(on: Stage, rounds: int) -> None:
    for clients, count in ((1, 60), (16, 400)):
        series = asyncio.run(engine.measure(on, clients=clients, count=count, rounds=rounds))
        print(f"\n### Engine, {clients} client(s)\n\n" + table(RATES, rate_rows(series, series[0])), flush=True)


def _http(on: Stage, rounds: int) -> None:
    series = asyncio.run(http.measure(on, clients=16, count=400, rounds=rounds))
    print("\n### HTTP, 16 clients\n\n" + table(RATES, rate_rows(series, series[0])), flush=True)


def _carts(on: Stage, rounds: int) -> None:
    everything = carts.measure(on, clients=16, seconds=2, rounds=rounds)
    header = ("what", "rate", "p50", "p99", "beside nothing", *(f"{part}: processor" for part in carts.PARTS))
    for found in everything:
        title = f"### Carts, 16 clients, {found.processes} API process(es)"
        print(f"\n{title}\n\n" + table(header, carts.rows(found)))
    print("\n### Carts: the aims\n\n" + table(("what", "aim", "found", ""), carts.aims(everything)), flush=True)


def _reserve(on: Stage, rounds: int) -> None:
    for title, (raw, ours) in reserve.measure(on, clients=8, seconds=4, rounds=rounds).items():
        rows = [row[:2] + row[4:] for row in rate_rows([raw, ours], raw)]
        header = (RATES[0], RATES[1], RATES[4])
        print(f"\n### Reserve by pgbench, 8 clients, {title}\n\n" + table(header, rows), flush=True)


def _fairness(on: Stage, rounds: int) -> None:
    found = asyncio.run(fairness.measure(on, count=12, rounds=min(rounds, 3)))
    header = ("a quiet tenant's start", "p50", "p95", "p50 beside alone", "the crowd's rate")
    print("\n### Fairness\n\n" + table(header, fairness.rows(found)), flush=True)


def _confirm(on: Stage, rounds: int) -> None:
    header = (*RATES[:4], "p95 beside the first")
    found = confirm.transactions(on, rounds=rounds)
    title = f"### The confirm's transaction by pgbench, {confirm.CLIENTS} at once on one tenant"
    print(f"\n{title}\n\n" + table(header, confirm.rows(found)), flush=True)
    for clients, count in ((1, 40), (16, 96)):
        empty, confirmed = asyncio.run(confirm.client_view(on, clients=clients, count=count, rounds=rounds))
        print(f"\n### A confirm, {clients} client(s)\n\n" + table(header, confirm.rows([empty, confirmed])))
        print(f"\nOurs: {confirm.share(empty, confirmed):.0%} of a confirm's time", flush=True)


def _seats(on: Stage, rounds: int) -> None:
    found, lines = seats.run(on, rounds)
    header = ("what", *(f"{size:,} seats: {of}" for size in seats.SIZES for of in ("p50", "p95")))
    print("\n### Tickets\n\n" + table(header, seats.rows(found)))
    print(
        "\n### Reserve by lines\n\n" + table(("what", "p50", "p95", "p50 a line"), seats.line_rows(lines)), flush=True
    )


def _fulfilment(_: Stage, rounds: int) -> None:
    for measured in (fulfilment.pdfs(rounds), fulfilment.emails(rounds)):
        series = asyncio.run(measured)
        rows = [row[:4] for row in rate_rows(series, series[0])]
        print("\n### Fulfilment\n\n" + table(RATES[:4], rows), flush=True)


def _recovery(on: Stage, rounds: int) -> None:
    found = recovery.measure(on, times=min(rounds, 3))
    print("\n### From a kill -9 to the next checkout\n")
    print(table(("killed", "median", "longest", "aim"), recovery.rows(found)), flush=True)


if __name__ == "__main__":
    main()
