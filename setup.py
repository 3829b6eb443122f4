"Packaging reads everything from settings.ini, so that version and requirements stand in one place."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

cfg = ConfigParser(delimiters=['='])
cfg.read(Path(__file__).parent/'settings.ini', encoding='utf8')
c = cfg['DEFAULT']
extras = {k.removesuffix('_requirements'): v.split() for k, v in c.items() if k.endswith('_requirements')}

setup(name=c['lib_name'], version=c['version'], description=c['description'], keywords=c['keywords'].split(),
      author=c['author'], author_email=c['author_email'], url=c['git_url'], license='Apache-2.0',
      long_description=Path('README.md').read_text(encoding='utf8') if Path('README.md').exists() else c['description'],
      long_description_content_type='text/markdown', python_requires=f">={c['min_python']},<3.13",
      packages=find_packages(include=['stephrl*']), include_package_data=True, install_requires=c['requirements'].split(),
      extras_require=extras, entry_points=dict(console_scripts=c['console_scripts'].split()), zip_safe=False,
      classifiers=['Development Status :: 4 - Beta', 'Intended Audience :: Science/Research', 'Programming Language :: Python :: 3.11', 'Programming Language :: Python :: 3.12'])
