"The tutorials as a learner meets them: in JupyterLab, in a browser; run, interrupted, run again to the end, and then looked at."
import os, re, shutil
from pathlib import Path
import pytest
from labkit import browser, command, lab, open_notebook, takes_requests, watched
from stephrl.view_model import issues
from stephrl.viewer import watched_episodes

expect = pytest.importorskip('playwright.sync_api').expect
TUTORIALS = Path(__file__).parent.parent/'tutorials'
LONG = 10*60_000


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A browser and a JupyterLab on copies of the tutorials, with the smoke preset."
    root, work = tmp_path_factory.mktemp('tutorials'), tmp_path_factory.mktemp('lab')
    for f in TUTORIALS.glob('0[12]*.ipynb'): shutil.copy(f, root)
    before = dict(os.environ)
    os.environ.update(STEPHRL_PRESET='smoke', STEPHRL_OUT=str(work/'run'))
    try:
        with browser() as b, lab(root, work) as url: yield b, url, work/'run'
    finally:
        os.environ.clear()
        os.environ.update(before)


def errors(page): return page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]', has_text='Traceback').or_(page.locator('.jp-RenderedText', has_text='Traceback'))


def test_tutorial_1_runs_is_interrupted_and_finishes(place):
    b, url, out = place
    with watched(b) as page:
        open_notebook(page, url, '01_full_train.ipynb')
        command(page, 'notebook:clear-all-cell-outputs')
        command(page, 'notebook:run-all-cells', wait=False)
        expect(page.locator('.jp-OutputArea-output', has_text='demonstrations,').first).to_be_visible(timeout=LONG)
        command(page, 'notebook:interrupt-kernel')
        page.locator('.jp-OutputArea-output', has_text='KeyboardInterrupt').first.wait_for(state='attached', timeout=LONG)
        page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first.wait_for()
        takes_requests(page)
        assert not (out/'results.json').exists()
        demos = (out/'demos.jsonl').read_bytes()
        command(page, 'notebook:clear-all-cell-outputs')
        command(page, 'notebook:run-all-cells')
        expect(page.locator('.sv-board').or_(errors(page)).first).to_be_visible(timeout=LONG)
        assert not errors(page).count(), errors(page).first.inner_text()[-3000:]
        expect(page.locator('.sv-board')).to_be_visible()
        expect(page.locator('.stephrl-viewer .sv-position')).to_be_visible()
        assert (out/'demos.jsonl').read_bytes() == demos  # what was finished is not done again
        assert (out/'results.json').exists() and (out/'episodes.html').exists()
        page.locator('.sv-position').click()
        page.keyboard.press('End')
        expect(page.locator('.sv-position')).to_contain_text('Step')
        last = page.locator('.sv-position').inner_text().split()
        assert last[1] == last[3], last
        expect(page.locator('.sv-tokens')).to_contain_text("counted with the agent's tokenizer")
        expect(page.locator('.sv-call summary').last).to_contain_text(re.compile(r'V -?\d.*Q -?\d.*A -?\d'))  # the critics' opinion of every call
        assert 'Critics of the low policy' in page.locator('.sv-arena .sv-figure figcaption').all_inner_texts()
        curves = dict(zip(page.locator('.sv-log').evaluate_all('all => all.map(e => e.getAttribute("aria-label"))'),
                          page.locator('.sv-log').evaluate_all('all => all.map(e => [...e.querySelectorAll("figcaption")].map(f => f.textContent))')))
        assert {'v', 'q', 'advantage'} <= set(curves['rl/critics']), curves
        assert 'loss' in curves['cloning/bc'] and 'loss' in curves['rl/iql'], curves
        assert curves['collected'] == curves['evaluation/rl.episodes'] == ['mean score so far'], curves
        command(page, 'notebook:shutdown-kernel')


def test_tutorial_2_shows_three_plays(place):
    b, url, _ = place
    with watched(b) as page:
        open_notebook(page, url, '02_watch_an_agent.ipynb')
        command(page, 'notebook:run-all-cells')
        expect(page.locator('.stephrl-viewer')).to_have_count(4, timeout=LONG)
        second = page.locator('.stephrl-viewer').nth(1)
        second.locator('.sv-position').click()
        failed = watched_episodes()[1]
        for t in [t for t in range(1, len(failed.steps)) if issues(failed, t)]:
            page.keyboard.press('e')
            expect(second.locator('.sv-position')).to_have_text(f'Step {t+1} of {len(failed.steps)}')
            expect(second.locator('.sv-alarm li')).to_have_text([re.compile(re.escape(f'{i["role"]}: {i["text"]}')) for i in issues(failed, t)])
        expect(page.locator('.js-plotly-plot .gtitle')).to_have_text('Tokens read at each step of the long play')
        assert errors(page).count() == 0
        command(page, 'notebook:shutdown-kernel')
