"One real smoke run to which everything happens: a full disk, Ctrl-C, kill -9; and what a user sees who asks for something wrong."
import json, os, re, resource, shutil, signal, subprocess, sys, time
from pathlib import Path
import psutil, pytest, torch
from safetensors.torch import load_file
from stephrl.agents import load_agent
from stephrl.augment import Rows
from stephrl.cli import main
from stephrl.episode import read_episodes
from stephrl.train import Config, ConfigError, Run
from stephrl.training import read_log
from stephrl.transitions import load_dataset, save_dataset, transitions

ENV = os.environ | dict(OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false')   # one thread here and there: then sums have the same order
PATIENCE = int(os.environ.get('STEPHRL_PATIENCE', 60))*5


def start(out, largest_file=None):
    "The command a user types. `largest_file`, bytes: writes beyond it fail, as on a full disk."
    limit = None if largest_file is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    return subprocess.Popen([Path(sys.executable).with_name('stephrl'), 'train', '--config', 'smoke', '--out', str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=ENV, preexec_fn=limit)


def ended(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert 'Traceback' not in err, err
    return process.returncode, out, err


def stop(process, sig, when):
    "Send the signal as soon as `when()`; no process that it has started outlives it."
    deadline = time.monotonic() + PATIENCE
    while not when() and process.poll() is None and time.monotonic() < deadline: time.sleep(.01)
    assert process.poll() is None, process.communicate()
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sig)
    code, out, err = ended(process)
    assert not psutil.wait_procs(family, timeout=60)[1], 'processes are left behind'
    return code, err


def lines(path): return path.read_bytes().count(b'\n') if path.exists() else 0
def state(*paths): return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}
def weights(agent): return load_file(agent/'policy'/'model.safetensors')
def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    "The folder of a run that was disturbed five times and then finished."
    out = tmp_path_factory.mktemp('runs')/'smoke'
    demos = out/'demos.jsonl'

    code, _, err = ended(start(out, largest_file=40_000))                                     # the disk is full while demonstrations are written
    assert code == 1 and str(demos) in err and 'the disk is full; what was finished is kept' in err, err
    had, first = demos.read_bytes(), read_episodes(demos)
    assert 0 < len(first) < 6

    code, _ = stop(start(out), signal.SIGKILL, lambda: lines(demos) > len(first))
    assert code == -signal.SIGKILL and demos.read_bytes().startswith(had)                     # no demonstration is played twice

    code, err = stop(start(out), signal.SIGINT, lambda: lines(out/'cloning'/'bc.jsonl') > 0)
    assert code == 130 and 'stopped; what was finished is kept, and the same command goes on from there' in err, err
    kept = state(demos, out/'annotated.jsonl', *sorted(out.glob('transitions/*')), *sorted(p for p in out.glob('backbone/*')))
    assert len(kept) > 5 and demos.read_bytes().startswith(had)

    code, _, err = ended(start(out, largest_file=2_000_000))                                  # full again, before cloning's checkpoint is written
    assert code == 1 and 'the disk is full' in err and not (out/'agents').exists(), err

    code, _ = stop(start(out), signal.SIGKILL, (out/'rl'/'critics'/'heads.safetensors').exists)
    assert code == -signal.SIGKILL
    kept |= state(out/'collected.jsonl', *sorted(p for p in out.glob('agents/clone/**/*') if p.is_file()))

    code, said, err = ended(start(out))
    assert code == 0, err
    assert state(*kept) == kept                                                               # what was finished has not been touched
    return out, said


def test_a_disturbed_run_ends_well(smoke):
    out, said = smoke
    results = json.loads((out/'results.json').read_text())
    assert [results['agents'][a]['crashes'] for a in ('cloning', 'rl', 'online')] == [0, 0, 0] and results['agents']['rl']['episodes'] == 2
    assert results['rl']['updates'] > 0 and results['rl']['weights_l2'] > 0
    assert (out/'episodes.html').stat().st_size > 20_000 and all(s['finished'] for s in json.loads((out/'stages.json').read_text()).values())
    assert '10 of 10: something to look at' in said and '| cloning+RL |' in said and 'next:' in said
    assert not [p for p in out.rglob('.*') if p.is_file()], 'half-written files are left'


def test_training_ends_with_the_weights_of_an_undisturbed_run(smoke, tmp_path):
    "The same table in another folder, trained in one go."
    out, calm = smoke[0], tmp_path/'calm'
    shutil.copytree(out, calm, ignore=lambda folder, names: {'backbone', 'cloning', 'agents', 'rl', 'evaluation', 'notes', 'results.json', 'episodes.html'} & set(names))
    stages = json.loads((calm/'stages.json').read_text())
    for name in ('backbone', 'cloning', 'rl', 'evaluation', 'page'): del stages[name]
    (calm/'stages.json').write_text(json.dumps(stages))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run = Run(Config.of('smoke'), calm)
        run.cloned(), run.reinforced()
    finally: torch.set_num_threads(threads)
    assert same(load_file(out/'backbone'/'model.safetensors'), load_file(calm/'backbone'/'model.safetensors'))
    for name in ('clone', 'rl'): assert same(weights(out/'agents'/name), weights(calm/'agents'/name)), name
    assert not same(weights(out/'agents'/'clone'), weights(out/'agents'/'rl'))


def test_what_was_removed_is_made_again(smoke, tmp_path, capsys):
    out, again = smoke[0], tmp_path/'again'
    shutil.copytree(out, again)
    (again/'agents'/'rl'/'agent.json').rename(again/'agents'/'.rl.half-written')
    shutil.rmtree(again/'agents'/'rl')
    for f in (again/'results.json', again/'transitions'/'expert.parquet'): f.unlink()
    mixed = again/'transitions'/'mixed.parquet'
    save_dataset(load_dataset(mixed).select(range(3)), mixed)                       # made from something else
    assert main(['train', '--config', 'smoke', '--out', str(again)]) == 0
    assert list(load_dataset(mixed)) == list(load_dataset(out/'transitions'/'mixed.parquet'))
    assert same(weights(out/'agents'/'rl'), weights(again/'agents'/'rl')) and (again/'results.json').exists()
    assert (again/'demos.jsonl').read_bytes() == (out/'demos.jsonl').read_bytes()


def test_rl_learns_from_the_cloned_table_and_from_own_episodes(smoke):
    run = Run(Config.of('smoke'), smoke[0])
    mixed, expert, own = load_dataset(run.path('transitions', 'mixed.parquet')), run.tables()[0], run.own_rows(run.played())
    assert own and len(mixed) == len(expert) + len(own)
    assert list(mixed.select(range(len(expert)))) == list(expert)
    assert [r['episode'] for r in mixed.select(range(len(expert), len(mixed)))] == [r['episode'] for r in own]


def test_a_finished_run_goes_on_online(smoke, tmp_path):
    out, more = smoke[0], tmp_path/'more'
    shutil.copytree(out, more)
    before = state(*(p for p in (more/'agents').rglob('*') if p.is_file()), more/'online'/'1'/'collected.jsonl', more/'cloning'/'bc.jsonl')
    assert main(['train', '--config', 'smoke', '--set', 'rounds=2', '--out', str(more)]) == 0
    assert state(*before) == before                                        # what was learnt before is not touched, and nothing is played again
    run, results = Run(Config.of('smoke', rounds=2), more), json.loads((more/'results.json').read_text())
    assert list(run.stages)[-4:] == ['online 1', 'online 2', 'evaluation', 'page'] and all(s['finished'] for s in run.stages.values())
    first, second, third = (read_episodes(more/f) for f in ('collected.jsonl', 'online/1/collected.jsonl', 'online/2/collected.jsonl'))
    ids = lambda episodes: [(e.task, e.variation) for e in episodes]
    assert len({*ids(first), *ids(second)}) == len(first) + len(second) and {*ids(third)} <= {*run.train_ids()}   # other variations, until all have been met
    assert [e.source for e in second + third] == ['cloning+RL']*len(second) + ['cloning+RL, online 1']*len(third)
    own = [r['episode'] for r in load_dataset(more/'online'/'2'/'mixed.parquet') if r['kind'] == 'collected']
    assert {*own} == {e.id for e in first + second + third if e.steps and not e.error}            # all that has been played so far
    assert not same(weights(more/'agents'/'rl'), weights(more/'agents'/'online1')) and not same(weights(more/'agents'/'online1'), weights(more/'agents'/'online2'))
    assert load_agent(more/'agents'/'online2').train_ids == load_agent(more/'agents'/'clone').train_ids
    assert {'difference', 'ci95'} <= set(results['online_difference']) and results['agents']['online']['agent'] == 'cloning+RL, online 2'


def test_only_the_notes_of_own_episodes_are_relabelled(smoke):
    run = Run(Config.of('smoke'), smoke[0])
    episode = {e.id: e for e in run.played()}
    plain, rows = [r for e in run.played() for r in transitions(e)], run.own_rows(run.played())
    changed = [(p, r) for p, r in zip(plain, rows, strict=True) if p != r]
    assert changed and all(p['role'] == 'progress' and p | dict(target=r['target'], kind='imagined') == r for p, r in changed)   # cloned, not valued
    refused = [r['target'] for r in rows if r['role'] == 'progress' and episode[r['episode']].observation_after(r['t']).text.startswith('No known action')]
    assert refused and all('was not understood' in t for t in refused)


# ---- wrong words: one line, the nearest right ones, status 1

def refused(capsys, *argv):
    "What the command says when it refuses."
    capsys.readouterr()
    status, err = main([str(a) for a in argv]), capsys.readouterr().err
    said = [l for l in err.splitlines() if l.startswith('stephrl ')]
    assert status == 1 and len(said) == 1 and 'Traceback' not in err, (status, err)
    return said[0]


@pytest.mark.parametrize('words, hint', [
    (['--config', 'smok'], "Did you mean 'smoke'"), (['--set', 'clon.lr=1'], "Did you mean 'clone'"), (['--set', 'clone.ler=1'], "Did you mean 'lr'"),
    (['--set', 'rl.policy.lrr=1'], "Did you mean 'lr'"), (['--set', 'seed=zero'], "seed: expected int, found 'zero'"), (['--set', 'seed'], 'expected key=value'),
    (['--set', 'suite=unsen'], "Did you mean 'unseen'"), (['--set', 'tasks=find-animl'], "Did you mean 'find-animal'"), (['--set', 'env=sciencewrld'], "Did you mean 'scienceworld'"),
    (['--set', 'decoding=vaild'], "Did you mean 'valid'"), (['--set', 'collect=0'], 'collect: expected a number in [1, 1e6]'), (['--config', 'none.json'], 'none.json'),
    (['--set', 'backbone=smok'], "Did you mean 'smoke'"), (['--set', 'env_options={"plain_expertt": true}'], "Did you mean 'plain_expert'"), (['--set', 'lora={"r": 4}'], 'lora: '), (['--set', 'preset=quick'], '--set preset')])
def test_unknown_names_stop_a_training_before_it_starts(words, hint, tmp_path, capsys):
    assert hint in refused(capsys, 'train', *(words if '--config' in words else ['--config', 'smoke', *words]), '--out', tmp_path/'run')
    assert not (tmp_path/'run').exists()


def test_a_mistake_in_the_first_command_does_not_spoil_the_folder(tmp_path, capsys):
    assert "Did you mean 'find-plant'" in refused(capsys, 'train', '--set', 'tasks=find-plnt', '--out', tmp_path)
    Run(Config.quick(), tmp_path)                                                             # another config is welcome: nothing had been made


def test_other_settings_in_the_same_folder(smoke, capsys):
    said = refused(capsys, 'train', '--config', 'smoke', '--set', 'seed=1', '--set', 'clone.lr=.5', '--out', smoke[0])
    assert 'config.json' in said and 'other settings (clone.lr, seed;' in said


def test_unknown_names_elsewhere(smoke, tmp_path, capsys):
    agent, out = smoke[0]/'agents'/'rl', tmp_path/'out.json'
    for words, hint in [(['--suite', 'quik'], "Did you mean 'quick'"), (['--suite', 'quick', '--tasks', 'find-animl'], "Did you mean 'find-animal'"), (['--suite', tmp_path/'no.json'], 'no.json')]:
        assert hint in refused(capsys, 'evaluate', '--agent', agent, *words, '--out', out)
    assert 'no such directory' in refused(capsys, 'evaluate', '--agent', agent/'nowhere', '--out', out)
    assert "Did you mean 'boil'" in refused(capsys, 'demos', '--tasks', 'boill', '--out', tmp_path/'demos.jsonl')
    assert 'find-animal has the variations 0 to 299, not 9999' in refused(capsys, 'evaluate', '--agent', agent, '--suite', panel(tmp_path, 'find-animal', 9999), '--out', out)
    assert not out.exists()


def panel(folder, *episode, step_limit=2):
    "A panel file with one episode."
    path = folder/'panel.json'
    path.write_text(json.dumps(dict(env='scienceworld', version='1.2.3', simplification='', step_limit=step_limit, episodes=[list(episode)])))
    return path


# ---- damaged files

@pytest.mark.parametrize('file,content,message', [('agents/rl/critics/heads.safetensors', 100, 'not a whole safetensors file'), ('transitions/heldout.parquet', 100, 'not a parquet file'), ('results.json', 50, 'not a JSON object'),
                                                  ('notes/rl.json', 20, 'not a JSON object'), ('stages.json', b'{"demonstrations": 5}', 'expected seconds and finished'), ('cloning/bc.jsonl', b'{"step": 1}\n\xff\n', 'not a log')])
def test_a_damaged_file_of_a_run_is_named(smoke, tmp_path, capsys, file, content, message):
    "Cut after so many bytes, or other bytes in its place."
    folder = tmp_path/'run'
    shutil.copytree(smoke[0], folder)
    (folder/file).write_bytes((folder/file).read_bytes()[:content] if isinstance(content, int) else content)
    if file == 'cloning/bc.jsonl':
        with pytest.raises(ValueError, match=message) as e: read_log(folder/file)
        said = str(e.value)
    elif 'critics' in file:
        with pytest.raises(ValueError, match=message) as e: load_agent(folder/'agents'/'rl').fill_values([])
        said = str(e.value)
    else:
        if file.startswith('notes'): (folder/'results.json').unlink()
        said = refused(capsys, 'train', '--config', 'smoke', '--out', folder)
    assert message in said and str(folder/file) in said, said


def damages(line):
    record = json.loads(line)
    return dict(cut=(line[:len(line)//2], 'the file ends in the middle of an episode'), schema=(json.dumps(record | dict(schema=99)) + '\n', 'schema 1, the record has 99'),
                missing=(json.dumps({k: v for k, v in record.items() if k != 'task'}) + '\n', "the field 'task' is missing"))


@pytest.mark.parametrize('damage', ['cut', 'schema', 'missing'])
def test_a_damaged_episode_file(smoke, tmp_path, capsys, damage):
    played = panel(tmp_path, 'find-animal', 299)
    command = ['evaluate', '--agent', smoke[0]/'agents'/'rl', '--suite', played, '--out', tmp_path/'r.json']
    assert main([str(c) for c in command]) == 0
    file = tmp_path/'r.episodes.jsonl'
    whole = file.read_text()
    bad, hint = damages(whole)[damage]
    file.write_text(whole + bad)
    said = refused(capsys, 'view', file, '--html', tmp_path/'page.html')
    assert f'{file}, line 2' in said and hint in said and not (tmp_path/'page.html').exists()
    if damage == 'cut':                                                                       # an evaluation that was interrupted goes on
        assert main([str(c) for c in command]) == 0 and file.read_text() == whole
    else: assert f'{file}, line 2' in refused(capsys, *command) and file.read_text() == whole + bad


def test_agents_and_checkpoints_of_another_version(smoke, tmp_path, capsys):
    agent = tmp_path/'rl'
    shutil.copytree(smoke[0]/'agents'/'rl', agent)
    command = ['evaluate', '--agent', agent, '--suite', 'quick', '--out', tmp_path/'r.json']
    for file, hint in [(agent/'agent.json', 'format'), (agent/'policy'/'stephrl.json', 'format')]:
        right = file.read_text()
        file.write_text(json.dumps(json.loads(right) | dict(format=99)))
        said = refused(capsys, *command)
        assert str(file) in said and hint in said and '99' in said
        file.write_text(right)
    model = agent/'policy'/'model.safetensors'
    model.write_bytes(model.read_bytes()[:1000])
    assert f'{model}: 1000 bytes instead of' in refused(capsys, *command)
    (agent/'agent.json').unlink()
    assert 'agent.json: missing' in refused(capsys, *command)


def test_a_training_checkpoint_that_does_not_fit(smoke, tmp_path, capsys):
    out = tmp_path/'run'
    shutil.copytree(smoke[0], out)
    shutil.rmtree(out/'agents')
    checkpoint = out/'cloning'/'bc.pt'
    for content, hint in [(checkpoint.read_bytes()[:1000], 'not a whole checkpoint'), ((out/'rl'/'iql.pt').read_bytes(), 'belongs to a run with other data')]:
        checkpoint.write_bytes(content)
        said = refused(capsys, 'train', '--config', 'smoke', '--out', out)
        assert str(checkpoint) in said and hint in said
    (out/'stages.json').write_text('{"demonstr')
    assert 'stages.json: damaged' in refused(capsys, 'train', '--config', 'smoke', '--out', out)


# ---- a script needs no ceremony

def test_a_script_without_a_main_guard(tmp_path):
    "Processes that the library starts do not run the user's script again."
    (tmp_path/'script.py').write_text('print("the script runs", flush=True)\nfrom stephrl.demos import collect_demos\nprint(len(collect_demos("corridor", workers=2, progress=False)))\n')
    out = subprocess.run([sys.executable, tmp_path/'script.py'], capture_output=True, text=True, timeout=PATIENCE, env=ENV)
    assert (out.returncode, out.stdout.split('\n')[:2]) == (0, ['the script runs', '2']), out.stderr


def test_things_change_places_for_all_three_roles():
    "Where the second paint stands must not tell what is left to add, to nobody."
    subtask = 'Subtask: mix red paint and blue paint in the jug\nProgress: '
    says = dict(high=('Task: create violet paint', ' mix red paint and blue paint', r'and (\S+) paint'),   # prompt, target, and where it names the second
                low=(subtask + 'Poured. [Added: red paint] [Left: blue paint]', ' pour cup containing blue paint in jug', r'containing (\S+)'),
                progress=(subtask + '-\nDid: pour cup containing red paint in jug', ' Poured. [Added: red paint] [Left: blue paint]', r'Left: (\S+)'))
    for role, (head, target, second) in says.items():
        prompt = f'{head}\nRoom: a jug (containing red paint), a cup (containing blue paint), a cup (containing yellow paint)'
        rows = Rows(recast=1.).recasted([dict(id=str(n), episode='e', env='scienceworld', role=role, prompt=prompt, target=target, next_prompt=None) for n in range(40)])
        places = {re.findall(r'containing (\S+)', r['prompt'].split('Room: ')[1]).index(re.search(second, r['target'])[1]) for r in rows}
        assert places == ({0, 1, 2} if role == 'high' else {1, 2}), role                                # the first is in the jug by then


def test_searches_are_learnt_from_by_those_who_search(tmp_path):
    "Rows of plays that look for something: for the low level and the notes, as an expert's, from variations that are not held out."
    run = Run(Config.of('smoke', searches=2, workers=0), tmp_path/'run')
    run.demonstrations(), run.annotated()
    before = run.train_ids()
    table, _ = run.tables()
    mine = [r for r in table if '/search/' in r['episode']]
    assert {r['role'] for r in mine} == {'low', 'progress'} and {'expert'} <= {r['kind'] for r in mine} <= {'expert', 'imagined'} and run.stages['searches']['finished']
    assert sum(r['role'] == 'low' and 'focus on' in r['target'] for r in mine) == len({r['episode'] for r in mine}) >= 2
    held = {(e.task, e.variation) for e in run.learnable()[1]}
    found = {(e.task, e.variation) for e in run.searched()}
    assert held and not held & found and set(run.train_ids()) == set(before) | found
    with pytest.raises(ConfigError, match='searches: there is no such expert for alfworld'): Config.of('alfworld-quick', searches=1).check()


def test_errands_are_plays_of_the_task_that_they_solve(tmp_path):
    "What was found and heated is what the high level is told to find and to heat; a search alone teaches it nothing."
    run = Run(Config.of('smoke', tasks='melt,find-animal', suite='unseen', searches=2, errands=4, workers=0), tmp_path/'run')
    run.demonstrations(), run.annotated()
    table = run.tables()[0]
    high = [r for r in table if r['role'] == 'high' and '/errand/' in r['episode']]
    assert {r['task'] for r in high} == {'melt'} and not [r for r in table if r['role'] == 'high' and '/search/' in r['episode']]
    for r in high: # in the order of the subtasks: thermometer and pot, the search, the stove
        thing = re.search(r'Your task is to melt (.+?)\.', r['prompt'])[1]
        assert r['subtask'] == 0 or f'the {thing} ' in r['target'], r
    assert {r['subtask'] for r in high} == {0, 1, 2} and not {'water', 'ice'} & {re.search('melt (.+?)[.]', r['prompt'])[1] for r in high}
