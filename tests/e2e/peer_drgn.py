"""Run by Debian's own python3: what drgn says of a dump, as JSON.  peer_drgn.py DUMP VMLINUX SYMBOL..."""
import json
import sys

import drgn
from drgn.helpers.linux import for_each_task, task_state_to_char

program = drgn.Program()
program.set_core_dump(sys.argv[1])
program.load_debug_info([sys.argv[2]])
tasks, unreadable = [], 0
for task in for_each_task(program):
    try:
        tasks.append([task.pid.value_(), task.tgid.value_(), task.comm.string_().decode("utf-8", "replace"), task_state_to_char(task),
                      task.real_parent.tgid.value_(), hex(task.value_())])
    except drgn.FaultError:
        unreadable += 1
symbols = {name: hex(program.symbol(name).address) for name in sys.argv[3:]}
contents = {name: program.read(int(address, 16), 512).hex() for name, address in symbols.items()}
json.dump({"tasks": tasks, "unreadable": unreadable, "symbols": symbols, "bytes": contents}, sys.stdout)
