"""Random request tables shared by the simulator tests, and their conversion to the package's classes."""

import random

from oracle_artifact import Tables, left_sum


def random_case(seed, *, max_keys=4, max_layers=6, max_requests=24):
    """(requests, tables): shapes, ties, loads and deadlines vary with the seed.

    Some seeds draw from a coarse grid of binary fractions, so that times, scores and tokens tie exactly.
    """
    rnd = random.Random(f"case-{seed}")
    grid = rnd.random() < 0.4
    keys = rnd.randint(1, max_keys)
    names, shapes = [], {}
    for key in range(keys):
        name = rnd.choice(["a", "b", f"m{key}"])
        shapes.setdefault(name, rnd.choice([1, 1, 2, 3, max_layers]) if rnd.random() < 0.5
                          else rnd.randint(1, max_layers))
        names.append(name)
    latency, sparsity = [], []
    for name in names:
        samples = rnd.choice([1, 2, 3, 7])
        if grid:
            latency.append([[rnd.choice([0.25, 0.5, 0.5, 1.0]) for _ in range(shapes[name])] for _ in range(samples)])
        else:
            scale = rnd.choice([0.1, 1.0, 3.0])
            latency.append([[scale * rnd.uniform(0.2, 1.8) for _ in range(shapes[name])] for _ in range(samples)])
        kind = rnd.random()
        if kind < 0.15:
            sparsity.append(None)
        elif kind < 0.25:
            level = rnd.choice([0.0, 0.5, 1.0])
            sparsity.append([[level] * shapes[name] for _ in range(samples)])
        elif grid:
            sparsity.append([[rnd.choice([0.0, 0.25, 0.5, 0.75]) for _ in range(shapes[name])]
                             for _ in range(samples)])
        else:
            sparsity.append([[rnd.uniform(0.0, 0.98) for _ in range(shapes[name])] for _ in range(samples)])
    mean = left_sum([left_sum(row) for rows in latency for row in rows]) / sum(len(rows) for rows in latency)
    n = rnd.choice([1, 2, 3, max_requests, max_requests]) if rnd.random() < 0.3 else rnd.randint(2, max_requests)
    load = rnd.choice([0.3, 0.8, 1.2, 4.0])
    tight = rnd.choice([0.0, 0.5, 1.5, 4.0, 20.0])
    requests, t = [], rnd.choice([0.0, 0.0, 1.5])
    for _ in range(n):
        if grid:
            t += rnd.choice([0.0, 0.0, 0.25, 0.5, 1.0, 2.0])
        elif rnd.random() < 0.85:
            t += rnd.expovariate(load / mean)
        key = rnd.randrange(keys)
        sample = rnd.randrange(len(latency[key]))
        if grid:
            deadline = t + tight * rnd.choice([0.25, 0.5, 1.0, 2.0])
        else:
            deadline = t + tight * rnd.uniform(0.5, 1.5) * left_sum(latency[key][sample])
        priority = rnd.choice([1.0, 3.0, 9.0]) if rnd.random() < 0.9 else rnd.choice([1.0, 12.0, 1e3])
        requests.append((t, key, sample, priority, deadline))
    return requests, Tables(latency, sparsity, names)


def trace_set(tables):
    """The package's TraceSet of the same tables; key order is the index."""
    import numpy as np

    import dnnsched as ds

    return ds.TraceSet({
        f"k{key}": ds.Trace(np.array(rows), None if tables.sparsity[key] is None else np.array(tables.sparsity[key]),
                            model=tables.model[key], pattern=f"p{key}")
        for key, rows in enumerate(tables.latency)})


def workload(requests, tables, traces=None):
    """The package's Workload of the same rows."""
    import numpy as np

    import dnnsched as ds

    columns = list(zip(*requests, strict=True))
    return ds.Workload(trace_set(tables) if traces is None else traces, arrival=np.array(columns[0], dtype=np.float64),
                       model=np.array(columns[1], dtype=np.int32), sample=np.array(columns[2], dtype=np.int32),
                       deadline=np.array(columns[4], dtype=np.float64),
                       priority=np.array(columns[3], dtype=np.float64))


def one_layer_case(arrivals, services, priorities=None, deadlines=None):
    """Requests of one layer each, one sample per request."""
    n = len(arrivals)
    tables = Tables([[[s] for s in services]], [None], ["m"])
    return [(arrivals[i], 0, i, 1.0 if priorities is None else priorities[i],
             float("inf") if deadlines is None else deadlines[i]) for i in range(n)], tables


