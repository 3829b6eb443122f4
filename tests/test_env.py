"Panels under fire, and pools whose processes are really killed."
import json, os, signal, subprocess, sys, textwrap, time
import psutil, pytest
from hypothesis import given, settings, strategies as st
from stephrl.env import Corridor, EnvDied, EnvError, Suite, SuiteError, TextEnv, load_suite, make_env, save_suite, suite_names
from stephrl.workers import EnvPool

def alive(pid):
    try: return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess: return False

def gone(pids, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        if not any(map(alive, pids)): return True
        time.sleep(.05)
    return False

def children(pid, name='java'): return [p.pid for p in psutil.Process(pid).children(recursive=True) if name in p.name()]

# ---- panels

good = dict(env='corridor', version='1', simplification='', step_limit=12, episodes=[['take-lamp', 3], ['take-lamp', 4]], gold=[100, 100])
json_values = st.recursive(st.none() | st.booleans() | st.integers(-3, 99) | st.text(max_size=4), lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=3), c, max_size=2), max_leaves=4)

@given(st.sampled_from(sorted(good)), json_values)
@settings(max_examples=150, deadline=None)
def test_a_panel_is_read_or_refused_by_name(tmp_path_factory, field, value):
    path = tmp_path_factory.getbasetemp()/'panel.json'
    path.write_text(json.dumps(good | {field: value}))
    try: assert isinstance(load_suite(path), Suite)
    except SuiteError as e: assert 'panel.json' in str(e) and field in str(e)

@pytest.mark.parametrize('field', ['env', 'version', 'simplification', 'step_limit', 'episodes'])
def test_a_missing_field_is_named(tmp_path, field):
    (tmp_path/'p.json').write_text(json.dumps({k: v for k, v in good.items() if k != field}))
    with pytest.raises(SuiteError, match=f"p.json.*{field}.*missing"): load_suite(tmp_path/'p.json')

@given(st.lists(st.tuples(st.text(max_size=8), st.integers() | st.text(max_size=8)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_panel_survives_writing(tmp_path_factory, episodes, with_gold):
    s = Suite('p', 'corridor', '1', '', 12, episodes, [1.5]*len(episodes) if with_gold else None)
    assert load_suite(save_suite(s, tmp_path_factory.getbasetemp()/'p.json')) == s

def test_the_panels_of_the_package():
    sizes = {n: len(load_suite(n)) for n in suite_names()}
    assert (sizes['seen'], sizes['unseen'], sizes['quick'], sizes['all30']) == (195, 211, 44, 271)
    assert len({t for t, v in load_suite('all30').episodes}) == 30
    assert set(load_suite('quick').episodes) < set(load_suite('unseen').episodes)
    reported = {e for n in ('seen', 'unseen', 'all30', 'all30_seen') for e in load_suite(n).episodes}
    for n in ('quick_select', 'all30_select', 'quick_shifted'): assert not reported & set(load_suite(n).episodes)
    measured, chosen, left_out = (set(load_suite(n).episodes) for n in ('genuine', 'genuine_select', 'genuine_rooms'))
    assert (len(measured), len(chosen)) == (140, 60) and not measured & chosen and measured | chosen < left_out

def test_corridor_keeps_the_protocol(): assert isinstance(Corridor(), TextEnv) and isinstance(make_env('corridor'), TextEnv)

# ---- pools

def test_slots_of_one_pool_do_what_single_environments_do():
    with EnvPool('corridor', 2, 5) as pool:
        pool.reset_many({i: ('take-lamp', i, 0) for i in range(5)})
        for t in range(4):
            out = pool.step_many({i: 'go east' if t < i else 'take lamp' for i in range(5) if t <= i})
            assert [out[i][2] for i in out] == [t == i for i in out]

@pytest.mark.parametrize('when', ['before', 'during'])
def test_a_killed_worker_takes_only_its_own_slots(when):
    with EnvPool('corridor', 3, 9) as pool:
        pool.reset_many({i: ('take-lamp', 4, 0) for i in range(9)})
        pid = pool.workers[2].process.pid
        if when == 'before': os.kill(pid, signal.SIGKILL); out = pool.step_many({i: 'go east' for i in range(9)})
        else:
            os.kill(pid, signal.SIGSTOP)                       # it has the request, but will not answer it
            subprocess.Popen([sys.executable, '-c', f'import time, os, signal; time.sleep(1); os.kill({pid}, signal.SIGKILL)']).wait
            out = pool.step_many({i: 'go east' for i in range(9)})
        assert [type(out[i]) is EnvDied for i in range(9)] == [i % 3 == 2 for i in range(9)]
        pool.restart([2, 5])
        assert not isinstance(pool.reset_many({2: ('take-lamp', 4, 0)})[2], Exception)
        assert isinstance(pool.step_many({8: 'go east'})[8], EnvDied)       # restarted process, but this slot's episode is still lost
        assert pool.step_many({0: 'go east'})[0][0].look.startswith('This is room 2')

def test_a_java_machine_killed_inside_a_worker():
    with EnvPool('scienceworld', 2, 4) as pool:
        assert not any(isinstance(o, Exception) for o in pool.reset_many({i: ('power-component', i, 0) for i in range(4)}).values())
        java = children(pool.workers[1].process.pid)
        assert len(java) == 1                                  # two worlds, one machine
        os.kill(java[0], signal.SIGKILL)
        out = pool.step_many({i: 'look around' for i in range(4)})
        assert [type(out[i]) is EnvDied for i in range(4)] == [False, True, False, True] and 'was killed' in str(out[1])
        pool.restart([1])
        assert not any(isinstance(o, Exception) for o in pool.reset_many({1: ('power-component', 0, 0), 3: ('boil', 0, 0)}).values())
        assert pool.step_many({1: 'look around', 3: 'look around'})[3][4]['valid']
        everybody = [w.process.pid for w in pool.workers.values()] + children(os.getpid())
    assert not any(psutil.pid_exists(p) and psutil.Process(p).status() == psutil.STATUS_ZOMBIE for p in everybody[:2])
    assert gone(everybody)

SCRIPT = textwrap.dedent('''
    import sys, psutil
    from stephrl.workers import EnvPool
    if __name__ == '__main__':
        pool = EnvPool('scienceworld', 2, 4, step_limit=None)
        pool.reset_many({i: ('boil', 0, 0) for i in range(4)})
        print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True)
        while sys.argv[1] == 'play': pool.step_many({i: 'look around' for i in range(4)})
    ''')

@pytest.mark.parametrize('end', [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=['forgotten', 'ctrl-c', 'terminated', 'killed'])
def test_no_process_is_left_behind(tmp_path, end):
    (tmp_path/'s.py').write_text(SCRIPT)
    p = subprocess.Popen([sys.executable, tmp_path/'s.py', 'play' if end else 'leave'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    pids = [int(x) for x in p.stdout.readline().split()]
    time.sleep(.5)
    if end == signal.SIGINT: os.killpg(p.pid, end)             # as a terminal does: everybody gets it
    elif end: p.send_signal(end)
    _, err = p.communicate(timeout=60)
    assert len([q for q in pids]) >= 4 and gone(pids)
    if end == signal.SIGINT: assert err.count('Traceback') == 1 and err.rstrip().endswith('KeyboardInterrupt')   # the parent's, nobody else's

def test_ctrl_c_leaves_a_usable_pool():
    with EnvPool('corridor', 2, 2) as pool:
        pool.reset_many({0: ('take-lamp', 4, 0), 1: ('take-lamp', 4, 0)})
        pid = pool.workers[1].process.pid
        os.kill(pid, signal.SIGSTOP)
        old = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        signal.setitimer(signal.ITIMER_REAL, .5)
        with pytest.raises(KeyboardInterrupt): pool.step_many({0: 'go east', 1: 'go east'})
        signal.signal(signal.SIGALRM, old)
        os.kill(pid, signal.SIGCONT)
        assert isinstance(pool.step_many({1: 'go east'})[1], EnvDied)
        pool.reset_many({1: ('take-lamp', 4, 0)})              # the answer that came too late is not taken for this one
        assert pool.step_many({1: 'go east'})[1][0].look == 'This is room 1.'

def test_closed_pools_say_so():
    pool = EnvPool('corridor', 1, 1)
    pool.close(); pool.close()
    with pytest.raises(EnvError, match='closed'): pool.reset_many({0: ('take-lamp', 1, 0)})
