"""Exact values of queues, each computed here from its closed form or its chain, never from the simulator."""

import math

import numpy as np


def erlang_c(servers, offered):
    """Probability of waiting in M/M/c."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def mmc_sojourn(rate, mean, servers):
    """Mean time in M/M/c."""
    offered = rate * mean
    return mean + erlang_c(servers, offered) * mean / (servers - offered)


def mg1_sojourn(rate, mean, second):
    """Mean time in M/G/1 (Pollaczek and Khinchine); `second` is the second moment of service."""
    return mean + rate * second / (2 * (1 - rate * mean))


def mdc_wait(rate, time, servers, states=600):
    """Mean wait in M/D/c: the chain of numbers in system one service time apart (Crommelin)."""
    arrivals = _poisson(rate * time, states)
    step = np.zeros((states, states))
    for n in range(states):
        left = max(n - servers, 0)
        step[n, left:] = arrivals[: states - left]
        step[n, -1] += 1 - step[n].sum()
    number = _stationary(step)
    queue = np.sum(np.maximum(np.arange(states) - servers, 0) * number)
    return queue / rate


def plates_sojourn(rate, time, servers, batch, states=900):
    """Mean time in M/D[batch,batch]/c: the chain of numbers in system one service time apart.

    Every plate in service at one moment has left a service time later, and none that began since has.
    """
    arrivals = _poisson(rate * time, states)
    step = np.zeros((states, states))
    for n in range(states):
        left = n - batch * min(servers, n // batch)
        step[n, left:] = arrivals[: states - left]
        step[n, -1] += 1 - step[n].sum()
    return float(np.arange(states) @ _stationary(step)) / rate


def bulk_sojourn(rate, service, batch, least, states=600, spread=0.0):
    """Mean time in M/G[least,batch]/1: the chain at ends of service, then the time average in between.

    A server that finds fewer than `least` waits for the missing ones; it takes at most `batch`. Service is
    uniform from `service` - `spread` to `service` + `spread`; its integrals are Gauss-Legendre sums.
    """
    points, weights = np.polynomial.legendre.leggauss(60 if spread else 1)
    times, shares = service + spread * points, weights / 2
    second = float(shares @ times**2)
    count = np.arange(states)
    arrivals = shares @ np.array([_poisson(rate * time, states) for time in times])
    step = np.zeros((states, states))
    for n in range(states):
        left = max(n - batch, 0) if n >= least else 0
        step[n, left:] = arrivals[: states - left]
        step[n, -1] += 1 - step[n].sum()
    after = _stationary(step)  # waiting at the end of a service
    # one cycle: wait for the missing, then serve; integral of the number in the system
    missing = np.maximum(least - count, 0)
    waiting = sum(p * sum(k / rate for k in range(n, least)) for n, p in enumerate(after) if n < least)
    begin = np.maximum(count, least)  # in the system when the service begins
    serving = np.sum(after * (begin * service + rate * second / 2))
    length = np.sum(after * missing) / rate + service
    return (waiting + serving) / length / rate


def jackson_sojourn(rate, stations, feedback):
    """Mean time through stations in a row (servers, mean), begun again with probability `feedback`."""
    effective = rate / (1 - feedback)
    return sum(mmc_sojourn(effective, mean, servers) for servers, mean in stations) / (1 - feedback)


def _poisson(mean, states):
    count = np.arange(states)
    return np.exp(-mean + count * math.log(mean) - np.cumsum(np.log(np.maximum(count, 1))))


def _stationary(step):
    size = step.shape[0]
    system = step.T - np.eye(size)
    system[-1] = 1
    right = np.zeros(size)
    right[-1] = 1
    return np.linalg.solve(system, right)
