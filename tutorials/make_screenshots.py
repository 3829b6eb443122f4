"""Take the pictures of the viewer that the README and the tutorials show, light and dark, in a headless Chromium.

    python tutorials/make_screenshots.py            # writes nbs/images/*.png
"""
import os, shutil, tempfile
from pathlib import Path
from stephrl.view_model import issues
from stephrl.viewer import CompareViewer, to_html, watched_episodes

OUT = Path(__file__).parent.parent/'nbs'/'images'


def pictures(folder):
    "name -> (page, place in it, width, keys to press)"
    episodes = watched_episodes()
    one = to_html(episodes, folder/'one.html', 'Three plays of unseen variations')
    two = CompareViewer(*episodes[:2], title='A success and a failure').to_html(folder/'two.html')
    wrong = 1 + next(t for t in range(len(episodes[1].steps)) if any(i['role'] == 'progress' for i in issues(episodes[1], t)))  # where the note goes wrong
    last = len(episodes[0].steps) - 1
    return {'viewer': (one, f'#episode=2&step={wrong}', 1280, []), 'viewer-prompts': (one, f'#episode=1&step={last}', 1280, ['l', 'p']), 'viewer-compare': (two, f'#step={wrong}', 1280, [])}


def main():
    from playwright.sync_api import sync_playwright
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get('STEPHRL_CHROME') or shutil.which('chromium') or shutil.which('google-chrome'), args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'])
        for name, (page, place, width, keys) in pictures(Path(folder)).items():
            for scheme in ('light', 'dark'):
                tab = browser.new_context(viewport=dict(width=width, height=700), color_scheme=scheme).new_page()
                tab.goto(page.as_uri() + place)
                tab.locator('.sv-action').last.wait_for()
                for key in keys: tab.keyboard.press(key)
                tab.wait_for_timeout(600)
                tab.screenshot(path=OUT/f'{name}-{scheme}.png', full_page=True)
                print(OUT/f'{name}-{scheme}.png')
        browser.close()


if __name__ == '__main__': main()
