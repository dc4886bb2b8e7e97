"""Plug-ins: schedulers, cost models, workloads and papers that other distributions bring along.

A distribution names what it brings in its metadata (entry points), for example in ``pyproject.toml``::

    [project.entry-points."dnnsched.schedulers"]
    impatient = "my_package.policies:Impatient"

and ``ds.simulate(wl, "impatient")``, ``dnnsched run`` and ``dnnsched list schedulers`` know it once it is installed.
What each group brings:

``dnnsched.schedulers``
    A class or function that makes a scheduler from its parameters, or a scheduler (see :mod:`dnnsched.schedulers`).
``dnnsched.cost_models``
    A class or function that makes a model for :func:`dnnsched.accel.get`.
``dnnsched.workloads``
    A builder like :func:`dnnsched.workloads.poisson`: ``builder(ts, rate=, rho=, n=, slo_multiplier=, slo_base=,
    semantics=, rng=)``; an ``arrivals`` of ``dnnsched run``.
``dnnsched.papers``
    A module or object with ``reproduce(profile=, **options)`` and, if it has one, ``audit()``.

Nothing is imported before it is used, names of the package itself come first, and a plug-in that cannot be loaded is an
error only for who asks for it. What is written in a notebook needs no registration.
"""

from dataclasses import dataclass, field

from ._arrays import check_choice

GROUPS = ("schedulers", "cost_models", "workloads", "papers")

__all__ = ["GROUPS", "Plugin", "find", "load"]


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes
    ----------
    name, group : str
    distribution : str
        Name and version of the distribution that brings it.
    target : str
        ``"module:object"``.
    """

    name: str
    group: str
    distribution: str
    target: str
    _entry: object = field(repr=False, compare=False)

    def load(self):
        """The object; ImportError that names plug-in, distribution and reason if it cannot be had."""
        try:
            return self._entry.load()
        except Exception as error:
            raise ImportError(f"plug-in {self.name!r} of {self.distribution} (dnnsched.{self.group}, {self.target}) "
                              f"cannot be loaded: {type(error).__name__}: {error}") from error


def find(group):
    """Plug-ins of a group, none of them imported.

    Parameters
    ----------
    group : str
        One of :data:`GROUPS`.

    Returns
    -------
    tuple of Plugin
        By name, then distribution.
    """
    from importlib.metadata import entry_points

    check_choice(group, "group", GROUPS)
    found = {}
    for entry in entry_points(group=f"dnnsched.{group}"):
        dist = entry.dist
        owner = "an unknown distribution" if dist is None else f"{dist.name} {dist.version}"
        found[entry.name, owner, entry.value] = Plugin(entry.name, group, owner, entry.value, entry)
    return tuple(found[key] for key in sorted(found))


def load(group, name):
    """Object of a plug-in.

    Parameters
    ----------
    group : str
        One of :data:`GROUPS`.
    name : str

    Returns
    -------
    object or None
        None if no distribution brings the name.

    Raises
    ------
    ImportError
        The plug-in cannot be loaded.
    ValueError
        Several distributions bring the name.
    """
    found = [p for p in find(group) if p.name == name]
    if len(found) > 1:
        raise ValueError(f"plug-in {name!r} of dnnsched.{group} is brought by several distributions: "
                         f"{', '.join(f'{p.distribution} ({p.target})' for p in found)}; uninstall all but one")
    return found[0].load() if found else None
