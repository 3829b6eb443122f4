"The corridor with the lamp, and three ways for it to fail: `light fuse` crashes it, `kill` ends its process, `delay` makes it slow."
import os, signal, time
from stephrl.env import Corridor, EnvError, register_env


class Hazards(Corridor):
    name = 'hazards'

    def __init__(self, step_limit=12, delay=0.):
        super().__init__(step_limit)
        self.delay = delay

    def step(self, action):
        if action == 'light fuse': raise EnvError('the house burnt down')
        if action == 'kill': os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.delay)
        return super().step(action)


register_env('hazards', 'hazards:Hazards')
