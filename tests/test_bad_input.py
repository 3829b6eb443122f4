"What a user sees who types something wrong or whose files are damaged: one line that names it and the remedy, before anything is computed."
import json, shutil
from pathlib import Path
import pytest
from stephrl.agents import StepHRL, load_agent, save_agent
from stephrl.cli import main
from stephrl.env import PANELS
from stephrl.episode import EpisodeError, EpisodeWriter, read_episodes
from stephrl.policy import Policy
from stephrl.viewer import STATIC

@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    def said(*argv):
        try: status = main([str(a) for a in argv])
        except SystemExit as e: status = e.code
        return status, capsys.readouterr().err
    return said

@pytest.mark.parametrize('setting,message', [
    ('sed=1', "Did you mean 'seed'"), ('seed=abc', 'seed: expected int'), ('seed=-1', 'seed: expected a number in'), ('seed=1e400', 'seed: expected int'), ('clone.lr=NaN', 'clone.lr: expected a number in (0, 10], found nan'),
    ('clone.lr=Infinity', 'clone.lr'), ('clone.precision=fp8', 'clone.precision: there is no'), ('clone.betas=[1,2]', 'clone.betas'), ('rl.tau=2', 'rl.tau'), ('rl.policy.lr=-1', 'rl.policy.lr'), ('temperature=-1', 'temperature'),
    ('collect=1e99', 'collect: expected a number in'), ('tasks=[]', 'tasks: expected at least one'), ('exercises=-1', 'exercises: expected a number in'), ('workers=-1', 'workers'), ('holdout=-1', 'holdout'), ('focus=1', 'focus: expected a number in [0, 1)'), ('shares={"hig":1}', "Did you mean 'high'?"), ('evenness=7', 'evenness'),
    ('suite=unsen', "Did you mean 'unseen'"), ('env=scienceworl', "Did you mean 'scienceworld'?"), ('decoding=vald', "Did you mean 'valid'?"), ('demos_per_task=0', 'demos_per_task'), ('eval_limit=0', 'eval_limit')])
def test_settings(said, setting, message):
    status, text = said('train', '--config', 'smoke', '--set', setting, '--out', 'run')
    assert status == 1 and message in text and text.count('\n') == 1 and 'Traceback' not in text and not Path('run').exists()

def test_where_nothing_can_be_written(said):
    Path('file').write_text('mine')
    assert 'file: a file stands where a folder is needed; give another path' in said('train', '--config', 'smoke', '--out', 'file')[1]
    for out in ('file/x.json', '.', ''):
        for command in (['evaluate', '--agent', 'random', '--suite', 'quick'], ['demos', '--tasks', 'boil']):
            status, text = said(*command, '--out', out)
            assert status == 1 and text.count('\n') == 1 and ('folder' in text or 'expected the path of a file' in text), (out, text)
    assert Path('file').read_text() == 'mine'

def test_brackets_without_end(said):
    "Which no parser of JSON follows down."
    Path('deep').mkdir()
    for name in ('episodes.jsonl', 'panel.json', 'deep/agent.json'): Path(name).write_text('['*100_000 + '\n')
    for command, named in ((['view', 'episodes.jsonl', '--html', 'a.html'], 'episodes.jsonl, line 1: not JSON'), (['evaluate', '--agent', 'random', '--suite', 'panel.json', '--out', 'r.json'], 'panel.json: not JSON'),
                           (['evaluate', '--agent', 'deep', '--suite', 'quick', '--out', 'r.json'], 'agent.json: not a JSON object')):
        status, text = said(*command)
        assert status == 1 and named in text and text.count('\n') == 1, text

PANEL = json.loads((PANELS/'quick.json').read_text()) | dict(episodes=[['find-animal', 225]], gold=[100])
@pytest.mark.parametrize('change,message', [
    (dict(step_limit=0), 'step_limit: expected at least 1'), (dict(step_limit='50'), 'step_limit: expected int'), (dict(gold=['a']), 'gold[0]: expected a score'), (dict(gold=[float('nan')]), 'gold[0]'), (dict(gold=[1, 2]), 'gold: expected one score per episode'),
    (dict(episodes=[]), 'the list is empty'), (dict(episodes=[['find-animal', True]]), 'episodes[0]: expected [task, variation]'), (dict(episodes=[['find-animal']]), 'episodes[0]'), (dict(version='1.1.0'), 'was made for scienceworld 1.1.0'), (dict(version=None), 'version: expected str'), (dict(name=['a']), 'name: expected str')])
def test_panels(said, change, message):
    Path('panel.json').write_text(json.dumps(PANEL | change))
    status, text = said('evaluate', '--agent', 'random', '--suite', 'panel.json', '--out', 'r.json')
    assert status == 1 and message in text and text.count('\n') == 1 and not Path('r.json').exists()

@pytest.mark.parametrize('option,message', [(['--limit', '0'], 'limit: expected at least 1'), (['--tasks', ''], 'expected names'), (['--tasks', 'find-anmal'], "Did you mean 'find-animal'"), (['--seed', '-1'], 'seed >= 0'), (['--parallel', '0'], 'n_parallel >= 1'),
                                            (['--agent', 'nobody'], 'no agent of that name'), (['--suite', 'quik'], "Did you mean 'quick'")])
def test_options_of_evaluate(said, option, message):
    status, text = said('evaluate', '--agent', 'random', '--suite', 'quick', '--out', 'r.json', *option)
    assert status == 1 and message in text and text.count('\n') == 1

@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    return save_agent(tmp_path_factory.mktemp('agent')/'a', StepHRL(Policy.new(['go to kitchen and take the cup | done']*9, 'smoke'), train_ids=[('boil', 1)]))

@pytest.mark.parametrize('change,message', [
    (dict(format=99), 'format: this stephrl reads 1, found 99'), (dict(kind='step-hr'), "Did you mean 'step-hrl'?"), (dict(options={'foo': 1}), "no setting 'foo'"), (dict(options={'max_subtask_steps': 'x'}), 'options: step-hrl cannot be made'), (dict(train_ids=[1]), 'train_ids: expected pairs'),
    (dict(policies={'': 'nowhere'}), 'nowhere')])
def test_the_card_of_an_agent(saved, tmp_path, change, message):
    shutil.copytree(saved, tmp_path/'a')
    card = tmp_path/'a/agent.json'
    card.write_text(json.dumps(json.loads(card.read_text()) | change))
    with pytest.raises(ValueError, match='.*'): load_agent(tmp_path/'a')
    try: load_agent(tmp_path/'a')
    except ValueError as e: assert message in str(e) and str(tmp_path) in str(e)

@pytest.mark.parametrize('content', [b'\xff\xfe\x00', b'[]', b'{"format": 1', b''])
def test_a_damaged_card(saved, tmp_path, content):
    shutil.copytree(saved, tmp_path/'a')
    (tmp_path/'a/agent.json').write_bytes(content)
    with pytest.raises(ValueError, match='agent.json: '): load_agent(tmp_path/'a')

WATCHED = (STATIC.parent/'data/watched.jsonl').read_text(encoding='utf8').splitlines()[0]
def test_every_missing_field_of_an_episode_is_named(tmp_path):
    d, file = json.loads(WATCHED), tmp_path/'e.jsonl'
    for part, where in ((d, ''), (d['steps'][0], 'steps[0]'), (d['subtasks'][0], 'subtasks[0]'), (d['steps'][0]['calls'][0], 'calls[0]'), (d['steps'][0]['observation'], 'observation')):
        for field in list(part):
            kept = part.pop(field)
            file.write_text(json.dumps(d) + '\n', encoding='utf8')
            with pytest.raises(EpisodeError, match=r'e\.jsonl, line 1') as e: read_episodes(file)
            assert field in str(e.value) and where in str(e.value)
            part[field] = kept

@pytest.mark.parametrize('content', [b'\xff\xfe\x00\x01', b'milk, eggs', b'a\nb', b'{"name": 1}'])
def test_nobodys_file_is_cut(tmp_path, content):
    (file := tmp_path/'list.txt').write_bytes(content)
    with pytest.raises(EpisodeError, match='write to another file'): EpisodeWriter(file)
    assert file.read_bytes() == content

@pytest.mark.parametrize('n', [1, 5, 9, 300, len(WATCHED.encode()) - 1])
def test_the_beginning_of_an_episode_is_dropped(tmp_path, n):
    whole = WATCHED.encode() + b'\n'
    (file := tmp_path/'e.jsonl').write_bytes(whole + WATCHED.encode()[:n])
    with pytest.raises(EpisodeError, match='e.jsonl, line 2: the file ends in the middle'): read_episodes(file)
    EpisodeWriter(file).close()
    assert file.read_bytes() == whole and len(read_episodes(file)) == 1

@pytest.mark.parametrize('content,message', [(b'', 'holds no episodes'), (b'\xff\xfe\n', 'line 1: not JSON'), (b'3\n', 'expected an object'), (b'{}\n', 'schema')])
def test_episode_files(said, content, message):
    Path('e.jsonl').write_bytes(content)
    status, text = said('view', 'e.jsonl', '--html', 'x.html')
    assert status == 1 and message in text and 'e.jsonl' in text and text.count('\n') == 1 and not Path('x.html').exists()

@pytest.mark.parametrize('text', ['garbage', '{"a": 1}', '[]', '', '{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_file_that_is_no_notebook(said, text):
    Path('x.ipynb').write_text(text)
    status, told = said('notebook', 'x.ipynb', '--out', 'run')
    assert status == 1 and 'x.ipynb: not a Jupyter notebook' in told and told.count('\n') == 1 and not Path('run').exists()

def test_pretraining_of_an_unknown_preset(said):
    status, told = said('pretrain', '--config', 'smok', '--out', 'run')
    assert status == 1 and "Did you mean 'smoke'?" in told and told.count('\n') == 1 and not Path('run').exists()

def test_a_comparison_of_nothing(said, tmp_path):
    for argv, told in ((('--systems', 'flatt'), "no system 'flatt'. Did you mean 'flat'"), (('--systems', ' , '), 'no system'), (('--config', 'quik'), "Did you mean 'quick'"), (('--set', 'backbone="pretrain:alfword"'), "no pretraining 'alfword'. Did you mean 'alfworld'")):
        status, error = said('compare', '--out', tmp_path/'c', *argv)
        assert status and told in error and len(error.strip().splitlines()) == 1, error
    assert not (tmp_path/'c').exists()
