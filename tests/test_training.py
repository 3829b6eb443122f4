"A training that is killed, with no chance to tidy up, and started again ends with the same weights, bit for bit."
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name('interrupted_training.py')
ENV = os.environ | dict(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')


def start(out): return subprocess.Popen([sys.executable, str(SCRIPT), str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)


def kill_when(process, log, n):
    "SIGKILL as soon as the log has `n` lines."
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.read_text().count('\n') >= n: break
        time.sleep(.01)
    assert process.poll() is None, process.communicate()[1][-2000:]
    process.send_signal(signal.SIGKILL)
    process.wait()


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return out.split()[-1]


def test_killed_twice_and_finished(tmp_path):
    undisturbed = finish(start(tmp_path/'undisturbed'))
    kill_when(start(tmp_path/'killed'), tmp_path/'killed'/'bc'/'bc.jsonl', 7)
    kill_when(start(tmp_path/'killed'), tmp_path/'killed'/'focused'/'bc.jsonl', 12)   # while it listens to what rows cost
    kill_when(start(tmp_path/'killed'), tmp_path/'killed'/'focused'/'bc-again.jsonl', 5)
    assert not (tmp_path/'killed'/'rl').exists()
    kill_when(start(tmp_path/'killed'), tmp_path/'killed'/'rl'/'iql.jsonl', 9)
    assert finish(start(tmp_path/'killed')) == undisturbed
    for name in ('bc/bc.jsonl', 'rl/iql.jsonl'):                       # every update is in the log once
        assert [eval(l, dict(NaN=0))['step'] for l in (tmp_path/'killed'/name).read_text().splitlines()] == list(range(1, 26))
    assert not list(tmp_path.rglob('.*.writing')), 'half-written files are left'


def test_full_disk_leaves_the_last_checkpoint(tmp_path):
    "A device without space: /dev/full refuses every write."
    from stephrl.training import load_state, save_state
    import torch
    path = save_state(dict(fingerprint='x', step=1, w=torch.zeros(10)), tmp_path/'a.pt')
    os.symlink('/dev/full', tmp_path/'.a.pt.writing')
    try: save_state(dict(fingerprint='x', step=2, w=torch.zeros(10**6)), path)
    except (OSError, RuntimeError) as e: assert 'space' in str(e) or 'write' in str(e), e
    else: raise AssertionError('the disk was full')
    assert load_state(path, 'x')['step'] == 1
    assert os.listdir(tmp_path) == ['a.pt']
