"""Measure writers, sealing, verification and proofs of dovetail-audit on PostgreSQL.

    DATABASE_URL=postgres://… python bench/audit.py [--entries 100000] [--seconds 3] [--rounds 3]

Creates and drops test_<name>. django-auditlog, django-simple-history and django-pghistory are measured beside it where
they are installed (``pip install --target DIR``, with DIR on PYTHONPATH).

*Writers*: eight processes, each transaction an UPDATE of a business row and one audit row; commits wait for the disk.
The designs take turns in each round, and a ratio is that of the same round. "Plain insert" is one
``Model.objects.create()`` with the same kinds of columns. "Global chain" also locks one row and hashes it with the new
one. In the second table, the request takes 5 ms after the event, as it does where the event is sent in its middle. A
sealer runs beside ours once a second. *Saves*: CPU of this process for one ``save()``, the least of the rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

DATABASES = databases()
if not DATABASES["default"]["ENGINE"].endswith("postgresql"):
    sys.exit("Set DATABASE_URL=postgres://…: the writers of SQLite wait for each other with any design.")
DATABASES["default"]["OPTIONS"] = {}  # commits that wait for the disk, unlike in tests

from importlib.util import find_spec  # noqa: E402

PEERS = [name for name in ("auditlog", "simple_history", "pgtrigger", "pghistory") if find_spec(name)]
settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=DATABASES,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        *PEERS,
        "dovetail_audit",
        "_audit",
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    # Tables without migrations: those of this benchmark refer to users.
    MIGRATION_MODULES=dict.fromkeys(["auth", "contenttypes", *PEERS, "dovetail_audit", "_audit"]),
    USE_TZ=True,
    SILENCED_SYSTEM_CHECKS=["dovetail_audit.E002"],
)
django.setup()

from _audit.models import MODELS, Head, Log, Plain  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402
from django.test.utils import CaptureQueriesContext, get_runner  # noqa: E402

from dovetail_audit import proofs  # noqa: E402
from dovetail_audit.models import Checkpoint, Entry, Leaf  # noqa: E402
from dovetail_audit.services import record, record_many, seal  # noqa: E402
from dovetail_audit.verification.prove import prove  # noqa: E402
from dovetail_audit.verification.scan import verify  # noqa: E402

WRITERS, SAVES = 8, 300
chance = random.Random(20)
PARAMETERS = {"amount": 4711, "currency": "EUR", "reason": "The customer asked for it."}


def columns(number: int) -> dict[str, Any]:
    return {
        "organization": f"organization-{number % 8}",
        "actor": str(number),
        "action": "invoice.refunded",
        "target_kind": "shop.Invoice",
        "target": str(number),
        "request_id": f"0198{number:028x}",
        "data": {"parameters": PARAMETERS},
    }


def plain_insert(number: int) -> None:
    Log.objects.create(**columns(number))


def global_chain(number: int) -> None:
    head = Head.objects.select_for_update().get(pk=1)
    row = Log(**columns(number), previous=bytes(head.hash))
    content = json.dumps([row.action, row.actor, row.target, row.data], sort_keys=True).encode()
    row.hash = head.hash = hashlib.sha256(bytes(head.hash) + content).digest()
    row.save(force_insert=True)
    head.save(update_fields=["hash"])


def ours(number: int) -> None:
    record(
        "invoice.refunded",
        target=("shop.Invoice", number),
        organization_id=f"organization-{number % 8}",
        parameters=PARAMETERS,
    )


DESIGNS: dict[str, Callable[[int], None]] = {
    "plain insert": plain_insert,
    "dovetail-audit, sealed each second": ours,
    "global chain": global_chain,
}


def writer(design: str, number: int, seconds: float, pause: float, start: Any, results: Any) -> None:
    rows = Plain.objects.filter(pk=number + 1)
    count, errors = 0, 0
    connection.ensure_connection()
    start.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with transaction.atomic():
                rows.update(amount=count)
                DESIGNS[design](number)
                time.sleep(pause)
            count += 1
        except Exception as error:  # noqa: BLE001  # counted, whatever it is
            errors += 1
            print(f"{design}: {type(error).__name__}: {error}", file=sys.stderr)
    connections.close_all()
    results.put((count, errors))


def sealer(seconds: float, start: Any, results: Any) -> None:
    seal()
    before = Leaf.objects.count()
    start.wait()
    begun, end = time.process_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        seal()
    cpu = time.process_time() - begun
    results.put((Leaf.objects.count() - before, cpu))
    connections.close_all()


def throughput(design: str, seconds: float, pause: float) -> tuple[float, int, tuple[int, float]]:
    """Return transactions per second, errors, and what the sealer sealed with how many seconds of CPU."""
    context = multiprocessing.get_context("fork")
    sealing = design.startswith("dovetail")
    start = context.Barrier(WRITERS + sealing)
    results, sealed = context.Queue(), context.Queue()
    connections.close_all()
    processes = [
        context.Process(target=writer, args=(design, number, seconds, pause, start, results))
        for number in range(WRITERS)
    ]
    if sealing:
        processes.append(context.Process(target=sealer, args=(seconds, start, sealed)))
    for process in processes:
        process.start()
    counts = [results.get() for _number in range(WRITERS)]
    share = sealed.get() if sealing else (0, 0.0)
    for process in processes:
        process.join()
    return sum(count for count, _errors in counts) / seconds, sum(errors for _count, errors in counts), share


def measure_writers(seconds: float, rounds: int) -> None:
    for pause, title in ((0.0, "as fast as possible"), (0.005, "the request takes 5 ms after the event")):
        rates: dict[str, list[float]] = {design: [] for design in DESIGNS}
        errors, entries, cpu = 0, 0, 0.0
        for _round in range(rounds):
            for design in DESIGNS:
                rate, failed, (sealed, seconds_of_cpu) = throughput(design, seconds, pause)
                rates[design].append(rate)
                errors, entries, cpu = errors + failed, entries + sealed, cpu + seconds_of_cpu
        print(f"\n{WRITERS} writers, {title}: transactions/s, ratio to the plain insert of the same round")
        for design, values in rates.items():
            ratios = [value / base for value, base in zip(values, rates["plain insert"], strict=True)]
            print(f"  {design:36} {statistics.median(values):8.0f}  {statistics.median(ratios):5.2f}  ", end="")
            print(f"({min(ratios):.2f} to {max(ratios):.2f})")
        micro = 1e6 * cpu / max(entries, 1)
        print(f"  errors (deadlocks, serialization failures): {errors}")
        print(f"  sealing: {micro:.0f} µs of CPU an entry, {micro * 500 / 1e4:.1f} % of a core at 500 entries/s")


def measure_saves(rounds: int) -> None:
    least = dict.fromkeys(MODELS, float("inf"))
    queries = {}
    for name, model in MODELS.items():
        row = model.objects.create(name="row")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            save(model.objects.get(pk=row.pk), 0)
        queries[name] = len(captured) - 1
    for _round in range(rounds * 2):
        for name, model in MODELS.items():
            row = model.objects.get(pk=model.objects.first().pk)
            begun = time.process_time()
            for number in range(SAVES):
                save(row, number)
            least[name] = min(least[name], (time.process_time() - begun) / SAVES)
    print("\none save(): CPU in µs, added to a plain save, ratio of the added to django-auditlog's, statements")
    base, peer = least["plain save"], least.get("django-auditlog")
    for name, value in least.items():
        ratio = f"{(value - base) / (peer - base):5.2f}" if peer else "    -"
        print(f"  {name:36} {1e6 * value:6.0f} {1e6 * (value - base):6.0f} {ratio} {queries[name]:3}")


def save(row: Any, number: int) -> None:
    row.amount, row.note = number, f"changed {number}"
    with transaction.atomic():
        row.save()


def random_text() -> str:
    """Return text of all planes of Unicode, with NUL and lone surrogates."""
    return "".join(
        chr(chance.choice((0, 65, 0xE9, 0xD800, 0xDFFF, 0x1F600, chance.randrange(0x110000)))) for _ in "1234"
    )


def random_value() -> Any:
    """Return a value that databases may return in another form than they stored it."""
    return chance.choice(
        (random_text(), chance.uniform(-1e25, 1e25), chance.getrandbits(70), -0.0, None, [random_text()], {"k": 1e22})
    )


def fill(entries: int) -> None:
    """Write entries as ``record()`` does, and seal them. A finding of the verification would be a false alarm."""
    for start in range(Entry.objects.count(), entries, 10_000):
        record_many(
            {
                "action": "invoice.refunded",
                "target": ("shop.Invoice", number),
                "organization_id": f"organization-{number % 8}",
                "parameters": {**PARAMETERS, "random": random_value()},
                "personal": {"payer": f"payer-{number}@example.com", "note": random_text()},
            }
            for number in range(start, min(start + 10_000, entries))
        )
        seal()


def in_child(function: Callable[[], Any]) -> Any:
    """Run a function in a process of its own, so that its memory is its own too."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    connections.close_all()

    def run() -> None:
        results.put(function())
        connections.close_all()

    process = context.Process(target=run)
    process.start()
    result = results.get()
    process.join()
    return result


def verification(size: int) -> tuple[int, float, float, int]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.monotonic()
    findings = len(list(verify()))
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    return findings, size / cpu, size / wall, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


def measure_reading(entries: int) -> None:
    print("\nentries: verified/s of a core (wall), memory that verification adds in MB, proof in ms")
    for size in sorted({max(entries // 10, 1000), entries}):
        fill(size)
        size = Checkpoint.objects.order_by("-pk")[0].pk
        findings, rate, wall, memory = in_child(lambda size=size: verification(size))
        times = []
        for leaf in Leaf.objects.order_by("pk")[:: max(size // 50, 1)]:
            entry = Entry.objects.get(pk=leaf.entry)
            begun = time.perf_counter()
            document = prove(entry)
            times.append(1000 * (time.perf_counter() - begun))
            checkpoint = proofs.Checkpoint.parse(proofs.SignedNote.parse(document["checkpoint"]).text)
            proofs.verify_document(document, size=checkpoint.size, root=checkpoint.root)
        print(f"  {size:9} {rate:8.0f} ({wall:.0f}) {memory:5} {statistics.median(times):6.1f}", end="")
        print(f" (longest {max(times):.1f}); findings: {findings}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("writers", "saves", "reading"))
    options = parser.parse_args()
    runner = get_runner(settings)(verbosity=0, interactive=False)
    old = runner.setup_databases()
    try:
        Plain.objects.bulk_create([Plain(name=str(number)) for number in range(WRITERS)])
        Head.objects.create(pk=1, hash=bytes(32))
        if options.only in {None, "saves"}:
            measure_saves(options.rounds)
        if options.only in {None, "writers"}:
            measure_writers(options.seconds, options.rounds)
        if options.only in {None, "reading"}:
            measure_reading(options.entries)
    finally:
        connections.close_all()
        runner.teardown_databases(old)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
