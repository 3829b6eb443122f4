"""Put every trap back, one at a time, and see that its test notices: `python tests/mutations/run.py [trap ...]`.

Each patch is tried in a process of its own on a copy of the package. The processes are forked from one that has imported the large libraries
already (never stephrl), so each takes about a second. Exit status 1 when a trap went unnoticed, a patch no longer fits, or a test fails without any patch.
"""
import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE, TESTS = HERE.parents[1]/'stephrl', HERE.parent/'test_traps.py'
sys.path.insert(0, str(HERE))
from patches import PATCHES  # noqa: E402

LIBRARIES = ('torch', 'numpy', 'pandas', 'pytest', 'transformers', 'transformers.models.llama.modeling_llama', 'transformers.models.lfm2.modeling_lfm2', 'transformers.models.auto.modeling_auto',
             'accelerate', 'datasets', 'safetensors.torch', 'tqdm.auto', 'fastcore.basics', 'plotly.graph_objects')
NOT_NOTICED, NOTICED, BROKEN = 0, 10, 20


def patched_copy(folder, module, old, new):
    "A copy of the package with one text replaced."
    copy = Path(folder)/'stephrl'
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns('__pycache__', 'agents_data', 'static'))
    os.symlink(PACKAGE/'static', copy/'static')
    if module is None: return
    file = copy/f'{module}.py'
    text = file.read_text(encoding='utf8')
    assert text.count(old) == 1, f'{module}.py: the text of the patch occurs {text.count(old)} times, expected once: {old!r}'
    file.write_text(text.replace(old, new), encoding='utf8')


def tests_of(trap):
    return [n for n in re.findall(r'^def (test_trap_\d\d_\w+)', TESTS.read_text(encoding='utf8'), re.M) if int(n[10:12]) == trap]


def child(trap, module, old, new, folder):
    "Runs in a fork: how did the trap's tests take it?"
    try:
        patched_copy(folder, module, old, new)
        sys.path.insert(0, str(folder))
        spec = importlib.util.spec_from_file_location('test_traps', TESTS)
        traps = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(traps)
        assert Path(importlib.import_module('stephrl').__file__).is_relative_to(folder)
        if module: importlib.import_module(f'stephrl.{module}')          # a patch that breaks the syntax proves nothing
    except BaseException:
        traceback.print_exc()
        return BROKEN
    try:
        for name in tests_of(trap):
            test = getattr(traps, name)
            test(*([Path(tempfile.mkdtemp(dir=folder))] if 'tmp_path' in test.__code__.co_varnames[:test.__code__.co_argcount] else []))
    except (NameError, ImportError, SyntaxError, AttributeError):
        traceback.print_exc()
        return BROKEN
    except BaseException as e:
        print(f'      {type(e).__name__}: {" ".join(str(e).split())[:150]}')
        return NOTICED
    return NOT_NOTICED


def attempt(trap, module=None, old='', new=''):
    "Exit status of a fork in which one patch (none for module=None) was tried."
    sys.stdout.flush()
    folder = Path(tempfile.mkdtemp(prefix='stephrl-mutation-')).resolve()
    try:
        pid = os.fork()
        if not pid:
            code = BROKEN
            try: code = child(trap, module, old, new, folder)
            finally:
                sys.stdout.flush()
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally: shutil.rmtree(folder, ignore_errors=True)


def main(wanted):
    os.environ |= dict(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', TQDM_DISABLE='1', HF_HUB_OFFLINE='1')
    for name in LIBRARIES: importlib.import_module(name)
    importlib.import_module('torch').set_num_threads(1)
    assert not any(m.split('.')[0] == 'stephrl' for m in sys.modules), 'stephrl must be imported by the forks, each its own copy'
    bad = []
    for trap in sorted({p[0] for p in PATCHES}):
        if wanted and trap not in wanted: continue
        for patch in [(trap,), *(p for p in PATCHES if p[0] == trap)]:
            status, want = attempt(*patch), NOT_NOTICED if len(patch) == 1 else NOTICED
            what = 'as it is' if len(patch) == 1 else f'{patch[1]}: {patch[3].splitlines()[0][:90]}'
            words = {NOT_NOTICED: 'passes' if len(patch) == 1 else 'NOT NOTICED', NOTICED: 'fails' if len(patch) == 1 else 'noticed'}
            print(f'trap {trap:2d}  {words.get(status, "BROKEN")}  {what}', flush=True)
            if status != want: bad.append((trap, what))
    print(f'{len(bad)} wrong' if bad else 'every trap is noticed')
    return bool(bad)


if __name__ == '__main__': sys.exit(main([int(a) for a in sys.argv[1:]]))
