"Each of the sixteen traps, put back, is noticed by its test; see tests/mutations."
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent/'mutations'/'run.py'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')
def test_every_trap_put_back_is_noticed():
    done = subprocess.run([sys.executable, str(RUN)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and 'every trap is noticed' in done.stdout, done.stdout[-6000:] + done.stderr[-3000:]
    assert {int(l.split()[1]) for l in done.stdout.splitlines() if l.startswith('trap ')} == set(range(1, 17))


def test_a_patch_that_no_longer_fits_is_an_error(tmp_path):
    script = tmp_path/'try.py'
    script.write_text(f'import sys; sys.path.insert(0, {str(RUN.parent)!r})\nimport run\nsys.exit(0 if run.attempt(2, "iql", "no such text", "x") == run.BROKEN else 1)')
    assert subprocess.run([sys.executable, str(script)], capture_output=True, timeout=300).returncode == 0
