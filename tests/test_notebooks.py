"`stephrl notebook`, as typed: Ctrl-C, failing cells, wrong presets. The whole tutorial is run by `make smoke`."
import os, signal, subprocess, sys, time
from pathlib import Path
import nbformat, psutil, pytest

TUTORIAL = Path(__file__).parent.parent/'tutorials'/'01_full_train.ipynb'
PATIENCE = int(os.environ.get('STEPHRL_PATIENCE', 60))*3
ENV = os.environ | dict(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')


def start(*argv): return subprocess.Popen([Path(sys.executable).with_name('stephrl'), 'notebook', *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)


def made(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells]), path)
    return path


def test_ctrl_c_keeps_the_finished_cells_and_leaves_no_kernel(tmp_path):
    out, flag = tmp_path/'run', tmp_path/'flag'
    child = start(made(tmp_path/'long.ipynb', 'print("first cell")', f'open({str(flag)!r}, "w"); import time; time.sleep(1000)'), '--out', out)
    deadline = time.monotonic() + PATIENCE
    while not flag.exists() and child.poll() is None and time.monotonic() < deadline: time.sleep(.05)
    family = psutil.Process(child.pid).children(recursive=True)
    assert flag.exists() and family
    child.send_signal(signal.SIGINT)
    said, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130 and 'first cell' in said and 'what was finished is kept' in err and 'Traceback' not in err, (child.returncode, said, err)
    assert not psutil.wait_procs(family, timeout=30)[1], 'the kernel is left behind'
    assert nbformat.read(out/'long.ipynb', 4).cells[0].outputs[0].text == 'first cell\n'


def test_a_failing_cell_is_named(tmp_path):
    child = start(made(tmp_path/'bad.ipynb', 'print(1)', 'unknown_name'), '--out', tmp_path/'run')
    said, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1 and "NameError: name 'unknown_name' is not defined" in err and str(tmp_path/'run'/'bad.ipynb') in err
    assert len(err.splitlines()) == 1 and said == '1\n', (said, err)


def test_an_unknown_preset(tmp_path):
    child = start(TUTORIAL, '--preset', 'smok', '--out', tmp_path/'run')
    _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1 and "unknown preset 'smok'. Did you mean 'smoke'" in err and 'Traceback' not in err, err


@pytest.mark.parametrize('name', ['03_alfworld', '04_why_local_progress', '05_what_is_worth_imitating', '09_bring_your_own_environment'])
def test_the_tutorials_that_need_no_run_of_their_own(tmp_path, name):
    "From the first cell to the last; the first two tutorials are run in JupyterLab (test_tutorial_lab.py)."
    if name == '03_alfworld': pytest.importorskip('textworld', reason='the extra alfworld is not installed')
    child = start(TUTORIAL.parent/f'{name}.ipynb', '--out', tmp_path)
    said, err = child.communicate(timeout=PATIENCE*5)
    assert child.returncode == 0, (said[-2000:], err[-2000:])
    cells = [c for c in nbformat.read(tmp_path/f'{name}.ipynb', 4).cells if c.cell_type == 'code']
    assert all(c.execution_count for c in cells if c.source.strip())
