"The standalone viewer in a real browser: each feature of the viewer, asserting what is displayed."
import math, re, runpy
from pathlib import Path
import pytest
from labkit import axe, open_page, until, watched
from made_episodes import NASTY, made, nasty, several
from stephrl.prompts import about_tokens, flat_prompt
from stephrl.viewer import CompareViewer, to_html

expect = pytest.importorskip('playwright.sync_api').expect


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    d = tmp_path_factory.mktemp('pages')
    to_html(several(), d/'several.html', 'Six episodes')
    to_html([nasty(), made()], d/'nasty.html', NASTY)
    CompareViewer(made(), made(10, source='cloned+RL', score=100.)).to_html(d/'two.html')
    return d


@pytest.fixture
def page(chrome, files):
    with watched(chrome) as p: yield open_page(p, files/'several.html')


def step(page, n, of=12): expect(page.locator('.sv-position')).to_have_text(f'Step {n} of {of}')


def press(page, *keys):
    for k in keys: page.keyboard.press(k)


def field(page, label): return page.locator('.sv-fields dt', has_text=label).locator('xpath=following-sibling::dd[1]')


# 1 scrubber, play, speed

def test_the_scrubber_moves_by_pointer_and_tells_the_step(page):
    slider = page.get_by_role('slider', name='Step')
    slider.fill('7')
    step(page, 8)
    expect(slider).to_have_attribute('aria-valuetext', 'step 8 of 12: action 7')
    box = slider.bounding_box()
    page.mouse.click(box['x'] + box['width'] - 3, box['y'] + box['height']/2)
    step(page, 12)


def test_play_goes_at_its_speed_pauses_and_ends(chrome, files):
    with watched(chrome) as page:
        page.clock.install()
        open_page(page, files/'several.html')
        page.clock.pause_at('2100-01-01')  # from here on, time passes only in `run_for`: a loaded machine does not matter
        page.get_by_role('button', name='Play').click()
        expect(page.get_by_role('button', name='Pause (space)')).to_have_text('Pause')
        page.clock.run_for(900)
        step(page, 1)
        page.clock.run_for(200)
        step(page, 2)
        page.get_by_label('Speed').select_option('4')
        page.clock.run_for(900 + 250)  # the tick that was under way, and one at the new speed
        step(page, 4)
        page.get_by_role('button', name='Pause').click()
        page.clock.run_for(10_000)
        step(page, 4)
        press(page, 'Space')
        page.clock.run_for(10_000)
        step(page, 12)
        expect(page.get_by_role('button', name='Play (space)')).to_have_text('Play')


# 2 keys

def test_every_key(page):
    for keys, at in [(['ArrowRight'], 2), (['ArrowRight', 'ArrowLeft'], 2), (['ArrowDown'], 5), (['ArrowDown'], 9), (['ArrowUp'], 5), (['End'], 12), (['Home'], 1),
                     (['r'], 4), (['r'], 9), (['R'], 4), (['Home', 'e'], 6), (['e'], 8), (['E'], 6)]:
        press(page, *keys)
        step(page, at)
    press(page, 'End', 'r')
    expect(page.locator('.sv-notice')).to_have_text('No later reward.')
    press(page, '?')
    expect(page.get_by_role('dialog', name='Keys')).to_contain_text('next, previous sign of trouble')
    press(page, 'Escape')
    expect(page.get_by_role('dialog', name='Keys')).to_be_hidden()
    press(page, '/')
    expect(page.get_by_label('Search this episode')).to_be_focused()
    press(page, 'Escape', '+', '+')
    expect(page.get_by_label('Speed')).to_have_value('4')
    press(page, '-', 'Home', 'Space')
    expect(page.get_by_role('button', name='Pause')).to_be_visible()
    press(page, 'Space')
    press(page, ']')
    expect(page.locator('.sv-title')).to_contain_text('solved')
    press(page, '[')
    expect(page.locator('.sv-title')).to_contain_text('partly')
    press(page, 'l')
    expect(page.locator('.sv-list')).to_be_hidden()
    press(page, 'l')
    expect(page.locator('.sv-list')).to_be_visible()


# 3 the list

def rows(page): return page.locator('.sv-table tbody tr[data-index]')


def test_the_list_shows_sorts_and_filters(page):
    expect(rows(page)).to_have_count(6)
    expect(page.locator('.sv-status')).to_have_text('6 episodes · 2 solved · mean score 41.7')
    expect(rows(page).nth(0)).to_have_text(re.compile(r'◐ partly.*50.*find-plant.*3.*cloned.*12.*2,844.*189.*low · 2 signs'))
    expect(rows(page).nth(4)).to_contain_text('⚡ crashed')
    page.get_by_role('button', name='Steps', exact=True).click()
    expect(rows(page).first).to_contain_text('find-plant')
    expect(page.locator('th', has_text='Steps')).to_have_attribute('aria-sort', 'descending')
    page.get_by_role('button', name='Steps', exact=True).click()
    expect(rows(page).first).to_contain_text('freeze')
    page.get_by_label('Any end').select_option('success')
    expect(rows(page)).to_have_count(2)
    expect(page.locator('.sv-status')).to_have_text('2 of 6 episodes · 2 solved · mean score 100.0')
    page.get_by_label('Any end').select_option('')
    page.get_by_label('All tasks').select_option('boil')
    expect(rows(page)).to_have_text([re.compile('boil')])
    page.get_by_label('All tasks').select_option('')
    page.get_by_label('Trouble in any role').select_option('low')
    expect(rows(page)).to_have_count(1)
    page.get_by_label('Trouble in any role').select_option('')
    page.get_by_label('Filter the list').fill('thermo')
    expect(rows(page)).to_have_text([re.compile('use-thermometer')])
    page.get_by_label('Filter the list').fill('no such thing')
    expect(page.locator('.sv-status')).to_have_text('No episode matches.')


def test_the_list_opens_an_episode_by_pointer_and_by_key(page):
    rows(page).nth(2).click()
    expect(page.locator('.sv-title')).to_contain_text('use-thermometer · variation 9')
    step(page, 1, 8)
    page.get_by_role('button', name='Open find-plant, variation 3, cloned, partly').focus()
    press(page, 'ArrowDown', 'Enter')
    expect(page.locator('.sv-chips')).to_contain_text('cloned+RL')
    expect(page.get_by_role('button', name='Open find-plant, variation 3, cloned+RL')).to_be_focused()


# 4 task, subtasks, note

def test_task_subtasks_and_note_with_its_changes(page):
    expect(page.locator('.sv-task')).to_have_text('Task Your task is to do find-plant.')
    press(page, 'ArrowDown', 'ArrowRight')
    step(page, 6)
    expect(field(page, 'Subtask')).to_have_text('subtask b')
    expect(field(page, 'Note before')).to_have_text('Agent has done f things. [Checked: jar]')
    after = field(page, 'Note after')
    expect(after.locator('ins')).to_have_text('g')
    expect(after.locator('del')).to_have_text('f')
    tree = page.get_by_role('navigation', name='Subtasks')
    expect(tree.locator('h4')).to_have_text('Subtasks 1 done before, 3 in all')
    expect(tree.locator('.sv-branch')).to_have_text(['✔subtask a 4', '✘subtask b 4', '✔subtask c 4'])
    expect(tree.locator('.sv-handed:visible')).to_have_text(['Final note 0.'])
    expect(tree.locator('.is-now .sv-leaf')).to_have_text(['action 4', '✕ action 5', 'action 6', 'action 7 ■'])
    expect(tree.locator('[aria-current=step]')).to_have_text('✕ action 5')
    tree.locator('.sv-branch').nth(0).click()
    tree.get_by_role('button', name='action 3').click()
    step(page, 4)
    press(page, 'ArrowRight')
    expect(field(page, 'Note before')).to_have_text('empty: the subtask begins')


# 5 observation with changed objects

def test_observation_look_and_inventory_with_changed_objects_marked(page):
    press(page, *['ArrowRight']*4)
    step(page, 5)
    expect(field(page, 'Was told')).to_have_text('Answer 3.')
    expect(field(page, 'Room').locator('ins')).to_have_text('off')
    expect(field(page, 'Carries').locator('ins')).to_have_text('a seed')
    expect(page.locator('.sv-badge', has_text='new room')).to_be_hidden()
    press(page, 'ArrowRight', 'ArrowRight')
    expect(page.locator('.sv-badge', has_text='new room')).to_be_visible()
    expect(field(page, 'Answer')).to_have_text('Answer 6.')
    press(page, 'End')
    page.locator('summary', has_text='at the end').click()
    expect(page.locator('.sv-details[open] pre').first).to_contain_text('a tall plant')


def test_one_glance_tells_action_validity_reward_and_score(page):
    press(page, 'r')
    expect(page.locator('.sv-action')).to_have_text('action 3')
    expect(page.locator('.sv-badges .sv-badge')).to_have_text(['✓ valid', '▲ +25 points', 'score 0 → 25', '■ says: subtask done'])
    press(page, 'e')
    expect(page.locator('.sv-badges .sv-badge')).to_have_text(['✕ invalid', 'no reward', 'score 25'])
    expect(page.locator('.sv-alarm li')).to_have_text(['⚠  low: the environment refused the action'])
    expect(page.locator('[aria-live]')).to_have_text('Step 6 of 12. action 5. Invalid. Score 25.')


# 6 prompts and completions

def test_the_exact_prompt_and_completion_of_every_call(page):
    expect(page.locator('.sv-call')).to_have_count(3)
    page.locator('.sv-call', has_text='progress').locator('summary').click()
    pre = page.locator('.sv-call[open] pre')
    assert [pre.nth(i).evaluate('e => e.textContent') for i in range(2)] == ['Prompt of progress at 0\n with two lines', ' completion of progress at 0']
    expect(page.locator('.sv-call[open] summary')).to_contain_text('read 100 · wrote 7 · log p -0.50 · V 0.25 · Q 0.35 · A 0.10')
    press(page, 'Escape', 'ArrowRight')  # stays open at the next step
    expect(page.locator('.sv-call[open] pre').first).to_contain_text('Prompt of progress at 1')
    press(page, 'p')
    expect(page.locator('.sv-call[open]')).to_have_count(2)
    press(page, 'p')
    expect(page.locator('.sv-call[open]')).to_have_count(0)


# 7 tokens

def test_tokens_by_role_and_what_a_full_history_agent_would_have_read(page):
    ep = made()
    prompt = flat_prompt(ep.description, [(s.observation, s.action) for s in ep.steps[:4]], ep.steps[4].observation)
    calls = [c for s in ep.steps for c in s.calls]
    scale = sum(c.prompt_tokens for c in calls)/sum(about_tokens(c.prompt) for c in calls)
    press(page, 'ArrowDown')
    table = page.locator('.sv-token-table tbody tr')
    expect(table).to_have_count(5)
    expect(table.nth(0)).to_have_text(re.compile(r'high1047'))
    expect(table.nth(3)).to_have_text(re.compile(r'this agent, all roles31221'))
    shown = int(table.nth(4).locator('td').first.inner_text().replace(',', ''))
    assert abs(shown - scale*about_tokens(prompt)) <= 12  # the parts are rounded one by one
    expect(page.locator('.sv-ratio')).to_have_text(f'A full-history agent would have had to read {shown:,} tokens here, {shown/312:.1f} times what this agent read.')
    expect(page.locator('.sv-tokens')).to_contain_text("scaled to this agent's own counts")
    chart = page.locator('.sv-figure').first
    expect(chart.locator('.sv-keys li')).to_have_text([re.compile('high 104'), re.compile('low 104'), re.compile('progress 104'), re.compile('together 312'), re.compile(f'full history {shown:,}')])
    chart.get_by_label('add up over the episode').check()
    expect(page.locator('.sv-figure').first.locator('figcaption')).to_have_text('Tokens read so far')
    expect(page.locator('.sv-figure').first.locator('.sv-keys li').nth(1)).to_have_text(re.compile('low 510'))


def test_a_demonstration_without_model_calls(page):
    rows(page).nth(3).click()
    expect(page.locator('.sv-ratio')).to_contain_text('No model was called in this episode.')
    expect(page.locator('.sv-calls')).to_contain_text('none at this step')
    expect(page.locator('.sv-tokens')).to_contain_text('Full history: estimated: words, digits and punctuation marks')


def test_an_annotated_demonstration_shows_what_each_role_would_read_and_write(chrome, tmp_path):
    ep = made(source='expert')
    for s in ep.steps: s.calls = []
    with watched(chrome) as page:
        open_page(page, to_html([ep], tmp_path/'demo.html'))
        expect(page.locator('.sv-calls h4')).to_have_text('What each role would read and write a demonstration: no model was called')
        page.locator('.sv-call', has_text='high').locator('summary').click()
        expect(page.locator('.sv-call[open] pre').first).to_contain_text('Name the next subtask.\nTask: Your task is to do find-plant.')
        expect(page.locator('.sv-call[open] pre').last).to_have_text('subtask a')
        expect(page.locator('.sv-tokens')).to_contain_text('times what a step-level agent would read.')


# 8 score and critics

def test_score_and_critic_curves(page):
    press(page, *['ArrowRight']*9)
    captions = page.locator('.sv-figure figcaption')
    expect(captions).to_have_text(['Tokens read at each step', 'Score after each step', 'Critics of the high policy', 'Critics of the low policy', 'Critics of the progress policy'])
    expect(page.locator('.sv-figure').nth(1).locator('.sv-keys')).to_contain_text('score 50')
    expect(page.locator('.sv-figure').nth(3).locator('.sv-keys li')).to_have_text([re.compile('V 0.34'), re.compile('Q 0.44'), re.compile('advantage 0.10')])
    expect(page.locator('.sv-figure').nth(1).locator('svg.sv-chart')).to_have_attribute('aria-label', 'Score after each step: score from 0 to 50')
    assert page.locator('.sv-figure').nth(1).locator('.sv-reward-mark').count() == 2
    plot = page.locator('.sv-figure').nth(1).locator('svg.sv-chart')
    box = plot.bounding_box()
    plot.click(position=dict(x=box['width'] - 8, y=30))
    step(page, 12)


# 9 two side by side

def test_compare_in_step_and_each_on_its_own(chrome, files):
    with watched(chrome) as page:
        open_page(page, files/'two.html')
        at = page.locator('.sv-position')
        expect(at).to_have_text(['Step 1 of 12', 'Step 1 of 10'])
        expect(page.locator('.sv-bigscore')).to_have_text(['50 / 100', '100 / 100'])
        press(page, 'ArrowRight', 'ArrowRight')
        expect(at).to_have_text(['Step 3 of 12', 'Step 3 of 10'])
        press(page, 'End')
        expect(at).to_have_text(['Step 12 of 12', 'Step 10 of 10'])
        press(page, 'ArrowLeft')
        expect(at).to_have_text(['Step 11 of 12', 'Step 10 of 10'])
        press(page, 's')
        expect(page.get_by_label('in step')).not_to_be_checked()
        page.get_by_role('slider').nth(1).fill('2')
        expect(at).to_have_text(['Step 11 of 12', 'Step 3 of 10'])
        page.get_by_label('in step').check()
        expect(at).to_have_text(['Step 3 of 12', 'Step 3 of 10'])
        page.get_by_role('button', name='First different action').click()
        expect(page.locator('.sv-notice')).to_have_text('The first different action is at step 11.')
        expect(at).to_have_text(['Step 11 of 12', 'Step 10 of 10'])


def test_compare_from_the_list(page):
    press(page, 'c')
    expect(page.locator('.sv-chips')).to_have_text([re.compile('^cloned·?.*test split'), re.compile(r'^cloned\+RL')])
    press(page, 'c')
    expect(page.locator('.sv-position')).to_have_count(1)
    rows(page).nth(2).click()
    page.get_by_role('button', name='Compare').click()
    expect(page.locator('.sv-notice')).to_have_text('No other episode of use-thermometer, variation 9 is loaded.')


def test_compare_with_an_empty_and_with_a_crashed_episode(chrome, tmp_path):
    crash = made(3, source='crashed', score=0., error='EnvDied: gone')
    for other, at, difference in ((made(0, source='none', score=0.), ['Step 1 of 12'], 1), (crash, ['Step 1 of 12', 'Step 1 of 3'], 4)):
        with watched(chrome) as page:
            open_page(page, CompareViewer(made(), other).to_html(tmp_path/'two.html'))
            expect(page.locator('.sv-position')).to_have_text(at)
            expect(page.locator('.sv-pane')).to_have_count(2)
            press(page, 'End')
            expect(page.locator('.sv-position').first).to_have_text('Step 12 of 12')
            press(page, 'Home')
            page.get_by_role('button', name='First different action').click()
            expect(page.locator('.sv-notice')).to_have_text(f'The first different action is at step {difference}.')
            expect(page.locator('.sv-position').first).to_have_text(f'Step {difference} of 12')


# 10 search

def test_search_inside_the_episode(page):
    press(page, '/')
    page.keyboard.type('a seed')
    expect(page.locator('.sv-toolbar [role=status]')).to_have_text('8 steps')
    press(page, 'Enter')
    step(page, 5)
    expect(field(page, 'Carries').locator('mark')).to_have_text('a seed')
    press(page, 'Enter')
    step(page, 6)
    expect(page.locator('.sv-toolbar [role=status]')).to_have_text('2 of 8 steps')
    press(page, 'Shift+Enter')
    step(page, 5)
    page.get_by_label('Search this episode').fill('Prompt of high')
    expect(page.locator('.sv-toolbar [role=status]')).to_have_text('nothing found')
    page.get_by_label('prompts too').check()
    expect(page.locator('.sv-toolbar [role=status]')).to_have_text('2 of 3 steps')
    page.get_by_label('Search this episode').fill('a (seed*')
    expect(page.locator('.sv-toolbar [role=status]')).to_have_text('nothing found')
    press(page, 'Escape')
    expect(page.locator('mark')).to_have_count(0)


def test_a_hit_is_brought_into_sight_wherever_it_is(page):
    page.get_by_label('prompts too').check()
    page.get_by_label('Search this episode').fill('completion of progress at 6')  # it stands in a prompt that is folded
    press(page, 'Enter')
    step(page, 7)
    expect(page.locator('.sv-call[open] mark')).to_have_text('completion of progress at 6')
    expect(page.locator('.sv-call[open] mark')).to_be_in_viewport()
    page.get_by_label('Search this episode').fill('a tall plant')  # only in the room at the end
    press(page, 'Enter')
    step(page, 12)
    expect(page.locator('.sv-details[open] mark')).to_be_in_viewport()


def test_a_hit_at_the_end_of_a_huge_text_is_shown(chrome, files):
    with watched(chrome) as page:
        open_page(page, files/'nasty.html')
        page.get_by_label('Search this episode').fill('the end')
        press(page, 'Enter')
        step(page, 2, 6)
        expect(field(page, 'Answer').locator('mark')).to_have_text('THE END')
        expect(field(page, 'Answer').locator('mark')).to_be_in_viewport()


# 11 one file with links

def test_links_lead_to_a_step_and_follow_the_reader(chrome, files):
    with watched(chrome) as page:
        open_page(page, files/'several.html', '#episode=scienceworld/find-plant/3/cloned%2BRL/0&step=7')
        step(page, 7, 10)
        press(page, 'ArrowRight')
        until(page, 'location.hash', '#episode=scienceworld%2Ffind-plant%2F3%2Fcloned%2BRL%2F0&step=8')
        page.evaluate('location.hash = "#episode=3&step=2"')
        expect(page.locator('.sv-title')).to_contain_text('use-thermometer')
        step(page, 2, 8)
        page.evaluate('location.hash = "#episode=nobody&step=2"')
        expect(page.locator('.sv-notice')).to_contain_text('“nobody”, which is not in this file')


def test_a_link_leads_to_a_step_of_a_comparison(chrome, files):
    with watched(chrome) as page:
        open_page(page, files/'two.html', '#step=5')
        expect(page.locator('.sv-position')).to_have_text(['Step 5 of 12', 'Step 5 of 10'])


def test_it_needs_no_network(chrome, files):
    with watched(chrome, offline=True) as page:
        open_page(page, files/'several.html')
        press(page, 'End')
        step(page, 12)


# 12 large

def test_five_thousand_steps_and_a_thousand_episodes(chrome, tmp_path):
    to_html([made(5000, size=50), *[made(3, f'task-{i % 7}', i, score=float(i % 101)) for i in range(999)]], tmp_path/'large.html')
    with watched(chrome) as page:
        open_page(page, tmp_path/'large.html')
        press(page, 'End')
        step(page, '5,000', '5,000')
        expect(field(page, 'Answer')).to_have_text('Answer 4999.')
        press(page, 'ArrowUp')
        step(page, '4,951', '5,000')
        assert page.locator('*').count() < 3000  # only what is in sight is in the page
        expect(page.locator('.sv-status')).to_contain_text('1,000 episodes')
        expect(page.locator('.sv-table')).to_have_attribute('aria-rowcount', '1001')
        page.locator('.sv-scroller').evaluate('e => e.scrollTop = e.scrollHeight')
        expect(rows(page).last).to_have_attribute('data-index', '999')
        rows(page).last.click()
        expect(page.locator('.sv-title')).to_contain_text('variation 998')


def test_two_hundred_episodes_of_fifty_steps_fit_into_fifteen_megabytes(tmp_path):
    episode = runpy.run_path(str(Path(__file__).parent.parent/'benchmarks'/'viewer.py'))['episode']  # texts and prompts of the size that ScienceWorld has
    size = lambda n: to_html([episode(50, i) for i in range(n)], tmp_path/'page.html').stat().st_size
    one, nine = size(1), size(9)
    assert one + 199*(nine - one)/8 < 15e6


# 13 accessible, dark

@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_axe_has_nothing_to_object_to(chrome, files, scheme):
    with watched(chrome, color_scheme=scheme) as page:
        open_page(page, files/'several.html', '#step=6')
        step(page, 6)
        press(page, 'p')
        page.locator('summary', has_text='Kept by the environment').click()
        page.get_by_label('Search this episode').fill('stove')
        expect(page.locator('mark').first).to_be_visible()
        assert axe(page) == []
        press(page, 'Escape', '?')
        expect(page.get_by_role('dialog')).to_be_visible()
        assert axe(page) == []
        open_page(page, files/'two.html')
        assert axe(page) == []
        background = page.locator('.stephrl-viewer').evaluate('e => getComputedStyle(e).backgroundColor')
        assert background == ('rgb(255, 255, 255)' if scheme == 'light' else 'rgb(22, 24, 27)')


# How colours look to the three kinds of eyes that miss a kind of cone (Machado, Oliveira and Fernandes 2009, severity 1; linear RGB)
EYES = dict(usual=[[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            protanopia=[[.152286, 1.052583, -.204868], [.114503, .786281, .099216], [-.003882, -.048116, 1.051998]],
            deuteranopia=[[.367322, .860646, -.227968], [.280085, .672501, .047413], [-.011820, .042940, .968881]],
            tritanopia=[[1.255528, -.076749, -.178779], [-.078411, .930809, .147602], [.004733, .691367, .303900]])


def times(m, v): return [sum(a*b for a, b in zip(row, v)) for row in m]


def lab(rgb, eye):
    "CIE L*a*b* of an sRGB colour as an eye sees it."
    linear = times(EYES[eye], [c/12.92 if c <= .04045 else ((c + .055)/1.055)**2.4 for c in (x/255 for x in rgb)])
    xyz = times([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]], [min(1, max(0, c)) for c in linear])
    x, y, z = (v**(1/3) if v > .008856 else 7.787*v + 16/116 for v in (a/w for a, w in zip(xyz, (.9505, 1, 1.089))))
    return 116*y - 16, 500*(x - y), 200*(y - z)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_roles_can_be_told_apart_by_every_eye(chrome, files, scheme):
    with watched(chrome, color_scheme=scheme) as page:
        open_page(page, files/'several.html')
        colour = lambda role: page.evaluate("""role => { const e = document.createElement('span'); e.className = 'sv-swatch role-' + role; document.querySelector('.stephrl-viewer').append(e);
            const c = getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number); e.remove(); return c }""", role)
        colours = {r: colour(r) for r in ('high', 'low', 'progress')}
    for eye in EYES:
        for a, b in (('high', 'low'), ('high', 'progress'), ('low', 'progress')):
            assert math.dist(lab(colours[a], eye), lab(colours[b], eye)) > 12, (eye, a, b, colours)


def test_the_theme_button(page):
    page.get_by_role('button', name='Light or dark').click()
    expect(page.locator('.stephrl-viewer')).to_have_css('background-color', 'rgb(22, 24, 27)')
    page.get_by_role('button', name='Light or dark').click()
    expect(page.locator('.stephrl-viewer')).to_have_css('background-color', 'rgb(255, 255, 255)')


def test_keyboard_alone_reaches_everything_and_the_focus_is_visible(page):
    seen = set()
    for _ in range(90):
        press(page, 'Tab')
        seen.add(page.evaluate('(e => e.getAttribute("aria-label") || e.textContent.slice(0, 40))(document.activeElement)'))
        if len(seen) < 12: assert page.evaluate('document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle === "solid"')
    assert {'First step (Home)', 'Play (space)', 'Step', 'Search this episode', 'Filter the list', 'Keys (?)', 'Score'} <= seen, seen


@pytest.mark.parametrize('width', [360, 560, 800, 1100])
def test_narrow_windows_do_not_scroll_sideways(chrome, files, width):
    with watched(chrome, viewport=dict(width=width, height=900)) as page:
        for f in ('several.html', 'two.html', 'nasty.html'):
            open_page(page, files/f)
            assert page.evaluate('document.documentElement.scrollWidth') <= width, f
            expect(page.locator('.sv-action').first).to_be_visible()


# 15 untrusted text

def test_everything_untrusted_is_shown_as_text_and_nothing_runs(chrome, files):
    with watched(chrome) as page:
        open_page(page, files/'nasty.html')
        expect(page.locator('.sv-title')).to_contain_text('task <img src=x onerror="window.pwned=1"></script>')
        press(page, 'p')
        for n in range(1, 7):
            step(page, n, 6)
            expect(page.locator('.sv-action')).to_contain_text('<script>window.pwned=1</script> {{7*7}} ${7*7} ⟨U+001B⟩[31m ⟨U+202E⟩esrever⟨U+202C⟩ ⟨U+E0041⟩ אב &amp; "\'')
            press(page, 'ArrowRight')
        expect(page.locator('.sv-crash')).to_contain_text('Crashed: <img')
        assert page.evaluate('window.pwned === undefined && document.querySelectorAll("img").length === 0')
        assert page.evaluate('[...document.querySelectorAll(".sv-title bdi, .sv-chips bdi, .sv-action")].every(e => getComputedStyle(e).unicodeBidi === "isolate")')  # a Hebrew name turns nothing round beside it
        assert axe(page) == []


def test_a_huge_observation_is_shown_in_part_until_it_is_asked_for(chrome, files):
    with watched(chrome) as page:
        open_page(page, files/'nasty.html', '#step=3')
        told = field(page, 'Was told')
        expect(told.locator('button')).to_have_text('… show all 200,007 characters')
        told.locator('button').click()
        expect(told).to_contain_text('THE END')
        press(page, 'ArrowRight')  # the focus was on the button that is gone: keys still work
        step(page, 4, 6)


def test_a_crash_and_an_empty_episode(page):
    rows(page).nth(4).click()
    expect(page.locator('.sv-crash')).to_have_text('Crashed: EnvDied: the JVM <exited>')
    step(page, 1, 3)
    rows(page).nth(5).click()
    expect(page.locator('.sv-empty')).to_have_text('This episode has no steps.')
    press(page, 'ArrowRight', 'End', 'r', 'e', 'p', ' ', 'ArrowDown')
    rows(page).nth(0).click()
    step(page, 1)


def test_no_episodes(chrome, tmp_path):
    with watched(chrome) as page:
        open_page(page, to_html([], tmp_path/'none.html'))
        expect(page.locator('.sv-empty')).to_have_text('No episodes to show.')


def test_numbers_that_are_none_are_shown_as_such(chrome, tmp_path):
    ep = made()
    ep.score = ep.steps[1].score = math.nan
    for c in ep.steps[0].calls: c.value, c.q, c.logprob = math.nan, math.inf, -math.inf
    with watched(chrome) as page:
        open_page(page, to_html([ep, made()], tmp_path/'nan.html'))
        expect(page.locator('.sv-bigscore')).to_have_text('– / 100')
        expect(page.locator('.sv-call summary').nth(1)).to_contain_text('log p – · V – · Q – · A 0.10')
        expect(page.locator('.sv-figure').nth(3).locator('.sv-keys li').first).to_have_text(re.compile('V –'))
        press(page, 'ArrowRight')
        expect(page.locator('.sv-badges')).to_contain_text('score 0 → –')
        expect(page.locator('.sv-figure').nth(3).locator('.sv-keys li').first).to_have_text(re.compile('V 0.26'))


# any environment

def test_an_environment_without_rooms_and_the_agents_range_notes(chrome, tmp_path):
    "ALFWorld tells everything in its answer: fields that it lacks are not shown, and the viewer never asks which environment it is."
    from stephrl.episode import Episode, Observation, Step, Subtask
    steps = [Step(Observation('You are in the middle of a room.'), 'go to drawer 1', subtask=0, next_progress='Looking for a mug. [Checked: drawer 1-2]'),
             Step(Observation('The drawer 1 is closed.'), 'open drawer 1', subtask=0, progress='Looking for a mug. [Checked: drawer 1-2]', next_progress='Looking for a mug. [Checked: drawer 2]')]
    ep = Episode('alfworld', '0.4', 'pick_and_place_simple', 'pick_and_place_simple-Mug-None-Desk-308/trial_T2019', 'valid_unseen', 'put a mug on the desk.', steps,
                 [Subtask('find and take a mug', 0, 2)], Observation('You open the drawer 1.'), source='searcher')
    with watched(chrome) as page:
        open_page(page, to_html(ep, tmp_path/'house.html'))
        expect(page.locator('.sv-title')).to_contain_text('pick_and_place_simple · variation pick_and_place_simple-Mug-None-Desk-308/trial_T2019')
        expect(field(page, 'Was told')).to_have_text('You are in the middle of a room.')
        expect(page.locator('.sv-fields dt', has_text='Room')).to_be_hidden()
        expect(page.locator('.sv-fields dt', has_text='Carries')).to_be_hidden()
        expect(field(page, 'Answer')).to_have_text('The drawer 1 is closed.')
        press(page, 'e')
        step(page, 2, 2)
        expect(page.locator('.sv-alarm li')).to_have_text(['⚠  progress: the note lost Checked: drawer 1'])
        page.set_viewport_size(dict(width=360, height=800))
        assert page.evaluate('document.documentElement.scrollWidth') <= 360


def test_no_environment_is_named_in_the_code_of_the_viewer():
    from stephrl import figures, monitor, view_model, viewer
    code = [Path(m.__file__).read_text() for m in (figures, monitor, view_model, viewer)] + [p.read_text() for p in viewer.STATIC.glob('viewer.*')]
    assert not re.search('scienceworld|alfworld', '\n'.join(code), re.I)
