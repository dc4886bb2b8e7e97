"""Paper semantics of the single-accelerator schedulers on the engine twin: estimates, programs, policies.

Who knows what: estimates are averages over all samples of a trace, per key ("aware") for dysta, dysta_oracle and
the `*_sparse` schedulers, per architecture for the others; `*_sparse` and dysta scale what remains by gamma, the
density of the last executed layer over its average (clamped to [0.1, 10]); dysta_oracle and srpt_oracle know the
true latencies.
"""

import oracle_engine as twin
from oracle_artifact import Tables, left_sum

AWARE = {"dysta", "dysta_oracle", "sjf_sparse", "prema_sparse", "sdrm3_sparse"}
MONITORED = {"dysta", "sjf_sparse", "prema_sparse", "sdrm3_sparse"}
TRUE = {"dysta_oracle", "srpt_oracle"}
SCHEDULERS = ("fcfs", "sjf", "sjf_sparse", "edf", "llf", "hpf", "round_robin", "srpt_oracle", "prema", "prema_sparse",
              "planaria", "sdrm3", "sdrm3_sparse", "dysta", "dysta_naive", "dysta_oracle")


def gammas(tables, key, sample, predictor="last_one", n_last=3, clamp=(0.1, 10.0)):
    """gamma once k layers are done, k = 0..L-1."""
    layers = len(tables.latency[key][sample])
    rows = tables.sparsity[key]
    if rows is None:
        return [1.0] * layers
    density = [1.0 - s for s in rows[sample]]
    average = [1.0 - s for s in tables.avg_sparsity[key]]
    out = [1.0]
    for k in range(1, layers):
        first = {"last_one": k - 1, "average_all": 0, "last_n": max(0, k - n_last)}[predictor]
        measured = left_sum(density[first:k])   # the ratio of means is the ratio of sums
        expected = left_sum(average[first:k])
        gamma = 1.0 if expected == 0.0 else measured / expected
        out.append(min(max(gamma, clamp[0]), clamp[1]))
    return out


def programs(tables, name, predictor="last_one", alpha=1.0):
    """One program per key; the estimates are what scheduler `name` may know."""
    out = []
    for key, rows in enumerate(tables.latency):
        layers, gamma = len(rows[0]), None
        flat = [x for row in rows for x in row]
        stages = [twin.Stage(0, hold=twin.Table(flat, by={"sample": layers}), hold_off=k, state=twin.PER_JOB)
                  for k in range(layers)]
        if name in TRUE:
            remaining = [[left_sum(row[k:]) for k in range(layers)] for row in rows]
            following = [list(row) for row in rows]
            isolated = [left_sum(row) for row in rows]
        else:
            average = (tables.avg_key if name in AWARE else tables.avg_model)[key]
            suffix = [left_sum(average[k:]) for k in range(layers)]
            if name in MONITORED:
                remaining, following, gamma = [], [], []
                for sample in range(len(rows)):
                    g = gammas(tables, key, sample, predictor)
                    remaining.append([(alpha * g[k]) * suffix[k] for k in range(layers)])
                    following.append([g[k] * average[k] for k in range(layers)])
                    gamma.append(g)
            else:
                remaining, following = [suffix], [list(average)]
            isolated = [suffix[0]]
        out.append(twin.Program(stages, remaining, following, isolated, gamma))
    return out


def policy(name, **params):
    """The twin's policy object of a scheduler name."""
    classes = {"fcfs": twin.Fcfs, "sjf": twin.Sjf, "sjf_sparse": twin.Sjf, "srpt_oracle": twin.Sjf, "edf": twin.Edf,
               "llf": twin.Llf, "hpf": twin.Hpf, "round_robin": twin.RoundRobin, "prema": twin.Prema,
               "prema_sparse": twin.Prema, "planaria": twin.Planaria, "sdrm3": twin.Sdrm3,
               "sdrm3_sparse": twin.Sdrm3, "dysta": twin.Dysta, "dysta_naive": twin.Dysta,
               "dysta_oracle": twin.Dysta}
    if name == "prema_sparse":
        params["sparse"] = True
    return classes[name](**params)


def simulate(requests, tables: Tables, name, *, clock="monotonic", switch_cost=0.0, predictor="last_one", **params):
    """Run rows (arrival, key, sample, priority, deadline); returns the finished twin engine."""
    rows = [twin.Row(arrival=a, program=key, sample=s, deadline=d, priority=p) for a, key, s, p, d in requests]

    def cost(_resource, previous, job):
        return switch_cost if previous not in (-1, job) else 0.0  # the first request finds the accelerator ready

    engine = twin.Engine(rows, programs(tables, name, predictor), [twin.Pool(policy(name, **params))], clock=clock,
                         switch_job=cost)
    return engine.run()


def finishes(engine):
    return [engine.jobs[i].finish for i in range(len(engine.rows))]


def first_starts(engine):
    return [engine.jobs[i].first_start for i in range(len(engine.rows))]
