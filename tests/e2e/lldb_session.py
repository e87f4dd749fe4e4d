"""lldb on a dump: with our plugin, or without it on `inquest serve`.  All that the tests want to ask is asked in one go."""
import json
import os
import subprocess

from lib import HERE, Answer, Session, Skip, text
from server import serving

LLDB = "lldb-19"
START = ["settings set use-color false", "settings set stop-line-count-before 0", "settings set stop-line-count-after 0",
         "settings set symbols.enable-lldb-index-cache true"]
HERE_QUOTED = f'"{HERE}/in_lldb.py"'


def environment(env, **more):
    """With the sanitizers' runtime in front where the plugin needs it."""
    words = {**os.environ, "LC_ALL": "C.UTF-8", **more}
    if env.preload:
        words["LD_PRELOAD"] = env.preload
        # Python, Z3 and lldb itself leave memory behind at their end; leaks of ours are looked for by name (leaks_of).
        words["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=0:alloc_dealloc_mismatch=0:log_path=" + str(env.temp("asan"))
        words["UBSAN_OPTIONS"] = "print_stacktrace=1:log_path=" + str(env.temp("asan"))
    return words


def run_lldb(env, commands, words=(), timeout=300, variables=None):
    """Answers to `commands`, and what lldb itself printed.  `words`: more for lldb's command line."""
    requests = env.temp(f"lldb-{run_lldb.count}.json")
    run_lldb.count += 1
    requests.write_text(json.dumps(commands))
    line = [LLDB, "-x", "-b", *[word for command in START for word in ("-O", command)], *words, "-o", f"command script import {HERE_QUOTED}"]
    done = subprocess.run(line, env=environment(env, INQUEST_E2E=str(requests), **(variables or {})), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    said = text(done.stdout) + "\n" + text(done.stderr)
    answers = requests.with_name(requests.name + ".out")
    if not answers.exists() or done.returncode:
        raise AssertionError(f"lldb ended with {done.returncode}: {said[-600:]}")
    return [Answer(**answer) for answer in json.loads(answers.read_text())], said


run_lldb.count = 0


def with_plugin(env):
    """What loads our plugin."""
    if not env.plugin or not env.plugin.exists():
        raise Skip("the plugin was not built")
    return ["-o", f'plugin load "{env.plugin}"']


def opening(env, dump, *words, alone=False):
    more = ["--no-vmlinux"] if alone else []
    return " ".join(["inquest open", *words, *(f'"{word}"' for word in env.words("open", dump, *more, vmlinux=not alone)[1:])])


class LldbSession(Session):
    def __init__(self, env, dump, alone=False):
        """`alone`: there is no file but the dump."""
        super().__init__(env, dump)
        self.alone = alone
        # An image that another version of the program has left in the user's cache is not what is to be tested.
        self.variables = {"XDG_CACHE_HOME": str(env.temp("cache"))} if alone else {}
    def traces(self):
        """tid -> [(address, function)], innermost first."""
        found = json.loads(self.output("frames"))
        # A function's cold half is a symbol of its own to lldb 19.
        return {int(tid): [(address, name.split(".cold")[0]) for address, name in frames] for tid, frames in found.items()}


class PluginSession(LldbSession):
    how = "plugin"

    def run(self, commands):
        answers, said = run_lldb(self.env, [opening(self.env, self.dump, alone=self.alone), *commands], with_plugin(self.env),
                                 variables=self.variables)
        if answers[0].error:
            raise AssertionError(f"inquest open: {answers[0].error}")
        self.opened = answers[0]
        return answers[1:], said


class StockSession(LldbSession):
    how = "stock"

    def run(self, commands):
        more = ["--no-vmlinux"] if self.alone else []
        setup = self.env.run(*self.env.words("lldb-commands", self.dump, *more, vmlinux=not self.alone), env={**os.environ, **self.variables})
        if setup.returncode:
            raise AssertionError(f"inquest lldb-commands: {text(setup.stderr)}")
        first = text(setup.stdout).splitlines()
        with serving(self.env, self.dump, *more, vmlinux=not self.alone) as server:
            connect = [*first, f"gdb-remote {server.where}"]
            answers, said = run_lldb(self.env, [*connect, *commands])
        for command, answer in zip(connect, answers):
            if answer.error:
                raise AssertionError(f"{command}: {answer.error}")
        self.opened = answers[len(first)]
        return answers[len(connect):], said
