"ALFWorld, the real engine: the same texts as its own wrappers, damaged and hostile files, made games, worker processes, threads."
import json, os, random, subprocess, sys, threading
from collections import Counter
from importlib.metadata import requires
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from stephrl.env import EnvError, load_suite
from stephrl.pddl import check_python, engine_parts

try: engine_parts()
except EnvError as e: pytest.skip(str(e), allow_module_level=True)

from stephrl.agents import RandomValid
from stephrl.alfworld import _remembered, PUBLISHED, TYPES, ALFWorld, GameError, find_games, ranges, read_game, unranged
from stephrl.alfworld_experts import SearchExpert
from stephrl.alfworld_games import UNSEEN_PLANS, floor_plan, generated_panel, known_games, made_games, plans, solved, walkthrough, write_games
from stephrl.alfworld_rules import ALFWorldRules
from stephrl.annotate import annotate
from stephrl.audit import audit
from stephrl.demos import collect_demos, play_expert
from stephrl.episode import Observation, Step
from stephrl.prompts import about_tokens
from stephrl.rollout import rollout
from stephrl.transitions import transitions
from stephrl.workers import EnvPool

DATA = Path(__file__).parent.parent/'nbs'/'data'/'alfworld'
FILES = sorted(DATA.rglob('game.tw-pddl'))
CLEAN, TWO = 'pick_clean_then_place_in_recep', 'pick_two_obj_and_place'


@pytest.fixture(autouse=True)
def nothing_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    monkeypatch.delenv('ALFWORLD_DATA', raising=False)

@pytest.fixture
def env():
    with ALFWorld(data=DATA) as e: yield e

def altered(path, **entries): # the first published game with other entries
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**json.loads(FILES[0].read_text()), **entries}))
    return path

# ---- the engine

@pytest.fixture(scope='module')
def stock(tmp_path_factory):
    before = os.environ.get('ALFWORLD_DATA')
    os.environ['ALFWORLD_DATA'] = str(tmp_path_factory.mktemp('data'))
    import textworld
    from textworld.envs import PddlEnv
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
    yield AlfredInfos(AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True))))
    os.environ.pop('ALFWORLD_DATA') if before is None else os.environ.update(ALFWORLD_DATA=before)

def test_the_same_as_the_wrappers(stock, env):
    "Published and made games, random actions and a whole episode of the expert."
    for file, task in zip(FILES, (CLEAN, TWO)):
        game, draw = read_game(file), random.Random(0)
        stock.load(str(file))
        for moves in (None, 25):
            state, (o, _) = stock.reset(), env.reset(task, game.id)
            expert = SearchExpert(game.goal)
            assert env.feedback == state.feedback and env.valid_actions() == state['admissible_commands']
            for t in range(moves or 50):
                action = draw.choice([*env.valid_actions(), 'dance']) if moves else expert.act(o)
                state, score, done = stock.step(action)
                o, _, terminated, truncated, info = env.step(action)
                assert (env.feedback, 100*score, done) == (state.feedback, info['score'], terminated), action
                if terminated: break
                assert env.valid_actions() == state['admissible_commands']
            assert moves or info['won']

def test_a_reset_forgets(env):
    game, = env.variations(CLEAN, 'train')
    first = [env.reset(CLEAN, game)[0], *(env.step(a)[0] for a in ('go to cabinet 1', 'open cabinet 1')), env.valid_actions()]
    assert first == [env.reset(CLEAN, game)[0], *(env.step(a)[0] for a in ('go to cabinet 1', 'open cabinet 1')), env.valid_actions()]

def test_environments_in_threads_do_not_disturb_each_other():
    jobs = [(k, i) for k in TYPES[:4] for i in list(known_games('generated', k))[:1]]
    alone, together, errors = [play_expert(ALFWorld(), *j).story() for j in jobs], {}, []
    def play(j):
        try:
            with ALFWorld() as e: together[j] = play_expert(e, *j).story()
        except Exception as error: errors.append(error)
    threads = [threading.Thread(target=play, args=(j,)) for j in jobs]
    for t in threads: t.start()
    for t in threads: t.join()
    assert not errors and [together[j] for j in jobs] == alone

def test_in_worker_processes():
    jobs = {i: (k, next(iter(known_games('generated', k))), 0) for i, k in enumerate(TYPES[:2])}
    with EnvPool('alfworld', 2, 2) as pool:
        out = pool.reset_many(jobs)
        assert all('Places: ' in o.look and info['description'] for o, info in out.values())
        assert {i: r[4]['valid'] for i, r in pool.step_many({0: 'look', 1: 'put apple 1 in/on shelf 1'}).items()} == {0: True, 1: False}
        with pytest.raises(ValueError, match='no game'): raise pool.reset_many({0: (TYPES[0], 'ffffffffffff', 0)})[0]

def test_quiet_and_harmless(tmp_path):
    "No prints, no folders in the home, the caller's arguments and random numbers as they were."
    code = '''
import os, random, sys
from stephrl.env import make_env
random.seed(3); state = random.getstate(); sys.argv = ['mine']
env = make_env('alfworld', expert='handcoded')
task = env.tasks()[0]; game = env.variations(task, 'generated')[0]
env.reset(task, game); env.expert(task, game); env.step('look')
assert sys.argv == ['mine'] and random.getstate() == state and 'ALFWORLD_DATA' not in os.environ'''
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, 'HOME': str(tmp_path)})
    assert (r.returncode, r.stdout, r.stderr) == (0, '', '') and not list(tmp_path.iterdir()), (r.stdout, r.stderr, list(tmp_path.iterdir()))

def test_what_it_says_where_it_cannot_run(tmp_path):
    with pytest.raises(EnvError, match='python3.12 -m venv'): check_python((3, 13))
    code = '''
import sys; sys.modules['fast_downward'] = None
from stephrl.annotate import get_annotator
from stephrl.env import EnvError, load_suite, make_env
get_annotator('alfworld'), load_suite('generated')
try: make_env('alfworld')
except EnvError as e: print(e)'''
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    wanted = [w.split(';')[0].strip() for w in requires('stephrl') if 'extra ==' in w and 'alfworld' in w.split(';')[1]]
    assert len(wanted) == 2 and f'pip install {" ".join(wanted)}' in r.stdout, (wanted, r.stdout, r.stderr)

# ---- files

@pytest.mark.parametrize('entries, message', [
    (dict(grammar='Your task is to: x"'), 'another version of alfworld'), (dict(solvable=None), 'solvable: expected true or false'), (dict(pddl_problem=7), 'pddl_problem: expected text'), (dict(grammar=['x']), 'grammar: expected text'),
    (dict(pddl_problem='(:goal (isHot \ud800'), 'not text'), (dict(pddl_problem='(define (:init (receptacleType r BedType)) (:goal (receptacleType ?r SafeType) (inReceptacle ?o ?r)))'), 'it has no safe'), (dict(pddl_problem='(define (problem'), 'cut off'),
    (dict(grammar='move {o} to {r} Your task is to: {r.name.__class__}."'), 'more than words'), (dict(grammar='move {o} to {r}'), 'no task sentence')])
def test_unusable_files_are_named(tmp_path, entries, message):
    with pytest.raises(GameError, match=message) as e: read_game(altered(tmp_path/'g.tw-pddl', **entries))
    assert str(tmp_path/'g.tw-pddl') in str(e.value)

def test_bad_files_are_skipped_counted_and_the_others_played(tmp_path):
    where = tmp_path/'data'/'json_2.1.1'/'train'
    problem = json.loads(FILES[0].read_text())['pddl_problem']
    altered(where/'a'/'t'/'game.tw-pddl')
    altered(where/'b'/'t'/'game.tw-pddl', pddl_problem=problem.replace('(receptacleType Toilet', '(receptacleType Nowhere'))   # found out when it is loaded
    altered(where/'c'/'t'/'game.tw-pddl', solvable=False)
    (where/'d'/'t').mkdir(parents=True)
    (where/'d'/'t'/'game.tw-pddl').write_text('{"pddl_problem": "')
    (where/'e'/'t').mkdir(parents=True)
    (where/'e'/'t'/'game.tw-pddl').write_text('['*200_000)
    (where/'f'/'t').mkdir(parents=True)
    (where/'f'/'t'/'traj_data.json').write_text('{}')                                                                # a trial without its game
    env = ALFWorld(data=tmp_path/'data')
    with pytest.warns(UserWarning, match='(?s)4 of 6 games skipped.*nobody has solved'): games = env.variations(CLEAN, 'train')
    assert len(games) == 2 and [s.split(': ')[1][:7] for s in env.skipped] == ['nobody ', 'damaged', 'damaged', 'there i']
    again = ALFWorld(data=tmp_path/'data')
    assert len(again.games('train')) == 2 and again.skipped == env.skipped                                           # whoever asks later is told, too
    with pytest.warns(UserWarning, match='cannot be read'): episodes = collect_demos('alfworld', [CLEAN], data=str(tmp_path/'data'), workers=0, tries=1, progress=False)
    assert [e.score for e in episodes] == [100]

def test_a_file_that_changes_is_read_again(tmp_path):
    where = tmp_path/'json_2.1.1'/'train'
    f = altered(where/'a'/'t'/'game.tw-pddl')
    first = find_games(where).games
    f.write_text(FILES[1].read_text())
    second = find_games(where).games
    for memory in ('[]', 'null', '{"x": 5}', '[' * 200_000):                                                          # a damaged memory is made anew
        _remembered(where).write_text(memory)
        assert find_games(where).games == second
    assert list(first) == [read_game(FILES[0]).id] and list(second) == [read_game(FILES[1]).id]

def test_a_folder_may_be_called_anything_and_must_hold_games(tmp_path):
    altered(tmp_path/'removable'/'json_2.1.1'/'train'/'a'/'t'/'game.tw-pddl')
    assert len(ALFWorld(data=tmp_path/'removable').games('train')) == 1
    (tmp_path/'removable'/'json_2.1.1'/'valid_seen').mkdir()
    with pytest.raises(EnvError, match='holds no game.*alfworld-download'): ALFWorld(data=tmp_path/'removable').games('valid_seen')
    with ALFWorld(data=tmp_path/'removable') as env: assert env.reset(CLEAN, *env.games('train'))[1]['description']      # an empty split does not stand in the way of the others

def test_an_unknown_game_is_a_crash_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv('ALFWORLD_DATA', raising=False)
    good = load_suite('generated', tasks=[CLEAN]).episodes[0]
    episodes = rollout(RandomValid(), [(CLEAN, 'f'*12), good], 'alfworld', step_limit=3, progress=False)
    assert "no game 'ffffffffffff'" in episodes[0].error and 'alfworld-download' in episodes[0].error and episodes[1].error is None and len(episodes[1].steps) == 3

def test_names_are_not_grammar(tmp_path):
    problem = json.loads(FILES[0].read_text())['pddl_problem']
    altered(tmp_path/'json_2.1.1'/'train'/'a'/'t'/'game.tw-pddl', pddl_problem=problem.replace('Cloth_bar_', 'Cloth{0.__class__}_bar_'))
    with ALFWorld(data=tmp_path) as env:
        (id,) = env.games('train')
        with pytest.raises(GameError, match='letters, digits'): env.reset(CLEAN, id)

OLD = Path(__file__).parent/'data'/'alfworld-0.3.5.twl2'   # the grammar that alfworld 0.3.5 put into every game file (MIT licence)

def test_old_files_are_converted(tmp_path):
    "A published game with the grammar of alfworld 0.3.5: it plays in the new words, is counted, and is never played in its own."
    f = altered(tmp_path/'json_2.1.1'/'train'/'a'/'t'/'game.tw-pddl', grammar=OLD.read_text().replace('UNKNOWN GOAL.', read_game(FILES[0]).goal))
    assert (read_game(f).dialect, read_game(FILES[0]).dialect, read_game(f).id) == ('put', 'move', read_game(FILES[0]).id)
    new = play_expert(ALFWorld(data=DATA), CLEAN, read_game(FILES[0]).id)
    with ALFWorld(data=tmp_path) as env:
        old = play_expert(env, CLEAN, read_game(f).id)
        assert env.converted == 1
        env.reset(CLEAN, old.variation)
        assert not env.step('put cloth 1 in/on toilet 1')[4]['valid']
    assert old.story() == new.story() and old.score == 100 and old.steps[-1].action.startswith('move ')
    with ALFWorld(data=tmp_path, trusted=True) as env, pytest.raises(GameError, match='before alfworld 0.4'): env.reset(CLEAN, read_game(f).id)

def test_a_grammar_runs_only_when_it_is_trusted(tmp_path):
    flag = tmp_path/'it ran'
    grammar = json.loads(FILES[0].read_text())['grammar'].replace('You arrive at {r.name}.', f"You arrive at {{open('{flag}', 'w').close() or r.name}}.")
    f = altered(tmp_path/'data'/'json_2.1.1'/'train'/'a'/'t'/'game.tw-pddl', grammar=grammar)
    for trusted in (False, True):
        with ALFWorld(data=tmp_path/'data', trusted=trusted) as env:
            env.reset(CLEAN, read_game(f).id)
            assert env.step('go to toilet 1')[0].text.startswith('You arrive at toilet 1.') and flag.exists() == trusted

def test_every_published_split_can_be_a_panel(tmp_path, monkeypatch):
    for split in PUBLISHED[1:]: altered(tmp_path/'json_2.1.1'/split/'a'/'t'/'game.tw-pddl')
    monkeypatch.setenv('ALFWORLD_DATA', str(tmp_path))
    for split in PUBLISHED[1:]:
        suite = load_suite(split)
        assert (suite.env, suite.step_limit, suite.episodes) == ('alfworld', 50, [(CLEAN, read_game(FILES[0]).id)])
    monkeypatch.delenv('ALFWORLD_DATA')
    with pytest.raises(EnvError, match='alfworld-download'): load_suite('valid_seen')

# ---- made games

def test_the_panel_is_the_one_that_is_pinned():
    panel = load_suite('generated')
    assert panel.episodes == generated_panel().episodes and Counter(t for t, _ in panel.episodes) == {t: 20 for t in TYPES} and panel.gold == [100]*120
    assert {known_games('generated', t)[i].scene().plan for t, i in panel.episodes} <= set(UNSEEN_PLANS)
    assert set(load_suite('alfworld_quick').episodes) < set(panel.episodes)

MADE = 100

def test_made_games_win_in_the_engine():
    with ALFWorld(step_limit=None) as env:
        for n in range(MADE):
            kind = TYPES[n % len(TYPES)]
            id, recipe = next(made_games(kind, f'test {n}'))
            env.load(recipe())
            env.find = lambda task, variation: recipe()
            assert not env.game.won and env.reset(kind, id)
            for command in walkthrough(recipe.scene(), solved(recipe.scene())): last = env.step(command)
            assert last[4]['won'], (kind, id)

@settings(max_examples=30, deadline=None)
@given(st.sampled_from(TYPES), st.integers(0, 10**6))
def test_no_game_is_won_by_doing_nothing(kind, seed):
    scene = next(made_games(kind, seed))[1].scene()
    assert scene.plan not in UNSEEN_PLANS and all(scene.places[at][0] != scene.place for _, at in [scene.things[t] for t in scene.of(scene.thing)])
    assert len(walkthrough(scene, solved(scene))) >= 4

def test_files_depend_on_the_seed_alone(tmp_path):
    a, b, c = ([f.read_text() for f in write_games(tmp_path/str(i), 12, seed, progress=False)] for i, seed in enumerate((5, 5, 6)))
    assert a == b and len(set(a)) == 12 and not set(a) & set(c)

def test_all_floor_plans_can_be_read():
    assert len(plans()) == 120 and all(len(floor_plan(n)[0]) >= 5 for n in plans())

# ---- experts and annotation

def test_both_experts_win(env):
    for task in (CLEAN, TWO):
        game, = env.variations(task, 'train')
        assert play_expert(env, task, game).score == 100
        with ALFWorld(data=DATA, expert='handcoded', step_limit=None) as other: assert play_expert(other, task, game).score == 100

def test_the_searching_expert_knows_the_texts_only(env):
    "Told the same texts without any environment, it does the same things."
    game, = env.variations(TWO, 'train')
    ep = play_expert(env, TWO, game)
    again = SearchExpert(ep.description)
    assert [again.act(s.observation) for s in ep.steps] == [s.action for s in ep.steps]

def test_annotated_demonstrations_are_learnable():
    with ALFWorld() as env: plays = [play_expert(env, t, i, 'made') for t in TYPES for i in list(known_games('made', t))[:2]]
    a = audit(plays, ALFWorldRules())
    assert a['conflict_action']['mass'] == a['conflict_done']['mass'] == a['conflict_name']['mass'] == a['traps'] == 0
    assert a['verified'] == 1 and a['unverifiable'] == 0 and a['note_tokens_most'] <= 64 and a['unread_action'][0] == a['unread_name'][0] == 0
    rows = [r for ep in plays for r in transitions(annotate(ep, ALFWorldRules()))]
    written = {}
    for r in rows: assert written.setdefault(r['prompt'], r['target']) == r['target'], r['prompt']   # nothing is read twice and answered in two ways
    assert all(s.valid or s.action.startswith('go to ') for ep in plays for s in ep.steps)
    assert {r['role'] for r in rows} == {'high', 'low', 'progress'}
    for ep in plays:   # the sentence that says how it is done never stands in a prompt
        assert not any(walk in r['prompt'] for r in rows for walk in ('walkthrough', 'inreceptacle', '_bar_'))

def test_the_viewer_shows_it_without_knowing_it(env, tmp_path):
    import stephrl
    from stephrl.view_model import issues
    from stephrl.viewer import to_html
    eps = [annotate(play_expert(env, t, g), ALFWorldRules()) for t in (CLEAN, TWO) for g in env.variations(t, 'train')]
    assert [i['text'] for ep in eps for t in range(len(ep.steps)) for i in issues(ep, t)] == []
    page = to_html(eps, tmp_path/'page.html').read_text()
    assert len(page) > 10_000
    folder = Path(stephrl.__file__).parent
    for f in [folder/'viewer.py', folder/'view_model.py', *folder.glob('static/*')]: assert not {'alfworld', 'scienceworld'} & set(f.read_text().lower().split("'"))

@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=80), st.text(max_size=300), st.text(max_size=100))
def test_the_annotator_survives_anything(name, previous, action, text, look):
    rules, o = ALFWorldRules(), Observation(text, look)
    for subtask in (name, f'find {name[:20]}', 'find apple from shelf 1 on, not in bed 1, and take it'):
        note = rules.update(subtask, f'{previous} [Checked: {previous}]', action, o)
        assert about_tokens(note) <= 64 and note == rules.update(subtask, f'{previous} [Checked: {previous}]', action, o)
        assert rules.completed(subtask, [Step(o, action)], o) in (None, True, False)

@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(['drawer', 'shelf', 'bed']), st.integers(1, 99)), max_size=20, unique=True))
def test_ranges_lose_nothing(things):
    things = [f'{k} {n}' for k, n in things]
    assert unranged(ranges(things)) == things

# ---- the agent that ships

def test_the_shipped_agent_plays():
    "Small, trained on no game of a panel or of a kept-out floor plan, and it wins most of six games in rooms that it has not seen."
    from stephrl.agents import SHIPPED, load_agent
    from stephrl.rollout import rollout
    assert sum(f.stat().st_size for f in (SHIPPED/'tiny-alfworld').rglob('*') if f.is_file()) <= 12e6
    agent = load_agent('tiny-alfworld')
    read = {str(v) for _, v in agent.train_ids}
    assert len(read) > 3000
    for name in ('generated', 'genuine', 'genuine_select', 'genuine_rooms', 'alfworld_quick'): assert not read & {str(v) for _, v in load_suite(name).episodes}
    one_each = list({t: (t, v) for t, v in load_suite('generated').episodes[::-1]}.values())
    episodes = rollout(agent, one_each, 'alfworld', n_parallel=6, progress=False)
    assert len(episodes) == 6 and sum(ep.score == 100 for ep in episodes) >= 4, [(ep.task, ep.score) for ep in episodes]
    assert all(s.next_progress for ep in episodes for s in ep.steps)      # it takes notes
