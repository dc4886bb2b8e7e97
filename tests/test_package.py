"""The package's front door: lazy names, configuration, native utilities."""

import json
import os
import subprocess
import sys

import pytest

import dnnsched as ds
from dnnsched import config
from dnnsched._native import _base


def run_python(code, **env):
    """Output of `code` in a fresh interpreter that sees the installed package, not the current folder's."""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, **env}, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_import_loads_nothing_optional():
    code = "import json, sys, dnnsched; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run_python(code).stdout.splitlines()[-1]))
    assert not loaded & {"numpy", "pandas", "matplotlib", "scipy", "torch", "sklearn"}
    assert {name for name in loaded if name.startswith("dnnsched.")} == set()


def test_every_module_can_be_the_first():
    """No module needs another one to be imported before it."""
    code = ("import importlib, sys, dnnsched\n"
            "for name in dnnsched._MODULES:\n"
            "    for loaded in [m for m in sys.modules if m.startswith('dnnsched.') and '._native' not in m]:\n"
            "        del sys.modules[loaded]\n"
            "    try:\n        importlib.import_module(f'dnnsched.{name}')\n"
            "    except ImportError as error:\n        print(name, error)\n")
    printed = run_python(code).stdout.splitlines()
    assert [line for line in printed if "dnnsched[" not in line] == []


def test_every_public_name_loads():
    for name in ds.__all__:
        assert getattr(ds, name) is not None
    assert set(ds.__all__) <= set(dir(ds))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ds.no_such_thing


def test_failure_inside_a_public_module_keeps_its_own_error():
    code = ("import sys, dnnsched\nsys.modules['dnnsched.traces'] = None\n"
            "try:\n    dnnsched.Trace\nexcept ImportError as e:\n    print('dnnsched.traces' in str(e))")
    assert run_python(code).stdout.strip() == "True"


def test_version_is_the_distribution_s():
    from importlib import metadata

    assert ds.__version__ == metadata.version("dnnsched")


@pytest.mark.parametrize("level", config.ISA_LEVELS)
def test_environment_lowers_the_level(level):
    code = "import dnnsched; print(dnnsched.config.isa())"
    want = min(config.ISA_LEVELS.index(level), len(config.runnable_isa_levels()) - 1)
    assert run_python(code, DNNSCHED_ISA=level).stdout.strip() == config.ISA_LEVELS[want]


def test_unknown_level_in_the_environment_warns():
    done = run_python("import dnnsched.config as c; print(c.isa())", DNNSCHED_ISA="sse9")
    assert "DNNSCHED_ISA: expected generic, avx2, avx512, avx512vnni or amx, got 'sse9'" in done.stderr
    assert done.stdout.strip() == config.runnable_isa_levels()[-1]


def test_isa_only_lowers():
    code = ("import os; os.environ['DNNSCHED_ISA'] = 'generic'\n"
            "from dnnsched import config\nprint(config.isa(), config.isa('avx512'), os.environ['DNNSCHED_ISA'])")
    assert run_python(code).stdout.split() == ["generic", "generic", "generic"]


def test_isa_changes_loaded_modules_and_later_ones():
    code = ("import os\nfrom dnnsched import config\ntop = config.isa()\nlow = config.isa('generic')\n"
            "from dnnsched._native import _base, _kernels, _sim\n"
            "print(low, _base._isa(), _kernels._isa(), _sim._isa())\n"
            "print(os.environ['DNNSCHED_ISA'], config.isa(top) == top)")
    assert run_python(code).stdout.split() == ["generic", "0", "0", "0", "generic", "True"]


def test_isa_rejects_other_words():
    with pytest.raises(ValueError, match="level: expected one of generic, avx2, avx512, avx512vnni, amx, got 'fast'"):
        config.isa("fast")
    with pytest.raises(ValueError, match="level: expected 0 to 4, got 7"):
        _base._set_isa(7)


def test_status_names():
    assert _base.status_name(0) == "DNS_OK"
    assert _base.status_name(30) == "DNS_ERR_FORMAT"
    assert _base.status_name(-5) == _base.status_name(10**6) == "unknown"
    with pytest.raises(TypeError):
        _base.status_name("30")


def test_show_config(capsys):
    record = ds.show_config("dicts")
    assert record["dnnsched"] == ds.__version__
    assert record["isa"] in record["isa_runnable"]
    assert ds.show_config() is None
    printed = capsys.readouterr().out
    assert all(key in printed for key in record)
    with pytest.raises(ValueError, match="mode"):
        ds.show_config("xml")


def test_data_dir_exists():
    assert ds.paths.data_dir().is_dir()


def test_error_types():
    assert issubclass(ds.FormatError, ValueError)
    assert issubclass(ds.StateError, RuntimeError)
