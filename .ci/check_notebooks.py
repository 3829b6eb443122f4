"""The notebooks are the source. This checks, in a scratch copy, that cleaning and exporting them changes nothing,
that README.md is what nbs/index.ipynb says, and that no notebook is too large, has a cell too long to be read at once or a line too wide, keeps
widget state, or shows a path of its author's machine.
`--write-readme` writes README.md instead."""
import argparse, filecmp, json, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OWN = re.compile(r'(?<![\w.])(?:/[\w.-]+)*/(?:\.venv|site-packages)/|(?<![\w.])/(?:home|Users|root)/\w+')  # a path that only its author has


def wide(source):
    "Lines that have to be scrolled sideways. Not meant: a docstring, and what stands before a comment on its argument; nor the cells that write the README."
    code = lambda line: re.sub(r'(?<=\S)\s+# .*$', '', line)
    return [l for l in source.splitlines() if len(code(l)) > 140 and not l.lstrip().startswith(('"', '#'))] if not source.startswith('#| echo: false') else []


def readme(index):
    "nbs/index.ipynb as Markdown: cells marked `#| hide` are left out, of cells marked `#| echo: false` only the output is kept."
    from nbconvert import MarkdownExporter
    from nbconvert.preprocessors import Preprocessor, RegexRemovePreprocessor

    class OutputOnly(Preprocessor):
        def preprocess_cell(self, cell, resources, index):
            if cell.source.startswith('#| echo: false'): cell.metadata['transient'] = {'remove_source': True}
            return cell, resources

    exporter = MarkdownExporter()
    exporter.register_preprocessor(RegexRemovePreprocessor(patterns=[r'#\| hide']), enabled=True)
    exporter.register_preprocessor(OutputOnly, enabled=True)
    text = exporter.from_filename(str(index))[0]
    text = re.sub(r'\n{3,}', '\n\n', text.replace('](images/', '](nbs/images/').replace('](../', ']('))
    return text.strip() + '\n'


def differing(a, b, pattern):
    names = {p.relative_to(d) for d in (a, b) for p in d.rglob(pattern) if p.name != '_modidx.py'}   # an index for documentation sites, made by nbdev, not kept
    return sorted(str(n) for n in names if not ((a/n).exists() and (b/n).exists() and filecmp.cmp(a/n, b/n, shallow=False)))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--write-readme', action='store_true')
    if ap.parse_args().write_readme:
        (ROOT/'README.md').write_text(readme(ROOT/'nbs/index.ipynb'), encoding='utf8')
        return
    wrong = []
    with tempfile.TemporaryDirectory() as tmp:
        copy = Path(tmp)/'copy'
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns('.git', '.venv', 'runs', '__pycache__', '*.egg-info', '.ipynb_checkpoints'))
        env = {**os.environ, 'PYTHONPATH': str(copy)}
        for command in (['nbdev_clean'], ['nbdev_clean', '--fname', 'tutorials'], ['nbdev_export']):
            subprocess.run([BIN/command[0], *command[1:]], cwd=copy, env=env, check=True)
        for folder, pattern in (('nbs', '*.ipynb'), ('tutorials', '*.ipynb'), ('stephrl', '*.py')):
            wrong += [f'{folder}/{n}: differs after nbdev_clean and nbdev_export' for n in differing(ROOT/folder, copy/folder, pattern)]
    for nb in sorted([*ROOT.glob('nbs/*.ipynb'), *ROOT.glob('tutorials/*.ipynb')]):
        if nb.stat().st_size > 500_000: wrong.append(f'{nb.relative_to(ROOT)}: {nb.stat().st_size//1000} kB, more than 500')
        book = json.loads(nb.read_text(encoding='utf8'))
        wrong += [f'{nb.relative_to(ROOT)}: cell {c["id"]} has {n} lines, more than 45' for c in book['cells'] if (n := len(''.join(c['source']).splitlines())) > 45]
        wrong += [f'{nb.relative_to(ROOT)}: cell {c["id"]} has a line of {len(l)} characters, more than 140: {l.strip()[:60]}...' for c in book['cells'] if c['cell_type'] == 'code' for l in wide(''.join(c['source']))]
        if 'widgets' in book['metadata']: wrong.append(f'{nb.relative_to(ROOT)}: keeps widget state')
        if found := OWN.search('\n'.join(json.dumps(c.get('outputs', [])) for c in book['cells'])): wrong.append(f'{nb.relative_to(ROOT)}: an output holds {found[0]!r}, a path of the machine where it ran')
    if (ROOT/'README.md').read_text(encoding='utf8') != readme(ROOT/'nbs/index.ipynb'):
        wrong.append('README.md: differs from nbs/index.ipynb; run `make readme`')
    print('\n'.join(wrong) or 'notebooks, library and README agree')
    sys.exit(bool(wrong))


if __name__ == '__main__': main()
