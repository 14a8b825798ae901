"""The worker that sets overdue."""

import asyncio
from datetime import timedelta

from cloud.workers.overdue import Overdue
from tests.integration.billing.conftest import World


async def test_workers_set_overdue_together_and_leave_what_somebody_is_paying(world: World) -> None:
    """D8: overdue is never set."""
    bills = [world.final(world.meter(), 10) for _ in range(25)]
    workers = [Overdue(dsn=world.domain_dsn, at_once=10) for _ in range(3)]
    late = world.now + timedelta(days=60)

    async def work(worker: Overdue) -> None:
        while await worker.step(None, late):
            pass

    with world.domain.transaction():
        world.do("SELECT FROM invoices WHERE invoice_id = %s FOR UPDATE", bills[0])
        for worker in workers:
            await asyncio.wait_for(work(worker), 20)
        assert world.one("SELECT count(*) FROM invoices WHERE status = 'overdue'") == 24
    await work(workers[0])
    assert world.one("SELECT count(*) FROM invoices WHERE status = 'overdue'") == 24
    await Overdue(dsn=world.domain_dsn).step(None, late + timedelta(minutes=5))
    assert world.one("SELECT count(*) FROM invoices WHERE status = 'overdue'") == 25
