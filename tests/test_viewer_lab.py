"The widgets in a real JupyterLab in a real browser: what differs from the standalone page."
import json, re
import nbformat, pytest
from labkit import axe, command, lab, notebook, open_notebook, run_all, sanitized, until, watched

from made_episodes import made
from stephrl.episode import to_dict

expect = pytest.importorskip('playwright.sync_api').expect
TESTS = str(__import__('pathlib').Path(__file__).parent)
PRELUDE = f'import sys; sys.path.insert(0, {TESTS!r})\nfrom made_episodes import made, several\nfrom stephrl.viewer import *\nfrom stephrl.monitor import *'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    d = tmp_path_factory.mktemp('notebooks')
    notebook(d/'viewer.ipynb', PRELUDE, 'v = EpisodeViewer([made(variation=i, seed=i) for i in range(40)], step=3, title="Forty"); v', 'print("all done")')
    notebook(d/'compare.ipynb', PRELUDE, 'c = CompareViewer(made(), made(10, source="cloned+RL", score=100.)); c', 'print("all done")')
    notebook(d/'figures.ipynb', PRELUDE + '\nfrom stephrl.figures import *', 'eps = [made(task=t, source=s, score=x) for t in ("find-plant", "boil") for s, x in (("cloned", 50.), ("cloned+RL", 100.))]\n'
             'for f in (score_by_family, tokens_by_role, tokens_by_step, steps_to_first_reward): display(f(eps))', 'print("all done")')
    log = d/'run'
    log.mkdir()
    (log/'bc.jsonl').write_text(''.join(json.dumps(dict(step=i, loss=4/i, **{'loss/high': 5/i, 'loss/low': 3/i, 'eval/score': float(i)})) + '\n' for i in range(1, 21)))
    notebook(d/'monitor.ipynb', PRELUDE, f'm = TrainingMonitor({str(log)!r}, every=.2); m', 'print("all done")')
    return d


@pytest.fixture(scope='module')
def light(root, tmp_path_factory, chrome):
    with lab(root, tmp_path_factory.mktemp('lab')) as u: yield u


@pytest.fixture(scope='module')
def opened(chrome, light):
    with watched(chrome, color_scheme='dark') as p:  # the system wishes for dark: JupyterLab's own theme counts
        open_notebook(p, light, 'viewer.ipynb')
        run_all(p, 'all done')
        expect(p.locator('.sv-position')).to_have_text('Step 4 of 12')
        yield p
        command(p, 'notebook:shutdown-kernel')


@pytest.fixture
def page(opened):
    "The notebook with the viewer, back at the fourth step of the first episode."
    opened.keyboard.press('Escape')
    if not opened.locator('.sv-list').is_visible(): opened.locator('.stephrl-viewer').press('l')
    opened.locator('.sv-scroller').evaluate('e => { e.scrollTop = 0 }')
    opened.locator('tr[data-index="0"] button').click()
    opened.get_by_role('slider', name='Step').fill('3')
    expect(opened.locator('.sv-position')).to_have_text('Step 4 of 12')
    return opened


def cell(page, source, done):
    "Put a cell at the end of the notebook, run it and wait for its output."
    page.locator('.jp-Cell').last.locator('.cm-content').click()
    page.keyboard.press('Escape')
    page.keyboard.press('b')
    page.keyboard.press('Enter')
    page.keyboard.insert_text(source)
    page.keyboard.press('Shift+Enter')
    expect(page.locator('.jp-OutputArea-output', has_text=done).last).to_be_visible()


def test_stepping_keys_stay_in_the_viewer_and_python_follows(page):
    cells = page.locator('.jp-Notebook .jp-Cell')
    before = cells.count()
    page.locator('.sv-position').click()
    for key in ['d', 'd', 'b', 'a', 'x', 'm', 'y', 'Enter', 'ArrowRight', 'j', 'k', 'z', '0', '0', 'Shift+L', 'End', 'Home', 'r', 'r', 'e', 'p', 'ArrowDown', 'ArrowUp']: page.keyboard.press(key)
    expect(page.locator('.sv-position')).to_have_text('Step 9 of 12')
    expect(page.locator('.sv-call[open]')).to_have_count(3)
    page.locator('.is-now .sv-leaf').nth(2).click()  # the button is replaced when the step changes: the focus must stay
    for key in ['d', 'd', 'b', 'a']: page.keyboard.press(key)
    page.keyboard.press('ArrowUp')
    page.keyboard.press('ArrowUp')  # the list of steps in which the focus was is folded
    for key in ['d', 'd', 'b', 'a']: page.keyboard.press(key)
    page.get_by_role('button', name='Last step').click()  # at the end this button goes grey: it must keep the focus
    for key in ['d', 'd', 'b', 'a']: page.keyboard.press(key)
    page.keyboard.press('l')
    for key in ['d', 'd', 'b', 'a']: page.keyboard.press(key)
    page.keyboard.press('/')
    page.keyboard.type('dd seed')
    page.keyboard.press('Escape')
    for key in ['d', 'd', 'b', 'a']: page.keyboard.press(key)
    expect(page.locator('.sv-position')).to_have_text('Step 12 of 12')
    assert cells.count() == before
    for _ in range(100):  # the page tells Python after a moment
        cell(page, 'print("python says", v.episode, v.step)', 'python says')
        if page.locator('.jp-OutputArea-output', has_text='python says 0 11').count(): break
    expect(page.locator('.jp-OutputArea-output', has_text='python says 0 11').last).to_be_visible()
    cell(page, 'v.step = 6; v.episode = 2; print("moved")', 'moved')
    expect(page.locator('.sv-title')).to_contain_text('variation 2')


def test_an_episode_that_was_not_sent_comes_from_the_kernel(page):
    page.locator('.sv-scroller').evaluate('e => e.scrollTop = e.scrollHeight')
    page.locator('tr[data-index="39"]').click()
    expect(page.locator('.sv-title')).to_contain_text('variation 39')
    expect(page.locator('.sv-position')).to_have_text('Step 1 of 12')


def test_no_widget_state_is_saved_and_the_snapshot_is(page, root):
    page.keyboard.press('Escape')
    command(page, 'docmanager:save')
    for _ in range(300):
        text = (root/'viewer.ipynb').read_text()
        if 'text/html' in text and text.endswith('}\n'): break
        page.wait_for_timeout(200)
    nb = nbformat.reads(text, 4)
    assert 'widgets' not in nb.metadata
    html = nb.cells[1].outputs[0].data['text/html']
    assert 'Your task is to do find-plant.' in html and '<script' not in html and 'style' not in html


def test_the_snapshot_is_readable_in_nbconvert_and_after_a_sanitizer(chrome, tmp_path):
    "An executed notebook, as `nbconvert` makes a page of it and as GitHub shows its HTML: no widget, no style, no script."
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter
    nb = nbformat.read(notebook(tmp_path/'n.ipynb', PRELUDE, 'EpisodeViewer([made(), made(10, source="<b>RL", score=100.)])'), 4)
    NotebookClient(nb, store_widget_state=False).execute()
    body = HTMLExporter(template_name='basic').from_notebook_node(nb)[0]
    for page_html in (body, sanitized(nb.cells[1].outputs[0].data['text/html'])):
        (tmp_path/'page.html').write_text(f'<!doctype html><meta charset="utf-8">{page_html}')
        with watched(chrome, java_script_enabled=False) as page:
            page.goto((tmp_path/'page.html').as_uri())
            tables = page.locator('table')
            expect(page.locator('p', has_text='2 episodes')).to_be_visible()
            expect(tables.nth(0).locator('tbody tr').nth(1)).to_have_text(re.compile(r'solved\s*100\s*find-plant\s*3\s*<b>RL\s*10'))
            expect(page.locator('p', has_text='Task: Your task is to do find-plant.')).to_be_visible()
            expect(tables.nth(1).locator('th')).to_have_text(['step', 'subtask', 'action', 'answer', 'note after', 'score', 'tokens read', 'full history'])
            expect(tables.nth(1).locator('tbody tr').nth(5)).to_contain_text('⚠ low: the environment refused the action')
            expect(tables.nth(1).locator('tbody tr').nth(3).locator('td')).to_have_text(['4', '', 'action 3', 'Answer 3.', 'Agent has done e things. [Checked: jar]', '25 (+25)', '206', re.compile(r'^\d,?\d+$')])


def test_two_side_by_side(chrome, light):
    with watched(chrome) as page:
        open_notebook(page, light, 'compare.ipynb')
        run_all(page, 'all done')
        expect(page.locator('.sv-position')).to_have_text(['Step 1 of 12', 'Step 1 of 10'])
        page.locator('.sv-position').first.click()
        page.keyboard.press('ArrowRight')
        expect(page.locator('.sv-position')).to_have_text(['Step 2 of 12', 'Step 2 of 10'])
        expect(page.locator('.sv-bigscore')).to_have_text(['50 / 100', '100 / 100'])


def test_curves_grow_while_another_process_writes(chrome, light, root):
    with watched(chrome) as page:
        open_notebook(page, light, 'monitor.ipynb')
        run_all(page, 'all done')
        expect(page.locator('.sv-figure figcaption')).to_have_text(['eval/score', 'loss'])
        expect(page.locator('.sv-figure').nth(0).locator('.sv-key-value')).to_have_text(['20'])
        with open(root/'run'/'bc.jsonl', 'a') as f: f.write('{"step": 21, "eval/score": 77.5, "v/low": 0.5}\n')
        expect(page.locator('.sv-figure').nth(0).locator('.sv-key-value')).to_have_text(['77.5'])
        expect(page.locator('.sv-figure figcaption')).to_have_text(['eval/score', 'loss', 'v'])
        expect(page.locator('.stephrl-viewer [role=status]')).to_contain_text('live')
        page.get_by_label('Smoothing').fill('0.9')
        expect(page.locator('.sv-figure').nth(0).locator('.sv-key-value')).not_to_have_text(['77.5'])
        assert axe(page) == []
        with open(root/'run'/'played.jsonl', 'w') as f:  # an agent begins to play
            for s in (100., 50.): f.write(json.dumps(to_dict(made(3, score=s))) + '\n')
        played = page.get_by_role('region', name='played')
        expect(played.locator('figcaption')).to_have_text(['mean score so far'])
        page.get_by_label('Smoothing').fill('0')
        expect(played.locator('.sv-key-value')).to_have_text(['75'])
        cells = page.locator('.jp-Notebook .jp-Cell').count()
        page.locator('.sv-figure').nth(0).click()
        for key in ['d', 'd', 'b', 'a', 'x']: page.keyboard.press(key)
        page.get_by_label('Smoothing').focus()
        for key in ['ArrowRight', 'd', 'd', 'b']: page.keyboard.press(key)
        assert page.locator('.jp-Notebook .jp-Cell').count() == cells
        command(page, 'apputils:change-theme', theme='JupyterLab Dark')
        expect(page.locator('body')).to_have_attribute('data-jp-theme-light', 'false')
        until(page, '() => getComputedStyle(document.querySelector(".stephrl-viewer")).backgroundColor.match(/[0-9]+/g).slice(0, 3).every(v => v < 60)', True)
        assert axe(page) == []
        command(page, 'apputils:change-theme', theme='JupyterLab Light')


def test_the_summary_figures_are_drawn(chrome, light):
    with watched(chrome) as page:
        open_notebook(page, light, 'figures.ipynb')
        run_all(page, 'all done')
        plots = page.locator('.js-plotly-plot')
        expect(plots).to_have_count(4)
        expect(page.locator('.js-plotly-plot .gtitle')).to_have_text(['Score by family', 'Tokens read per step', 'Tokens read at each step', 'Steps to the first reward'])
        expect(plots.nth(0).locator('.xtick')).to_have_text(['boil (1)', 'find-plant (1)', 'all (2)'])
        expect(plots.nth(0).locator('.legendtext')).to_have_text(['cloned', 'cloned+RL'])
        expect(plots.nth(1).locator('.legendtext')).to_have_text(['full history would read', 'progress', 'low', 'high'])   # stacked: from the top
        expect(plots.nth(2).locator('.legendtext')).to_have_text(['cloned', 'full history of cloned', 'cloned+RL', 'full history of cloned+RL'])
        expect(plots.nth(3).locator('.scatterlayer .trace')).to_have_count(2)


@pytest.mark.parametrize('dark', [False, True])
def test_the_theme_of_jupyterlab_and_axe(page, dark):
    command(page, 'apputils:change-theme', theme='JupyterLab Dark' if dark else 'JupyterLab Light')
    expect(page.locator('body')).to_have_attribute('data-jp-theme-light', 'false' if dark else 'true')
    if not page.locator('.sv-call[open]').count(): page.locator('.sv-position').press('p')
    expect(page.locator('.sv-call[open]').first).to_be_visible()
    until(page, '() => getComputedStyle(document.querySelector(".stephrl-viewer")).backgroundColor.match(/[0-9]+/g).slice(0, 3).every(v => v < 60)', dark)
    assert axe(page) == []
