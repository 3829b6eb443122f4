"What `import stephrl` offers."
import subprocess, sys
import pytest
import stephrl


@pytest.mark.parametrize('name', stephrl.__all__)
def test_every_name_at_the_top_is_there(name):
    value = getattr(stephrl, name)
    assert value.__name__ == name and value.__module__ == f'stephrl.{stephrl.MODULES[name]}' and name in dir(stephrl)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'stephrl' has no attribute 'lod_agent'"): stephrl.lod_agent


def test_importing_it_imports_nothing_heavy():
    code = "import sys, stephrl; sys.exit(bool({'torch', 'transformers', 'scienceworld', 'ipywidgets'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
