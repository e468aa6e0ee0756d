"""The package itself."""

import subprocess
import sys

import pytest

import instruments


def test_importing_the_package_loads_no_heavy_library():
    """The agent's PC has neither numpy nor a spreadsheet reader; pandas is never loaded."""
    code = (
        "import sys, instruments, instruments.errors\n"
        "assert not {'numpy', 'pandas', 'python_calamine'} & set(sys.modules)\n"
        "instruments.read\n"
        "assert not {'pandas', 'python_calamine'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_resolves():
    """What `__all__` promises is there."""
    assert all(getattr(instruments, name) is not None for name in instruments.__all__)
    with pytest.raises(AttributeError):
        instruments.no_such_name  # noqa: B018
