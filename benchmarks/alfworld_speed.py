"""ALFWorld here and under its own wrappers, the same games and the same actions side by side: are all texts, scores and commands the same, and how much faster is it?

    python benchmarks/alfworld_speed.py [--games 20] [--actions 25] [--experts 6] [--data FOLDER] [--out results/alfworld_speed.json]

Times are processor seconds, so that other work on the machine disturbs them little. Games come from FOLDER (default: ALFWORLD_DATA), or are made where there is none."""
import argparse, json, os, platform, random, statistics, tempfile, time
from pathlib import Path


def stock_env():
    "The wrappers as alfworld ships them, in the way its own environment stacks them; without its expert, which would only make them slower."
    import textworld
    from textworld.envs import PddlEnv
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
    return AlfredInfos(AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True, facts=True, extras=['gamefile']))))


class Pair:
    "One game in both; every answer is compared, every call timed."
    def __init__(self, stock):
        self.stock, self.seconds, self.compared = stock, {k: ([], []) for k in ('load', 'reset', 'step')}, 0

    def timed(self, what, which, call, *args):
        began = time.process_time()
        out = call(*args)
        self.seconds[what][which].append(time.process_time() - began)
        return out

    def begin(self, file):
        from stephrl.alfworld import ALFWorld, read_game
        self.env = ALFWorld(step_limit=None)
        self.timed('load', 0, self.stock.load, str(file))
        self.timed('load', 1, lambda: self.env.load(read_game(file)))
        game = self.env.household
        self.state = self.timed('reset', 0, self.stock.reset)
        self.env.find = lambda task, variation: game
        self.observation, _ = self.timed('reset', 1, self.env.reset, game.type, game.id)
        self.check('reset', 0, False)
        return game

    def act(self, action):
        self.state, score, done = self.timed('step', 0, self.stock.step, action)
        self.observation, reward, terminated, _, info = self.timed('step', 1, self.env.step, action)
        self.check(action, score, done)
        assert (info['score'], terminated, info['won']) == (100*score, done, self.state['won']), action
        return done

    def check(self, action, score, done):
        if self.env.feedback != self.state.feedback: raise AssertionError(f'{action}: {self.env.feedback!r}, but the wrappers say {self.state.feedback!r}')
        if self.env.playing and self.env.valid_actions() != self.state['admissible_commands']: raise AssertionError(f'{action}: other admissible commands')
        self.compared += 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--games', type=int, default=20)
    p.add_argument('--actions', type=int, default=25, help='random ones, per game')
    p.add_argument('--experts', type=int, default=6, help='games that are also played to the end by the expert')
    p.add_argument('--data', default=os.environ.get('ALFWORLD_DATA'))
    p.add_argument('--out', default='results/alfworld_speed.json')
    a = p.parse_args()
    tmp = tempfile.TemporaryDirectory()
    os.environ.setdefault('ALFWORLD_DATA', a.data or tmp.name)      # importing alfworld makes this folder
    from stephrl.alfworld import installed
    from stephrl.alfworld_experts import SearchExpert
    if not a.data:
        from stephrl.alfworld_games import write_games
        write_games(tmp.name, a.games, progress=False)
    files = sorted(Path(a.data or tmp.name).rglob('game.tw-pddl'))
    draw = random.Random(0)
    files = draw.sample(files, a.games)
    pair, kinds, won = Pair(stock_env()), [], 0
    for i, file in enumerate(files):
        game = pair.begin(file)
        kinds.append(game.type)
        for _ in range(a.actions):
            if pair.act(draw.choice([*pair.state['admissible_commands'], 'put everything away'])): break
        pair.env.close()
        if i < a.experts:
            pair.begin(file)
            expert = SearchExpert(game.goal)
            while (action := expert.act(pair.observation)) is not None and not pair.act(action): pass
            won += pair.state['won']
            pair.env.close()
        print(f'{i+1}/{len(files)} {game.type}', flush=True)
    mean = {k: [statistics.mean(x) for x in v] for k, v in pair.seconds.items()}
    ratio = {k: v[0]/v[1] for k, v in mean.items()}
    result = dict(games=len(files), types=len(set(kinds)), published=bool(a.data), random_actions_per_game=a.actions, expert_episodes=min(a.experts, len(files)), expert_won=won,
                  states_compared=pair.compared, differing=0, seconds={k: dict(stock=v[0], here=v[1], calls=len(pair.seconds[k][0])) for k, v in mean.items()}, ratio=ratio,
                  load_average=os.getloadavg()[0], alfworld=installed(), python=platform.python_version(), machine=platform.machine(),
                  command='python benchmarks/alfworld_speed.py' + (' --data $ALFWORLD_DATA' if a.data else ''))
    for k, r in ratio.items(): print(f'{k:6} {1000*mean[k][0]:8.1f} ms -> {1000*mean[k][1]:7.1f} ms   {r:.1f} times')
    print(f'{pair.compared} states compared, all the same; experts won {won} of {result["expert_episodes"]}')
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    temp = Path(a.out).with_suffix('.tmp')
    temp.write_text(json.dumps(result, indent=1) + '\n')
    os.replace(temp, a.out)


if __name__ == '__main__': main()
