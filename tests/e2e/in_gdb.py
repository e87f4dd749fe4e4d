"""Runs inside gdb: executes the commands of a JSON file and writes what each printed, or the error it ended with.

The file's name is in INQUEST_E2E; the answers go to the same name with `.out`.
"""
import json
import os
import time

import gdb


def answer(command):
    start, error = time.monotonic(), None
    try:
        output = gdb.execute(command, to_string=True)
    except gdb.error as problem:
        output, error = "", str(problem)
    return {"output": output, "error": error, "seconds": time.monotonic() - start}


name = os.environ["INQUEST_E2E"]
with open(name) as file:
    commands = json.load(file)
answers = []
for command in commands:
    answers.append(answer(command))
with open(name + ".out", "w", errors="replace") as file:
    json.dump(answers, file)
