"""A real browser and a real JupyterLab for the tests: found or started here, isolated, and watched for errors and for requests that leave the machine.

    with browser() as b, watched(b) as page: ...        # a page; on leaving, any JavaScript error or outside request fails the test
    with lab(folder_of_notebooks, state) as url: ...     # JupyterLab on localhost with all its state under `state`
"""
import contextlib, json, os, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path
import nbformat, pytest

PATIENCE = int(os.environ.get('STEPHRL_PATIENCE', 60))*1000  # milliseconds until an expectation fails: the machine may be loaded
NEEDED = os.environ.get('STEPHRL_NEED_BROWSER') == '1'  # set by .ci/run: a missing browser fails instead of skipping
TOKEN = 'token-of-the-tests'


def chromium():
    "Path of a Chromium or Chrome, or None."
    asked = os.environ.get('STEPHRL_CHROME')
    return asked or next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome'))), None)


def or_skip(thing, reason):
    "`thing`, or skip the test; fail it where CI insists on a browser."
    if thing: return thing
    if NEEDED: pytest.fail(reason)
    pytest.skip(reason)


@contextlib.contextmanager
def browser():
    path = or_skip(chromium(), 'no Chromium: apt-get install chromium, or set STEPHRL_CHROME')
    from playwright.sync_api import expect, sync_playwright
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=path, args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--no-first-run'])
        try: yield b
        finally: b.close()


@contextlib.contextmanager
def watched(b, **context):
    "A page of its own whose JavaScript errors, dialogs and requests to other machines fail the test in the end."
    c = b.new_context(**{'viewport': dict(width=1400, height=1000), **context})
    page, wrong = c.new_page(), []
    page.set_default_timeout(PATIENCE)
    page.on('pageerror', lambda e: wrong.append(f'JavaScript error: {e}'))
    page.on('dialog', lambda d: (wrong.append(f'dialog: {d.message}'), d.dismiss()))
    local = ('file:', 'data:', 'blob:', 'about:', 'chrome-extension:', 'http://127.0.0.1', 'ws://127.0.0.1', 'http://localhost')
    c.on('request', lambda r: None if r.url.startswith(local) else wrong.append(f'request to {r.url}'))
    try:
        yield page
        assert not wrong, wrong
    finally: c.close()


def open_page(page, path, link=''):
    "Open a standalone viewer and wait until an episode is shown."
    page.goto('about:blank')
    page.goto(Path(path).absolute().as_uri() + link)
    page.locator('.sv-position, .sv-empty').first.wait_for()
    return page


def until(page, script, value, tries=300):
    "Wait until a script gives a value (the page's content policy forbids playwright's own waiting, which needs eval)."
    for _ in range(tries):
        if (found := page.evaluate(script)) == value: return
        page.wait_for_timeout(100)
    assert found == value


# What GitHub leaves of the HTML in a notebook: these tags, no style, no script, no event handlers (its list, shortened to tags that could appear here)
GITHUB = set('a abbr b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q s samp small span strike strong sub summary sup table tbody td tfoot th thead tr tt ul var'.split())


def sanitized(html):
    "HTML as a sanitizer like GitHub's leaves it."
    bleach = pytest.importorskip('bleach')
    return bleach.clean(html, tags=GITHUB, attributes={'a': ['href'], 'td': ['colspan'], 'th': ['colspan']}, strip=True, strip_comments=True)


def axe(page, within='.stephrl-viewer'):
    "axe-core's verdict: a list of 'rule: element', empty when there is nothing to object to."
    try: import axe_playwright_python
    except ImportError: or_skip(None, 'axe-core is not installed: pip install axe-playwright-python')
    page.evaluate((Path(axe_playwright_python.__file__).parent/'axe.min.js').read_text())
    found = page.evaluate('within => axe.run(within, {resultTypes: ["violations"]})', within)
    return [f'{v["id"]}: {n["html"][:160]} {n["failureSummary"][:200]}' for v in found['violations'] for n in v['nodes']]


# ---------------------------------------------------------------- JupyterLab

def _settings(state, plugin, **values):
    path = state/'settings'/'@jupyterlab'/f'{plugin}.jupyterlab-settings'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def lab(root, state, dark=False):
    "JupyterLab serving `root`; yields its address."
    state = Path(state)
    _settings(state, 'apputils-extension/notification', fetchNews='false', checkForUpdates=False)
    _settings(state, 'docmanager-extension/plugin', autosave=False)
    _settings(state, 'apputils-extension/themes', theme='JupyterLab Dark' if dark else 'JupyterLab Light')
    _settings(state, 'notebook-extension/tracker', windowingMode='none')  # every cell is in the page, also those out of sight
    places = dict(HOME='home', JUPYTER_CONFIG_DIR='config', JUPYTER_DATA_DIR='data', JUPYTER_RUNTIME_DIR='runtime', IPYTHONDIR='ipython', JUPYTERLAB_SETTINGS_DIR='settings', JUPYTERLAB_WORKSPACES_DIR='workspaces')
    for d in places.values(): (state/d).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--ip=127.0.0.1', f'--port={port}', '--ServerApp.port_retries=0', f'--IdentityProvider.token={TOKEN}', f'--ServerApp.root_dir={root}',
               '--LabApp.extension_manager=readonly', '--LabApp.expose_app_in_browser=True', '--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate']
    with open(state/'lab.log', 'w') as log:
        server = subprocess.Popen(command, env={**os.environ, **{k: str(state/v) for k, v in places.items()}}, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f'http://127.0.0.1:{port}/api/status?token={TOKEN}', server, state/'lab.log')
            yield f'http://127.0.0.1:{port}'
        finally:
            server.terminate()
            try: server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(url, server, log, seconds=120):
    end = time.monotonic() + seconds
    while True:
        if server.poll() is not None: raise RuntimeError(f'JupyterLab ended with {server.returncode}:\n{log.read_text()[-2000:]}')
        try: return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            if time.monotonic() > end: raise
            time.sleep(.2)


def notebook(path, *cells):
    "Write a notebook with these code cells."
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata.kernelspec = dict(name='python3', display_name='Python 3', language='python')
    nbformat.write(nb, path)
    return path


def open_notebook(page, url, name):
    "Open a notebook and wait until its kernel is ready (the status bar says so; the ring is idle before there is a kernel)."
    page.goto(f'{url}/lab/tree/{name}?token={TOKEN}&reset')
    page.locator('.jp-Notebook .jp-Cell').first.wait_for()
    page.locator('.jp-StatusBar-TextItem', has_text='| Idle').first.wait_for()
    return page


def command(page, name, wait=True, **args):
    "Carry out a command of JupyterLab, as its menus do. `wait`: until it is done; for running cells that is when the last of them has run."
    page.evaluate('([name, args, wait]) => { const done = window.jupyterapp.commands.execute(name, args); return wait ? done.then(() => null) : null }', [name, args, wait])


def takes_requests(page):
    "Wait until the kernel carries out what it is sent: after an interruption it throws requests away for a moment, some without an answer, though it says that it is idle."
    ask = """() => { const { kernel } = window.jupyterapp.shell.currentWidget.context.sessionContext.session;
        const reply = kernel.requestExecute({ code: "1", silent: true, stop_on_error: false }).done.then(reply => reply.content.status);
        return Promise.race([reply, new Promise(give => setTimeout(() => give('no answer'), 3000))]) }"""
    until(page, ask, 'ok', tries=40)


def run_all(page, done):
    "Run all cells; return when some output holds the text `done`."
    command(page, 'notebook:run-all-cells')
    page.locator('.jp-OutputArea-output', has_text=done).first.wait_for(timeout=3*PATIENCE)
