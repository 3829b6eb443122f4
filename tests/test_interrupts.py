"Ctrl-C while a large library is imported, in a process that lives on, as a notebook's does: the library can be used afterwards."
import subprocess, sys
import pytest

SCRIPT = '''
import os, signal, sys, threading, time
from stephrl import pddl, policy, training, transitions
trigger, use = sys.argv[1], dict(
    datasets=lambda: transitions.to_dataset([]).column_names,
    textworld=lambda: pddl.engine_parts()[1].__name__)[sys.argv[2]]
assert trigger not in sys.modules
def interrupt():
    while trigger not in sys.modules: time.sleep(.0005)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try: use(); time.sleep(5); print('no interruption')
except KeyboardInterrupt: print('interrupted')
print('then', use())
'''


@pytest.mark.parametrize('library, trigger, answer', [
    ('datasets', 'datasets.packaged_modules', 'role'), ('datasets', 'datasets.features', 'role'),
    ('textworld', 'textworld.core', 'textworld.logic')])
def test_a_library_that_was_being_imported_works_after_ctrl_c(library, trigger, answer):
    if library == 'textworld': pytest.importorskip('textworld')
    done = subprocess.run([sys.executable, '-c', SCRIPT, trigger, library], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith('interrupted\nthen ') and answer in done.stdout, done.stdout + done.stderr[-2000:]
