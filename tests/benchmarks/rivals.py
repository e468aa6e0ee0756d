"""The laboratory of `bench_sim` in Ciw and in salabim, run by a Python that has them installed.

`python rivals.py ciw|salabim IN.npz OUT.npz`. In: `plate` (tubes of one), `servers` of the scanner and of
every stage, `arrivals`, and the service times in order of start, `scan` and `stage0`, `stage1`, ... Out:
`turnaround`, one value a tube in order of arrival, and `seconds` of CPU without imports.
"""

import importlib
import sys
import time

import numpy as np


def by_ciw(given):
    """Ciw serves no batches: tubes pass a network of the scanner alone, their plates one of the other stages."""
    ciw = importlib.import_module("ciw")
    plate, servers = int(given["plate"]), given["servers"].tolist()
    scanned = _network(ciw, given["arrivals"], [given["scan"]], servers[:1])
    order = np.argsort(scanned, kind="stable")
    full = scanned[order][plate - 1 :: plate]
    stages = [given[f"stage{number}"] for number in range(len(servers) - 1)]
    left = np.empty_like(scanned)
    left[order] = np.repeat(_network(ciw, full, stages, servers[1:]), plate)
    return left - given["arrivals"]


def _network(ciw, arrivals, services, servers):
    """When each customer leaves stations in a row; they come and are served in the given order."""
    sequence = ciw.dists.Sequential
    gaps = [*np.diff(arrivals, prepend=0.0).tolist(), float("inf")]
    row = np.eye(len(servers), k=1).tolist()
    network = ciw.create_network(
        arrival_distributions=[sequence(gaps), *[None] * (len(servers) - 1)],
        service_distributions=[sequence(times[: arrivals.size].tolist()) for times in services],
        number_of_servers=servers,
        routing=row if len(servers) > 1 else [[0.0]],
    )
    run = ciw.Simulation(network)
    run.simulate_until_max_customers(arrivals.size, method="Finish")
    left = np.zeros(arrivals.size)
    for record in run.get_all_records():
        if record.node == len(servers):
            left[record.id_number - 1] = record.exit_date
    return left


def by_salabim(given):
    """As a newcomer writes it: every tube and every plate is a component, every station a resource."""
    sim = importlib.import_module("salabim")
    sim.yieldless(False)
    env = sim.Environment(trace=False)
    plate, servers, arrivals = int(given["plate"]), given["servers"].tolist(), given["arrivals"].tolist()
    stations = [sim.Resource(capacity=count, monitor=False) for count in servers]
    drawn = [iter(given[name].tolist()) for name in ("scan", *(f"stage{n}" for n in range(len(servers) - 1)))]
    left, forming = np.zeros(len(arrivals)), []

    class Plate(sim.Component):
        def setup(self, tubes):
            self.tubes = tubes

        def process(self):
            for station, times in zip(stations[1:], drawn[1:], strict=True):
                yield self.request(station)
                yield self.hold(next(times))
                self.release(station)
            for number in self.tubes:
                left[number] = env.now()

    class Tube(sim.Component):
        def setup(self, number):
            self.number = number

        def process(self):
            yield self.request(stations[0])
            yield self.hold(next(drawn[0]))
            self.release(stations[0])
            forming.append(self.number)
            if len(forming) == plate:
                Plate(tubes=list(forming))
                forming.clear()

    class Source(sim.Component):
        def process(self):
            for number, at in enumerate(arrivals):
                yield self.hold(till=max(at, env.now()))
                Tube(number=number)

    Source()
    env.run()
    return left - given["arrivals"]


def main():
    """Read, run, write."""
    name, source, target = sys.argv[1:]
    given = dict(np.load(source))
    importlib.import_module(name)
    start = time.process_time()
    turnaround = {"ciw": by_ciw, "salabim": by_salabim}[name](given)
    np.savez(target, turnaround=turnaround, seconds=time.process_time() - start)


if __name__ == "__main__":
    main()
