"Annotation: nothing that a live agent does may break the rules' notes, and the notes may not know more than was read."
import re
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from stephrl.annotate import annotate, annotate_file, get_annotator
from stephrl.episode import Episode, Observation, Step, read_episodes, write_episodes
from stephrl.prompts import about_tokens
from stephrl.scienceworld_notes import EVENTS, recall
from stephrl.scienceworld_rules import FORMS, form_of
from stephrl.house import ROOMS
from stephrl.scienceworld_stretches import word_of

GOLD = Path(__file__).parent.parent / 'nbs' / 'data' / 'gold_sample.jsonl'
rules = get_annotator('scienceworld')
gold = [annotate(ep, rules) for ep in read_episodes(GOLD)]
steps = [(ep.subtask_of(t).name, s.progress, s.action, ep.observation_after(t)) for ep in gold for t, s in enumerate(ep.steps)]

words = st.sampled_from(['metal pot', 'orange box', 'kitchen', 'thermometer', 'a', '-3', '50.0', '[Route: ', ']', ', ', '[Waited: x]', 'focus on', 'open door to', 'You move the',
                         'to the', '.', '\n', 'which is on', '(containing', 'measures a temperature of', 'is now connected to', 'The recipe reads:\nTo make', '{thing}', '\\', '(?P<'])
junk = st.one_of(st.text(max_size=80), st.lists(words, max_size=12).map(' '.join))
name = st.one_of(junk, st.sampled_from([n for n, *_ in steps]), st.sampled_from([f.template for f in FORMS]))
real = st.sampled_from(steps)

def mixed(pick): return st.one_of(junk, real.map(pick))
observation = st.builds(Observation, mixed(lambda s: s[3].text), mixed(lambda s: s[3].look), mixed(lambda s: s[3].inventory))

@settings(max_examples=120, deadline=None)
@given(name, mixed(lambda s: s[1]), mixed(lambda s: s[2]), observation)
def test_any_update_is_short_and_grounded(subtask, previous, action, obs):
    p = rules.update(subtask, previous, action, obs)
    assert about_tokens(p) <= 64 and '\n' not in p
    assert p == rules.update(subtask, previous, action, obs)
    known = words_of(' '.join([subtask, previous, action, obs.text, obs.look, obs.inventory] + [say for *_, say in EVENTS]))
    labels = 'agent is in the with and outside holds on off above below route checked added planted watered reading waited connections broken t1 t2 t'
    extra = {w for w in words_of(p) - known - words_of(labels) if not w.isdigit()}
    assert not {w for w in extra if not any(w in k or k in w for k in known)}, (extra, p)

def words_of(text): return set(re.findall(r'\w+', text.lower()))

@settings(max_examples=100, deadline=None)
@given(name, st.lists(st.builds(Step, observation, mixed(lambda s: s[2])), max_size=3), observation)
def test_completed_never_raises(subtask, before, after):
    assert rules.completed(subtask, before, after) in (True, False, None)

@settings(max_examples=50, deadline=None)
@given(junk, st.lists(st.builds(Step, observation, mixed(lambda s: s[2])), min_size=1, max_size=12), observation)
def test_any_episode_can_be_cut(description, made, final):
    ep = annotate(Episode('scienceworld', '1', 'task', 0, 'train', description, made, final=final), rules)
    assert ep.subtasks[-1].end == len(made) and all(g.name.strip() for g in ep.subtasks)

def test_huge_texts():
    big = 'x ' * 200_000
    for n in ('', big, 'go to the kitchen', 'mix soap and water in the tin cup'):
        assert about_tokens(rules.update(n, big, big, Observation(big, big, big))) <= 64

def test_gold_names_lead_back_to_their_form():
    for ep in gold:
        word, i = word_of(ep), 0
        for g in ep.subtasks:
            form, slots, i = rules.match(ep, word, i)
            back, read = form_of(g.name)
            assert (back.template, back.memories, back.done, read) == (form.template, form.memories, form.done, slots)

def test_gold_cuts_are_verified_and_not_before():
    late = [(ep.task, g.name) for ep in gold for g in ep.subtasks[:-1] if g.verified is False]
    assert late == []
    last = lambda ep, g: g.end - 1 - (ep.steps[g.end-1].action == 'look around')         # a look at a room that is described adds nothing
    early = [(ep.task, g.name) for ep in gold for g in ep.subtasks if g.end - g.start > 1 and 'watch' not in g.name
             and rules.completed(g.name, ep.steps[g.start:last(ep, g)], ep.steps[last(ep, g)].observation)]
    assert early == []

def test_notes_start_empty_and_are_functions_of_what_is_read():
    for ep in gold:
        for g in ep.subtasks: assert ep.steps[g.start].progress == '' and ep.steps[g.end-1].done and g.final_progress == ep.steps[g.end-1].next_progress
    seen = {}
    for n, p, a, o in steps:
        key = (n, p, a, o.text, o.look, o.inventory)
        assert seen.setdefault(key, rules.update(n, p, a, o)) == rules.update(n, p, a, o)

def test_a_name_does_not_know_what_comes_later():
    "Rooms in names come from the task, from sight, from the last note, or from common knowledge about where things are."
    common = {'kitchen', 'outside', 'workshop', 'greenhouse', 'foundry'}
    for ep in gold:
        for k, g in enumerate(ep.subtasks):
            o = ep.steps[g.start].observation
            read = ' '.join([ep.description, ep.subtasks[k-1].final_progress if k else '', o.text, o.look, o.inventory])
            for room in ROOMS:
                if room in g.name: assert room in read or room in common, (ep.task, g.name)

def test_no_simulator_knowledge_in_notes():
    "Score, reward and goal progress are not arguments of `update`; changing them changes nothing."
    ep = read_episodes(GOLD)[0]
    for s in ep.steps: s.reward, s.score, s.info = 0., 0., {'subgoals': 99}
    other = annotate(ep, rules)
    first = gold[0]
    assert [s.next_progress for s in other.steps] == [s.next_progress for s in first.steps]
    assert [g.name for g in other.subtasks] == [g.name for g in first.subtasks]

def test_a_broken_device_is_noted_and_only_then():
    o = Observation("The stove appears broken, and can't be activated or deactivated.", 'This room is called the kitchen. ')
    n = 'heat the ice in the metal pot with the stove in the kitchen'
    assert '[Broken: kitchen/stove]' in rules.update(n, '', 'activate stove', o)
    assert 'Broken' not in rules.update(n, '', 'activate stove', Observation('The stove is now activated.', o.look))

def test_facts_are_inherited():
    n = 'find the apricot, take it and focus on it'
    p = rules.update(n, '', 'go to kitchen', Observation('You move to the kitchen.', 'This room is called the kitchen. '))
    p = rules.update(n, p, 'dance', Observation('Unknown action.', 'This room is called the kitchen. '))
    p = rules.update(n, p, 'go to hallway', Observation('You move to the hallway.', 'This room is called the hallway. '))
    assert '[Checked: kitchen, hallway]' in p

def test_no_fact_is_forgotten_within_a_subtask():
    for ep in gold:
        for g in ep.subtasks:
            kept = [m for m in form_of(g.name)[0].memories if m.keep == 'set'] if form_of(g.name)[0] else []
            for s in ep.steps[g.start:g.end]:
                for m in kept:
                    done = m.until and f'[{m.until[0]}: ' in s.next_progress and len(recall(m, s.progress)) >= m.until[1]
                    assert set(recall(m, s.progress)) <= set(recall(m, s.next_progress)) or done and re.search(r'\bis (on|off)\b', s.next_progress), (ep.task, g.name, s.progress, s.next_progress)

def test_annotate_file_replaces_nothing_when_it_fails(tmp_path):
    src, dst = tmp_path / 'raw.jsonl', tmp_path / 'notes.jsonl'
    write_episodes(src, read_episodes(GOLD)[:2])
    assert annotate_file(src, dst) == 2
    good = dst.read_bytes()
    with open(src, 'ab') as f: f.write(b'{"cut')
    with pytest.raises(ValueError, match='raw.jsonl, line 3'): annotate_file(src, dst)
    assert dst.read_bytes() == good

# ---- the one who searches

@settings(max_examples=150, deadline=None)
@given(junk, mixed(lambda s: s[1]), observation)
def test_a_searcher_survives_any_reading_and_opens_nothing_twice(thing, previous, o):
    from stephrl.scienceworld_search import look_for
    action = look_for(thing, previous, o)
    assert action is None or (isinstance(action, str) and action.strip())
    if action and action.startswith('open ') and not action.startswith('open door to'):
        checked = re.search(r'\[Checked: ([^\]]*)\]', previous)
        assert not checked or action.removeprefix('open ') not in [x.split('/')[-1] for x in checked[1].split(', ') if '/' in x and x.split('/')[0] == re.search(r'called the ([a-z ]{1,30})\.', o.look)[1]]

def test_a_search_ends_wherever_it_begins():
    "Every room is come to, from every room, in at most twice as many steps as there are rooms."
    from stephrl.scienceworld_search import promising
    for start in ROOMS:
        here, checked, way = start, {start}, []
        while (to := promising(here, checked)) and len(way) < 40:
            here = to; checked.add(to); way.append(to)
        assert set(way) | {start} == set(ROOMS) and len(way) <= 2*len(ROOMS), (start, way)
