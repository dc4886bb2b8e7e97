"""What the reproduction of Sparse-DySta runs: sets, rates, schedulers and replications of each profile."""

from dataclasses import dataclass, field

SLOS = (10.0, 25.0, 50.0, 75.0, 100.0, 150.0)
"""SLO multipliers of Fig. 14."""

RATES_14 = {"attnn": (30.0, 40.0), "cnn": (3.0, 4.0)}
"""Rates of Figs. 12 and 14 and Table 5, in the order in which they share a random stream."""

RATES_15 = {"attnn": (10.0, 20.0, 30.0, 40.0), "cnn": (2.0, 3.0, 4.0, 5.0, 6.0)}
"""Rates of Fig. 15."""

LOADS = {"attnn": (0.31, 0.64, 0.9, 0.95, 1.0, 1.1, 1.27), "cnn": (0.55, 0.83, 0.9, 1.0, 1.1, 1.4, 1.65)}
"""Offered loads of the generated and recorded sets: those of Fig. 15, and the range that the claims are about."""

LOADS_12 = {"attnn": (0.95, 1.27), "cnn": (0.83, 1.1)}
"""Offered loads that correspond to the rates of Fig. 12."""

SCHEDULERS = ("fcfs", "sjf", "sdrm3", "prema", "planaria", "dysta_naive", "dysta", "dysta_oracle")
DEADLINE_FREE = frozenset({"fcfs", "sjf", "prema"})
"""Schedulers that never look at the deadline: one run serves every SLO multiplier."""

CASES = {"dysta slack=clamped": ("dysta", {"slack": "clamped"})}
"""Variants that run beside the schedulers wherever semantics is the paper's: row label -> scheduler, parameters."""

SLACKS = ("clamped", "signed", "deadline")
ETAS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
PREDICTORS = ("average_all", "last_n", "last_one")

RECORDED = {"attnn": "recorded-attention", "cnn": "recorded-cnn"}
"""Recorded trace set of each scenario."""

MEAN_ISOLATED_S = {"attnn": 0.032, "cnn": 0.276}
"""Mean isolated time of the paper's mixes, implied by its throughput under overload."""

PLATFORMS = {"multi-attnn-calibrated": "Sanger", "multi-cnn-calibrated": "Eyeriss-V2", "multi-attnn": "Sanger",
             "multi-cnn": "Eyeriss-V2", "original-attnn": "Sanger", "original-cnn": "Eyeriss-V2",
             "recorded-attention": "Sanger", "recorded-cnn": "Eyeriss-V2"}


@dataclass(frozen=True)
class Plan:
    """Sizes of one profile.

    Attributes
    ----------
    profile : str
    seeds : tuple of int
        Seeds of the published request tables (set A), always 1-5.
    draws : int
        Trace draws: replications of cv10, cv18, B and recorded.
    requests : int
        Requests per run.
    all_slos_for_draws : bool
        Run the whole SLO sweep for cv10 and cv18 too, not only M = 10.
    etas : tuple of float
    every_rate_for_draws : bool
        Run every rate of Fig. 15 for cv10 and cv18 too, not only those that a claim is about.
    slo_loads : dict
        Offered loads at which set B sweeps the SLO.
    """

    profile: str
    seeds: tuple = (1, 2, 3, 4, 5)
    draws: int = 5
    requests: int = 1000
    all_slos_for_draws: bool = False
    etas: tuple = (0.0, 0.01, 0.1, 1.0)
    every_rate_for_draws: bool = False
    slo_loads: dict = field(default_factory=lambda: dict(LOADS_12))

    def simulates(self, chosen, rate):
        """Whether a set of Fig. 15 is run at this rate."""
        if chosen.draws == 0 or self.every_rate_for_draws:
            return True
        return rate in RATES_14[chosen.domain] or (chosen.domain == "attnn" and chosen.workload.endswith("cv10"))

    def config(self):
        """The plan as JSON types, for ``run.json``."""
        return {"profile": self.profile, "seeds": list(self.seeds), "draws": self.draws, "requests": self.requests,
                "all_slos_for_draws": self.all_slos_for_draws,
                "every_rate_for_draws": self.every_rate_for_draws, "etas": list(self.etas),
                "slo_loads": {k: list(v) for k, v in self.slo_loads.items()},
                "rates_fig14": {k: list(v) for k, v in RATES_14.items()},
                "rates_fig15": {k: list(v) for k, v in RATES_15.items()},
                "loads": {k: list(v) for k, v in LOADS.items()}, "slos": list(SLOS),
                "schedulers": list(SCHEDULERS)}


PLANS = {"ci": Plan("ci"),
         "paper": Plan("paper", draws=10, all_slos_for_draws=True, every_rate_for_draws=True, etas=ETAS)}


def get(profile):
    """The plan of a profile; ValueError naming the known ones."""
    if profile not in PLANS:
        raise ValueError(f"profile: expected one of {', '.join(PLANS)}, got {profile!r}")
    return PLANS[profile]
