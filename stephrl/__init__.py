"""STEP-HRL: hierarchical reinforcement learning for LLM agents. The names below come from their modules when they are first asked for."""
from importlib import import_module

__version__ = "0.1.0"
MODULES = dict(load_agent='agents', make_env='env', load_suite='env', play='player', read_episodes='episode', get_annotator='annotate',
               Policy='policy', Config='train', Run='train', EpisodeViewer='viewer', CompareViewer='viewer')
__all__ = list(MODULES)


def __getattr__(name):
    if name not in MODULES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'.{MODULES[name]}', __name__), name)


def __dir__(): return sorted([*globals(), *__all__])
