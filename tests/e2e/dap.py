"""A Debug Adapter Protocol client over stdio, as an IDE has one.  https://microsoft.github.io/debug-adapter-protocol/specification"""
import json
import queue
import subprocess
import threading

SECONDS = 120


class Dap:
    def __init__(self, words, env=None):
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        self.messages, self.events, self.responses, self.number, self.output = queue.Queue(), [], {}, 0, ""
        threading.Thread(target=self._read, daemon=True).start()
        self.errors = []
        threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True).start()

    def _read(self):
        """Puts each message, and None at the end; an adapter that dies may leave a part of one."""
        out = self.process.stdout
        try:
            while True:
                header = b""
                while (line := out.readline().strip()):
                    header += line
                self.messages.put(json.loads(out.read(int(header.lower().split(b"content-length:")[1]))))
        except (IndexError, ValueError):
            self.messages.put(None)

    def _next(self, what):
        try:
            message = self.messages.get(timeout=SECONDS)
        except queue.Empty:
            message = None
        if message is None:
            raise AssertionError(f"no {what} from the adapter; it printed {b''.join(self.errors)[-500:]!r} and {self.output[-500:]!r}")
        if message["type"] == "event" and message["event"] == "output":
            self.output += message["body"].get("output", "")
        return message

    def _take(self, what):
        message = self._next(what)
        if message["type"] == "response":
            self.responses[message["request_seq"]] = message
        elif message["type"] == "event":
            self.events.append(message)
        else:  # runInTerminal and the like: not here
            self._write({"seq": 0, "type": "response", "request_seq": message["seq"], "command": message["command"], "success": False})

    def _write(self, message):
        data = json.dumps(message).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.process.stdin.flush()

    def send(self, command, **arguments):
        self.number += 1
        self._write({"seq": self.number, "type": "request", "command": command, "arguments": arguments})
        return self.number

    def response(self, number):
        while number not in self.responses:
            self._take(f"response {number}")
        return self.responses.pop(number)

    def try_ask(self, command, **arguments):
        """The response, whether it says success or not."""
        return self.response(self.send(command, **arguments))

    def ask(self, command, **arguments):
        """The body of a successful response."""
        answer = self.try_ask(command, **arguments)
        if not answer["success"]:
            raise AssertionError(f"{command}: {answer.get('message')} {answer.get('body')} {self.output[-500:]!r}")
        return answer.get("body") or {}

    def event(self, name, **wanted):
        """The body of the next event of that name whose body has what is wanted."""
        def fits(message):
            return message["event"] == name and all(message.get("body", {}).get(key) == value for key, value in wanted.items())
        while True:
            for message in self.events:
                if fits(message):
                    self.events.remove(message)
                    return message.get("body", {})
            self._take(f"event {name}")

    def forget_events(self):
        self.events.clear()

    def end(self):
        """The exit status."""
        self.process.stdin.close()
        return self.process.wait(SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait()
