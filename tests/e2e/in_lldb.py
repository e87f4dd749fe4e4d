"""Runs inside lldb: executes the commands of a JSON file and writes what each printed, or the error it ended with.

The file's name is in INQUEST_E2E; the answers go to the same name with `.out`.  Some commands are not lldb's: `@frames` prints every
thread's frames as JSON, `@frame NAME` selects the selected thread's frame of that function, `@complete TEXT` is the Tab key.
"""
import json
import os
import time

import lldb


def names(frame):
    """As `bt` shows them: an inlined function stands before the one it is in."""
    return [frame.GetFunctionName() or "", *([frame.GetFunction().GetName()] if frame.IsInlined() else [])]


def frames(debugger):
    return json.dumps({thread.GetThreadID(): [(frame.GetPC(), name) for frame in thread for name in names(frame)]
                       for thread in debugger.GetSelectedTarget().process})


def select(debugger, function):
    thread = debugger.GetSelectedTarget().process.selected_thread
    thread.SetSelectedFrame(next(frame.idx for frame in thread if frame.GetFunctionName() == function))
    return ""


def complete(debugger, *words):
    line, matches = " ".join(words), lldb.SBStringList()
    debugger.GetCommandInterpreter().HandleCompletion(line, len(line), 0, -1, matches)
    return "\n".join(matches)


SPECIAL = {"@frames": frames, "@frame": select, "@complete": complete}


def answer(debugger, command):
    clock, cpu, error = time.monotonic(), time.process_time(), None
    if command[0] == "@":
        name, *words = command.split(" ")
        output = SPECIAL[name](debugger, *words)
    else:
        result = lldb.SBCommandReturnObject()
        debugger.GetCommandInterpreter().HandleCommand(command, result)
        output = result.GetOutput() or ""
        error = None if result.Succeeded() else result.GetError() or "?"
    return {"output": output, "error": error, "seconds": time.monotonic() - clock, "cpu": time.process_time() - cpu}


def __lldb_init_module(debugger, _):
    debugger.SetAsync(False)
    name = os.environ["INQUEST_E2E"]
    with open(name) as file:
        commands = json.load(file)
    answers = [answer(debugger, command) for command in commands]
    with open(name + ".out", "w", errors="replace") as file:
        json.dump(answers, file)
