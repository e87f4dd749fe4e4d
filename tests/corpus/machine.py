"""A QEMU machine that crashes, and its monitor (QMP: JSON lines over a Unix socket)."""

import json
import os
import socket
import subprocess
import tempfile
import time


class Machine:
  """Runs from construction to close().  `folder` gets console.log (the kernel's console) and, where the platform has a debug
  port, debugcon (truth.c's output)."""

  def __init__(self, platform, folder, arguments):
    self.console = os.path.join(folder, "console.log")
    self.log = os.path.join(folder, "qemu.log")
    # Not in `folder`: a socket's path is limited to 108 bytes.
    self._sockets = tempfile.TemporaryDirectory(prefix="inquest-qmp-")
    self._path = os.path.join(self._sockets.name, "qmp")
    command = [
      platform.qemu, "-accel", "tcg,thread=multi", "-display", "none", "-nodefaults", "-no-reboot",
      "-serial", f"file:{self.console}", "-qmp", f"unix:{self._path},server=on,wait=off", *platform.machine, *arguments,
    ]
    if platform.debug_port:
      command += ["-debugcon", f"file:{os.path.join(folder, 'debugcon')}"]
    with open(self.log, "wb") as log:
      self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    self._monitor = None

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self):
    if self._monitor:
      self._monitor.close()
    self._process.kill()
    self._process.wait()
    self._sockets.cleanup()

  def wait_until(self, happened, seconds):
    deadline = time.monotonic() + seconds
    while not happened():
      if time.monotonic() > deadline:
        raise TimeoutError(f"nothing for {seconds} s; the console ends:\n{self.console_text()[-2000:]}")
      time.sleep(0.1)

  def wait_for_console(self, text, seconds):
    def happened():
      if text in self.console_text():
        return True
      if self._process.poll() is not None:
        with open(self.log, encoding="utf-8", errors="replace") as log:
          raise RuntimeError(f"QEMU ended before '{text}': {log.read()}\n{self.console_text()[-2000:]}")
      return False
    self.wait_until(happened, seconds)

  def wait_for_exit(self, seconds):
    self.wait_until(lambda: self._process.poll() is not None, seconds)

  def console_text(self):
    try:
      with open(self.console, encoding="utf-8", errors="replace") as file:
        return file.read()
    except FileNotFoundError:
      return ""

  def qmp(self, command, **arguments):
    """Executes a monitor command and returns its result."""
    if not self._monitor:
      connection = socket.socket(socket.AF_UNIX)
      connection.connect(self._path)
      self._monitor = connection.makefile("rw", encoding="utf-8")
      connection.close()  # the file object keeps it open
      self._monitor.readline()  # the greeting
      self.qmp("qmp_capabilities")
    self._monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    self._monitor.flush()
    while True:
      line = self._monitor.readline()
      if not line:
        raise RuntimeError(f"{command}: QEMU went away")
      answer = json.loads(line)
      if "error" in answer:
        raise RuntimeError(f"{command}: {answer['error']['desc']}")
      if "return" in answer:  # and not an event
        return answer["return"]

  def human(self, command):
    """A command of the human monitor: the things QMP has no command for."""
    return self.qmp("human-monitor-command", **{"command-line": command})
